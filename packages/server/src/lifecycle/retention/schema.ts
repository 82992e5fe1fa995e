import type { Generated } from 'kysely';
import type { Migration } from '../../platform/index.ts';

export type RunState = 'waiting' | 'running' | 'done' | 'cancelled' | 'failed';
export type Outcome = 'keep' | 'delete' | 'deleted' | 'changed' | 'failed' | 'restored' | 'lost';

export interface RetentionTables {
  retention_policy: {
    id: Generated<number>;
    /** null: of the system. */
    project_id: number | null;
    name: string;
    description: string;
    enabled: number;
    /** JSON, as are rules; null for a project's own. */
    projects: string | null;
    rules: string;
    uncovered: 'keep' | 'delete';
    untagged_days: number | null;
    schedule: string;
    /** When its schedule is due. */
    next_at: number | null;
    created_at: number;
    created_by: string;
    version: number;
  };
  retention_run: {
    id: Generated<number>;
    policy_id: number;
    project_id: number | null;
    /** 1: only says what it would delete. */
    dry: number;
    state: RunState;
    /** The time that ages count from. */
    at: number;
    started_by: string;
    job_id: number | null;
    /** The repository that it is at: those before, by id, are done. */
    position: number;
    looked_at: number;
    kept: number;
    deleted: number;
    failed: number;
    /** Brought back by undoing. */
    restored: number;
    undo: RunState | null;
    error: string | null;
    finished_at: number | null;
  };
  /** Of a dry run each tag; of another what it deleted, or meant to. */
  retention_result: {
    id: Generated<number>;
    run_id: number;
    repository: string;
    /** null: a manifest without one. */
    tag: string | null;
    digest: string;
    outcome: Outcome;
    /** JSON. */
    reasons: string;
  };
  /** JSON list of the labels of images, by the digest of their manifest, as read from their configs. */
  image_label: { digest: string; labels: string; read_at: number };
  /** What clients told that runs somewhere. */
  manifest_use: {
    repository_id: number;
    digest: string;
    source: string;
    seen_at: number;
    /** When it counts no more, whatever a rule says; null: as rules say. */
    expires_at: number | null;
  };
}

export const retentionMigration: Migration = {
  name: '0001-retention',
  up: ({ db }) => [
    db.schema
      .createTable('retention_policy')
      .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
      .addColumn('project_id', 'integer')
      .addColumn('name', 'text', (c) => c.notNull())
      .addColumn('description', 'text', (c) => c.notNull())
      .addColumn('enabled', 'integer', (c) => c.notNull())
      .addColumn('projects', 'text')
      .addColumn('rules', 'text', (c) => c.notNull())
      .addColumn('uncovered', 'text', (c) => c.notNull())
      .addColumn('untagged_days', 'integer')
      .addColumn('schedule', 'text', (c) => c.notNull())
      .addColumn('next_at', 'bigint')
      .addColumn('created_at', 'bigint', (c) => c.notNull())
      .addColumn('created_by', 'text', (c) => c.notNull())
      .addColumn('version', 'integer', (c) => c.notNull()),
    db.schema.createIndex('retention_policy_project').on('retention_policy').columns(['project_id', 'name']),
    db.schema.createIndex('retention_policy_due').on('retention_policy').columns(['next_at']),
    db.schema
      .createTable('retention_run')
      .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
      .addColumn('policy_id', 'integer', (c) => c.notNull())
      .addColumn('project_id', 'integer')
      .addColumn('dry', 'integer', (c) => c.notNull())
      .addColumn('state', 'text', (c) => c.notNull())
      .addColumn('at', 'bigint', (c) => c.notNull())
      .addColumn('started_by', 'text', (c) => c.notNull())
      .addColumn('job_id', 'integer')
      .addColumn('position', 'integer', (c) => c.notNull())
      .addColumn('looked_at', 'bigint', (c) => c.notNull())
      .addColumn('kept', 'bigint', (c) => c.notNull())
      .addColumn('deleted', 'bigint', (c) => c.notNull())
      .addColumn('failed', 'bigint', (c) => c.notNull())
      .addColumn('restored', 'bigint', (c) => c.notNull())
      .addColumn('undo', 'text')
      .addColumn('error', 'text')
      .addColumn('finished_at', 'bigint'),
    db.schema.createIndex('retention_run_policy').on('retention_run').columns(['policy_id', 'id']),
    db.schema
      .createTable('retention_result')
      .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
      .addColumn('run_id', 'integer', (c) => c.notNull())
      .addColumn('repository', 'text', (c) => c.notNull())
      .addColumn('tag', 'text')
      .addColumn('digest', 'text', (c) => c.notNull())
      .addColumn('outcome', 'text', (c) => c.notNull())
      .addColumn('reasons', 'text', (c) => c.notNull()),
    db.schema.createIndex('retention_result_run').on('retention_result').columns(['run_id', 'outcome', 'id']),
    db.schema
      .createTable('manifest_use')
      .addColumn('repository_id', 'integer', (c) => c.notNull())
      .addColumn('digest', 'text', (c) => c.notNull())
      .addColumn('source', 'text', (c) => c.notNull())
      .addColumn('seen_at', 'bigint', (c) => c.notNull())
      .addPrimaryKeyConstraint('manifest_use_pk', ['repository_id', 'digest', 'source']),
    db.schema.createIndex('manifest_use_seen').on('manifest_use').columns(['seen_at']),
  ],
};

export const imageLabelMigration: Migration = {
  name: '0002-image-labels',
  up: ({ db }) => [
    db.schema
      .createTable('image_label')
      .addColumn('digest', 'text', (c) => c.primaryKey())
      .addColumn('labels', 'text', (c) => c.notNull())
      .addColumn('read_at', 'bigint', (c) => c.notNull()),
    db.schema.createIndex('image_label_read').on('image_label').columns(['read_at']),
  ],
};

export const useExpiryMigration: Migration = {
  name: '0003-use-expiry',
  up: ({ db }) => [
    db.schema.alterTable('manifest_use').addColumn('expires_at', 'bigint'),
    db.schema.createIndex('manifest_use_source').on('manifest_use').columns(['repository_id', 'source', 'digest']),
  ],
};
