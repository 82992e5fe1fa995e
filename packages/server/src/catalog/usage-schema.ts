import { type Compilable, CompiledQuery } from 'kysely';
import type { Migration } from '../platform/index.ts';

/** What a project may be limited in. */
export type QuotaName = 'bytes' | 'repositories' | 'tags';

/** Tables of what projects hold and may hold. Times are milliseconds since 1970. */
export interface UsageTables {
  /** Each blob of a project once, and in how many of its repositories it is: what is counted when it comes and goes. */
  project_blob: { project_id: number; digest: string; size: number; links: number };
  /**
   * What a project holds: the sum over its stripes. A repository counts in one of them, so that changes of different
   * repositories rarely meet in a row. `changes` rises with each.
   */
  project_usage: { project_id: number; stripe: number; bytes: number; repositories: number; tags: number; changes: number };
  /** Limits of projects that have any; null: none of that kind. */
  project_quota: {
    project_id: number;
    bytes: number | null;
    repositories: number | null;
    tags: number | null;
    /** Rises with every change. */
    version: number;
  };
  /** Room that a request or an upload session has under the limits of a project, before it counts as used. */
  quota_reservation: {
    /** Of an upload session its own id. */
    id: string;
    project_id: number;
    /** Bytes that a session has received: they count until the session ends. */
    kept: number;
    /** What a request may still add; counts until `expires_at`. */
    bytes: number;
    repositories: number;
    tags: number;
    /** The process that the request runs in. */
    holder: string;
    expires_at: number;
  };
  /** Of which limits it was told that they are near or were met; gone once usage is well below again. */
  quota_alert: { project_id: number; quota: QuotaName; level: 'warning' | 'exceeded'; told_at: number };
}

/** Plain SQL that both dialects read alike. */
function fill(text: string): Compilable {
  return { compile: () => CompiledQuery.raw(text) };
}

export const usageMigration: Migration = {
  name: '0008-usage',
  up: ({ db }) => [
    db.schema
      .createTable('project_blob')
      .addColumn('project_id', 'integer', (c) => c.notNull())
      .addColumn('digest', 'text', (c) => c.notNull())
      .addColumn('size', 'bigint', (c) => c.notNull())
      .addColumn('links', 'integer', (c) => c.notNull())
      .addPrimaryKeyConstraint('project_blob_pk', ['project_id', 'digest']),
    db.schema
      .createTable('project_usage')
      .addColumn('project_id', 'integer', (c) => c.notNull())
      .addColumn('stripe', 'integer', (c) => c.notNull())
      .addColumn('bytes', 'bigint', (c) => c.notNull())
      .addColumn('repositories', 'bigint', (c) => c.notNull())
      .addColumn('tags', 'bigint', (c) => c.notNull())
      .addColumn('changes', 'bigint', (c) => c.notNull())
      .addPrimaryKeyConstraint('project_usage_pk', ['project_id', 'stripe']),
    db.schema
      .createTable('project_quota')
      .addColumn('project_id', 'integer', (c) => c.primaryKey())
      .addColumn('bytes', 'bigint')
      .addColumn('repositories', 'bigint')
      .addColumn('tags', 'bigint')
      .addColumn('version', 'integer', (c) => c.notNull()),
    db.schema
      .createTable('quota_reservation')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('project_id', 'integer', (c) => c.notNull())
      .addColumn('kept', 'bigint', (c) => c.notNull())
      .addColumn('bytes', 'bigint', (c) => c.notNull())
      .addColumn('repositories', 'bigint', (c) => c.notNull())
      .addColumn('tags', 'bigint', (c) => c.notNull())
      .addColumn('holder', 'text', (c) => c.notNull())
      .addColumn('expires_at', 'bigint', (c) => c.notNull()),
    db.schema.createIndex('quota_reservation_project').on('quota_reservation').columns(['project_id']),
    db.schema
      .createTable('quota_alert')
      .addColumn('project_id', 'integer', (c) => c.notNull())
      .addColumn('quota', 'text', (c) => c.notNull())
      .addColumn('level', 'text', (c) => c.notNull())
      .addColumn('told_at', 'bigint', (c) => c.notNull())
      .addPrimaryKeyConstraint('quota_alert_pk', ['project_id', 'quota', 'level']),
    fill(`INSERT INTO project_blob (project_id, digest, size, links)
          SELECT repository.project_id, blob.digest, max(blob.size), count(*) FROM repository_blob AS blob
          JOIN repository ON repository.id = blob.repository_id GROUP BY repository.project_id, blob.digest`),
    fill(`INSERT INTO project_usage (project_id, stripe, bytes, repositories, tags, changes) SELECT id, 0,
          coalesce((SELECT sum(size) FROM project_blob WHERE project_id = project.id), 0) +
            coalesce((SELECT sum(manifest.size) FROM manifest JOIN repository ON repository.id = manifest.repository_id
                      WHERE repository.project_id = project.id), 0),
          (SELECT count(*) FROM repository WHERE project_id = project.id AND deleted_at IS NULL),
          (SELECT count(*) FROM tag JOIN repository ON repository.id = tag.repository_id WHERE repository.project_id = project.id), 1
          FROM project`),
  ],
};
