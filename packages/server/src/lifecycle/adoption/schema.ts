import type { Generated } from 'kysely';
import type { Migration } from '../../platform/index.ts';

/** Tables of adoption. Times are milliseconds since 1970. */
export interface AdoptionTables {
  /** Each run over a storage; one that has not finished is continued by the next. */
  adoption_run: {
    id: Generated<number>;
    /** Folder or bucket. */
    source: string;
    /** Whether every blob is hashed, and tags that differ follow the storage: a run with other wishes is another run. */
    wishes: string;
    /** What is done: the last folder of blobs, then the last repository; '' at the beginning. */
    cursor: string;
    /** JSON of what was found in all that is done. */
    counts: string;
    started_at: number;
    finished_at: number | null;
  };
  /** One row at the most: who is at it, as there is one adoption on a database at a time. */
  adoption_lease: { id: number; holder: string; who: string; run_id: number | null; taken_at: number; held_until: number };
  /** What could not be adopted, or does not belong where it is, each once. */
  adoption_finding: { run_id: number; kind: string; repository: string; subject: string; detail: string };
}

export const adoptionMigrations: readonly Migration[] = [
  {
    name: '0001-adoption',
    up: ({ db }) => [
      db.schema
        .createTable('adoption_run')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('source', 'text', (c) => c.notNull())
        .addColumn('wishes', 'text', (c) => c.notNull())
        .addColumn('cursor', 'text', (c) => c.notNull())
        .addColumn('counts', 'text', (c) => c.notNull())
        .addColumn('started_at', 'bigint', (c) => c.notNull())
        .addColumn('finished_at', 'bigint'),
      db.schema
        .createTable('adoption_finding')
        .addColumn('run_id', 'integer', (c) => c.notNull().references('adoption_run.id'))
        .addColumn('kind', 'text', (c) => c.notNull())
        .addColumn('repository', 'text', (c) => c.notNull())
        .addColumn('subject', 'text', (c) => c.notNull())
        .addColumn('detail', 'text', (c) => c.notNull())
        .addPrimaryKeyConstraint('adoption_finding_pk', ['run_id', 'kind', 'repository', 'subject']),
    ],
  },
  {
    name: '0002-adoption-lease',
    up: ({ db }) => [
      db.schema
        .createTable('adoption_lease')
        .addColumn('id', 'integer', (c) => c.primaryKey())
        .addColumn('holder', 'text', (c) => c.notNull())
        .addColumn('who', 'text', (c) => c.notNull())
        .addColumn('run_id', 'integer')
        .addColumn('taken_at', 'bigint', (c) => c.notNull())
        .addColumn('held_until', 'bigint', (c) => c.notNull()),
    ],
  },
];
