import type { Generated } from 'kysely';
import type { Migration } from '../../platform/index.ts';

export interface HeatTables {
  /** One row: how the time runs in which scores are written (`heat.ts`). */
  heat_clock: { id: number; half_life_ms: number; at: number; value: number };
  /** Of blobs that are large enough to be moved. */
  blob_heat: {
    id: Generated<number>;
    digest: string;
    /** The most of its own reads and of the images that use it. */
    score: number;
    /** Of its own reads; null: none. */
    read_score: number | null;
    read_at: number | null;
  };
  image_heat: {
    repository_id: number;
    digest: string;
    score: number;
    pulled_at: number;
    /** Number of the day (UTC, since 1970) of its last pull, and how many that day had. */
    day: number;
    day_pulls: number;
  };
  /** Days of which is recorded what was read; of a day with too much only blobs of a sample, one of 2^`halvings`. */
  access_day: { day: number; halvings: number };
  /** What was read on a day. */
  blob_access: {
    day: number;
    blob_id: number;
    /** Whole ones; a range counts as the share it is. */
    reads: number;
    bytes: number;
    /** The most pulls that one image which uses it had. */
    pulls: number;
  };
  /** One row: what lay where when it was last counted. Sizes are those of the content. */
  tier_state: {
    id: number;
    counted_at: number;
    hot_blobs: number;
    hot_bytes: number;
    /** Of these what is too small to be moved. */
    small_blobs: number;
    small_bytes: number;
    cold_blobs: number;
    cold_bytes: number;
    archived_blobs: number;
    archived_bytes: number;
  };
  /** What is to be hot whatever its heat: a repository, or with `repository_id` 0 all of a project. */
  tier_pin: { project_id: number; repository_id: number; created_at: number; created_by: string };
  /** What a run of the job moved. */
  tier_run: {
    id: Generated<number>;
    /** `schedule`, or who asked. */
    started_by: string;
    started_at: number;
    finished_at: number | null;
    demoted: number;
    demoted_bytes: number;
    promoted: number;
    promoted_bytes: number;
    failed: number;
    /** JSON: of each reason how many were moved, and how many kept. */
    reasons: string;
    /** In the hot tier, before the run and after it. */
    hot_before: number;
    hot_after: number;
    error: string | null;
  };
}

const COUNTS = ['hot', 'small', 'cold', 'archived'].flatMap((name) => [`${name}_blobs`, `${name}_bytes`]);

export const heatMigration: Migration = {
  name: '0001-heat',
  up: ({ db }) => [
    db.schema
      .createTable('heat_clock')
      .addColumn('id', 'integer', (c) => c.primaryKey())
      .addColumn('half_life_ms', 'bigint', (c) => c.notNull())
      .addColumn('at', 'bigint', (c) => c.notNull())
      .addColumn('value', 'double precision', (c) => c.notNull()),
    db.schema
      .createTable('blob_heat')
      .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
      .addColumn('digest', 'text', (c) => c.notNull().unique())
      .addColumn('score', 'double precision', (c) => c.notNull())
      .addColumn('read_score', 'double precision')
      .addColumn('read_at', 'bigint'),
    db.schema.createIndex('blob_heat_score').on('blob_heat').columns(['score', 'id']),
    db.schema
      .createTable('image_heat')
      .addColumn('repository_id', 'integer', (c) => c.notNull())
      .addColumn('digest', 'text', (c) => c.notNull())
      .addColumn('score', 'double precision', (c) => c.notNull())
      .addColumn('pulled_at', 'bigint', (c) => c.notNull())
      .addColumn('day', 'integer', (c) => c.notNull())
      .addColumn('day_pulls', 'bigint', (c) => c.notNull())
      .addPrimaryKeyConstraint('image_heat_pk', ['repository_id', 'digest']),
    db.schema.createIndex('image_heat_score').on('image_heat').columns(['repository_id', 'score', 'digest']),
    db.schema
      .createTable('access_day')
      .addColumn('day', 'integer', (c) => c.primaryKey())
      .addColumn('halvings', 'integer', (c) => c.notNull()),
    db.schema
      .createTable('blob_access')
      .addColumn('day', 'integer', (c) => c.notNull())
      .addColumn('blob_id', 'integer', (c) => c.notNull())
      .addColumn('reads', 'double precision', (c) => c.notNull())
      .addColumn('bytes', 'bigint', (c) => c.notNull())
      .addColumn('pulls', 'bigint', (c) => c.notNull())
      .addPrimaryKeyConstraint('blob_access_pk', ['day', 'blob_id']),
    db.schema
      .createTable('tier_pin')
      .addColumn('project_id', 'integer', (c) => c.notNull())
      .addColumn('repository_id', 'integer', (c) => c.notNull())
      .addColumn('created_at', 'bigint', (c) => c.notNull())
      .addColumn('created_by', 'text', (c) => c.notNull())
      .addPrimaryKeyConstraint('tier_pin_pk', ['project_id', 'repository_id']),
    db.schema
      .createTable('tier_run')
      .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
      .addColumn('started_by', 'text', (c) => c.notNull())
      .addColumn('started_at', 'bigint', (c) => c.notNull())
      .addColumn('finished_at', 'bigint')
      .addColumn('demoted', 'bigint', (c) => c.notNull())
      .addColumn('demoted_bytes', 'bigint', (c) => c.notNull())
      .addColumn('promoted', 'bigint', (c) => c.notNull())
      .addColumn('promoted_bytes', 'bigint', (c) => c.notNull())
      .addColumn('failed', 'bigint', (c) => c.notNull())
      .addColumn('reasons', 'text', (c) => c.notNull())
      .addColumn('hot_before', 'bigint', (c) => c.notNull())
      .addColumn('hot_after', 'bigint', (c) => c.notNull())
      .addColumn('error', 'text'),
    COUNTS.reduce(
      (table, name) => table.addColumn(name, 'bigint', (c) => c.notNull()),
      db.schema
        .createTable('tier_state')
        .addColumn('id', 'integer', (c) => c.primaryKey())
        .addColumn('counted_at', 'bigint', (c) => c.notNull()),
    ),
  ],
};
