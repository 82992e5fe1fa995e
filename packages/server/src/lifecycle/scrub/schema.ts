import type { Migration } from '../../platform/index.ts';

export interface ScrubTables {
  /** One row: the pass that is on its way, or the last one. */
  scrub_pass: {
    id: number;
    number: number;
    /** What is read: blobs, then manifests, then those in the trash, then the list of the store; `done` after that. */
    phase: 'blobs' | 'manifests' | 'trash' | 'store' | 'done';
    /** In the phase: the last digest, or the number of the last manifest or item of the trash, that was read. */
    position: string;
    blobs: number;
    bytes: number;
    manifests: number;
    /** Damage that was found, and objects without a row that were handed to collection. */
    damaged: number;
    orphans: number;
    started_at: number;
    updated_at: number;
    finished_at: number | null;
    /** When a pass was last through; kept while the next is on its way. */
    scrubbed_at: number | null;
  };
}

export const scrubMigrations: readonly Migration[] = [
  {
    name: '0001-scrub',
    up: ({ db }) => [
      db.schema
        .createTable('scrub_pass')
        .addColumn('id', 'integer', (c) => c.primaryKey())
        .addColumn('number', 'integer', (c) => c.notNull())
        .addColumn('phase', 'text', (c) => c.notNull())
        .addColumn('position', 'text', (c) => c.notNull())
        .addColumn('blobs', 'bigint', (c) => c.notNull())
        .addColumn('bytes', 'bigint', (c) => c.notNull())
        .addColumn('manifests', 'bigint', (c) => c.notNull())
        .addColumn('damaged', 'bigint', (c) => c.notNull())
        .addColumn('orphans', 'bigint', (c) => c.notNull())
        .addColumn('started_at', 'bigint', (c) => c.notNull())
        .addColumn('updated_at', 'bigint', (c) => c.notNull())
        .addColumn('finished_at', 'bigint')
        .addColumn('scrubbed_at', 'bigint'),
    ],
  },
];
