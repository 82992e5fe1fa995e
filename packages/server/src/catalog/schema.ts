import type { Generated } from 'kysely';
import type { Migration } from '../platform/index.ts';

/** Tables of names. Times are milliseconds since 1970; digests are `algorithm:hex`. */
export interface CatalogTables {
  project: {
    id: Generated<number>;
    name: string;
    public: number;
    created_at: number;
    created_by: string;
    description: string;
    /** `development`, `test` or `production`. */
    environment: string;
    /** CIDR ranges from which may be pulled and pushed, by comma; empty: from anywhere. */
    pull_networks: string;
    push_networks: string;
    /** Rises with every change of the row. */
    version: number;
  };
  repository: { id: Generated<number>; project_id: number; name: string; created_at: number };
  /** Which blobs a repository may show: the only thing that makes a blob visible (invariant 4). */
  repository_blob: { repository_id: number; digest: string; size: number; created_at: number };
  manifest: {
    id: Generated<number>;
    repository_id: number;
    digest: string;
    media_type: string;
    size: number;
    artifact_type: string | null;
    annotations: string | null;
    /** The referrer edge. */
    subject: string | null;
    created_at: number;
    created_by: string;
  };
  /** Exact bytes as pushed, apart so that listing manifests does not read them. */
  manifest_content: { manifest_id: number; bytes: Uint8Array };
  /** What a manifest needs: config, layers, children. */
  manifest_reference: { manifest_id: number; repository_id: number; digest: string; kind: 'blob' | 'manifest' };
  tag: { repository_id: number; name: string; digest: string; updated_at: number; updated_by: string };
  /** Every change of a tag; `digest` null for a deletion. */
  tag_history: {
    id: Generated<number>;
    repository_id: number;
    name: string;
    digest: string | null;
    previous_digest: string | null;
    changed_at: number;
    changed_by: string;
  };
  upload_session: {
    id: string;
    /** By name: the repository is made only when a blob arrives in it. */
    repository: string;
    owner: string;
    algorithm: string;
    /** Bytes and their digest as last acknowledged; digest null where they were not hashed as they came. */
    bytes: number;
    digest: string | null;
    /** Who writes at the moment, and until when that holds without renewal. */
    lease: string | null;
    lease_until: number;
    created_at: number;
    updated_at: number;
  };
  /** Sessions that ended a short while ago, whose ids would pass for those of new ones. */
  ended_upload: { id: string };
}

