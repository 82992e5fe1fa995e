import type { Migration } from '../platform/index.ts';

/** When things were last pulled and how often; apart from tags and manifests, whose rows are kept in memory. */
export interface PullTables {
  tag_pull: { repository_id: number; name: string; last_at: number; pulls: number };
  /** `digest_at`: last pulled by its digest and no tag; null: never. */
  manifest_pull: { repository_id: number; digest: string; last_at: number; digest_at: number | null; pulls: number };
}

export const pullMigration: Migration = {
  name: '0009-pulls',
  up: ({ db }) => [
    db.schema
      .createTable('tag_pull')
      .addColumn('repository_id', 'integer', (c) => c.notNull())
      .addColumn('name', 'text', (c) => c.notNull())
      .addColumn('last_at', 'bigint', (c) => c.notNull())
      .addColumn('pulls', 'bigint', (c) => c.notNull())
      .addPrimaryKeyConstraint('tag_pull_pk', ['repository_id', 'name']),
    db.schema
      .createTable('manifest_pull')
      .addColumn('repository_id', 'integer', (c) => c.notNull())
      .addColumn('digest', 'text', (c) => c.notNull())
      .addColumn('last_at', 'bigint', (c) => c.notNull())
      .addColumn('digest_at', 'bigint')
      .addColumn('pulls', 'bigint', (c) => c.notNull())
      .addPrimaryKeyConstraint('manifest_pull_pk', ['repository_id', 'digest']),
  ],
};