export const catalogMigrations: readonly Migration[] = [
  {
    name: '0001-catalog',
    up: ({ db, types }) => [
      db.schema
        .createTable('project')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('name', 'text', (c) => c.notNull().unique())
        .addColumn('public', 'integer', (c) => c.notNull())
        .addColumn('created_at', 'bigint', (c) => c.notNull())
        .addColumn('created_by', 'text', (c) => c.notNull()),
      db.schema
        .createTable('repository')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('project_id', 'integer', (c) => c.notNull().references('project.id'))
        .addColumn('name', 'text', (c) => c.notNull().unique())
        .addColumn('created_at', 'bigint', (c) => c.notNull()),
      db.schema.createIndex('repository_project').on('repository').columns(['project_id', 'name']),
      db.schema
        .createTable('repository_blob')
        .addColumn('repository_id', 'integer', (c) => c.notNull().references('repository.id'))
        .addColumn('digest', 'text', (c) => c.notNull())
        .addColumn('size', 'bigint', (c) => c.notNull())
        .addColumn('created_at', 'bigint', (c) => c.notNull())
        .addPrimaryKeyConstraint('repository_blob_pk', ['repository_id', 'digest']),
      db.schema.createIndex('repository_blob_digest').on('repository_blob').columns(['digest', 'repository_id']),
      db.schema
        .createTable('manifest')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('repository_id', 'integer', (c) => c.notNull().references('repository.id'))
        .addColumn('digest', 'text', (c) => c.notNull())
        .addColumn('media_type', 'text', (c) => c.notNull())
        .addColumn('size', 'bigint', (c) => c.notNull())
        .addColumn('artifact_type', 'text')
        .addColumn('annotations', 'text')
        .addColumn('subject', 'text')
        .addColumn('created_at', 'bigint', (c) => c.notNull())
        .addColumn('created_by', 'text', (c) => c.notNull())
        .addUniqueConstraint('manifest_digest', ['repository_id', 'digest']),
      db.schema.createIndex('manifest_subject').on('manifest').columns(['repository_id', 'subject', 'digest']),
      db.schema
        .createTable('manifest_content')
        .addColumn('manifest_id', 'integer', (c) => c.primaryKey().references('manifest.id'))
        .addColumn('bytes', types.bytes as 'blob', (c) => c.notNull()),
      db.schema
        .createTable('manifest_reference')
        .addColumn('manifest_id', 'integer', (c) => c.notNull().references('manifest.id'))
        .addColumn('repository_id', 'integer', (c) => c.notNull())
        .addColumn('digest', 'text', (c) => c.notNull())
        .addColumn('kind', 'text', (c) => c.notNull())
        .addPrimaryKeyConstraint('manifest_reference_pk', ['manifest_id', 'digest', 'kind']),
      db.schema.createIndex('manifest_reference_digest').on('manifest_reference').columns(['repository_id', 'digest', 'kind']),
      db.schema
        .createTable('tag')
        .addColumn('repository_id', 'integer', (c) => c.notNull().references('repository.id'))
        .addColumn('name', 'text', (c) => c.notNull())
        .addColumn('digest', 'text', (c) => c.notNull())
        .addColumn('updated_at', 'bigint', (c) => c.notNull())
        .addColumn('updated_by', 'text', (c) => c.notNull())
        .addPrimaryKeyConstraint('tag_pk', ['repository_id', 'name']),
      db.schema.createIndex('tag_digest').on('tag').columns(['repository_id', 'digest']),
      db.schema
        .createTable('tag_history')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('repository_id', 'integer', (c) => c.notNull())
        .addColumn('name', 'text', (c) => c.notNull())
        .addColumn('digest', 'text')
        .addColumn('previous_digest', 'text')
        .addColumn('changed_at', 'bigint', (c) => c.notNull())
        .addColumn('changed_by', 'text', (c) => c.notNull()),
      db.schema.createIndex('tag_history_tag').on('tag_history').columns(['repository_id', 'name', 'id']),
      db.schema
        .createTable('upload_session')
        .addColumn('id', 'text', (c) => c.primaryKey())
        .addColumn('repository', 'text', (c) => c.notNull())
        .addColumn('owner', 'text', (c) => c.notNull())
        .addColumn('algorithm', 'text', (c) => c.notNull())
        .addColumn('bytes', 'bigint', (c) => c.notNull())
        .addColumn('digest', 'text')
        .addColumn('lease', 'text')
        .addColumn('lease_until', 'bigint', (c) => c.notNull())
        .addColumn('created_at', 'bigint', (c) => c.notNull())
        .addColumn('updated_at', 'bigint', (c) => c.notNull()),
      db.schema.createIndex('upload_session_age').on('upload_session').columns(['updated_at']),
    ],
  },
  {
    name: '0002-ended-uploads',
    up: ({ db }) => [db.schema.createTable('ended_upload').addColumn('id', 'text', (c) => c.primaryKey())],
  },
  {
    name: '0003-project-settings',
    up: ({ db }) => [
      db.schema.alterTable('project').addColumn('description', 'text', (c) => c.notNull().defaultTo('')),
      db.schema.alterTable('project').addColumn('environment', 'text', (c) => c.notNull().defaultTo('development')),
      db.schema.alterTable('project').addColumn('pull_networks', 'text', (c) => c.notNull().defaultTo('')),
      db.schema.alterTable('project').addColumn('push_networks', 'text', (c) => c.notNull().defaultTo('')),
      db.schema.alterTable('project').addColumn('version', 'integer', (c) => c.notNull().defaultTo(1)),
    ],
  },
];
