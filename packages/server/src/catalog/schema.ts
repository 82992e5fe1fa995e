import { type Compilable, CompiledQuery, type Generated } from 'kysely';
import type { Migration } from '../platform/index.ts';
import { type ImmutabilityTables, immutabilityMigration } from './immutability-schema.ts';
import { type ProjectKeyTables, projectKeyMigration } from './project-keys-schema.ts';
import { type PullTables, pullMigration } from './pulls-schema.ts';
import { historyMigration, type TrashTables, trashMigration } from './trash-schema.ts';
import { type UsageTables, usageMigration } from './usage-schema.ts';

/** Tables of names. Times are milliseconds since 1970; digests are `algorithm:hex`. */
export interface CatalogTables extends UsageTables, ImmutabilityTables, PullTables, TrashTables, ProjectKeyTables {
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
    /** How long its trash is kept; null: as the server says. */
    trash_days: number | null;
    /** Name of the key that wraps the data keys of what it holds; null: the registry's own. */
    encryption_key: string | null;
  };
  repository: {
    id: Generated<number>;
    project_id: number;
    /** Full name; of a deleted one a text outside the grammar, until its content is gone too. */
    name: string;
    created_at: number;
    description: string;
    deleted_at: number | null;
    /** Rises with every change of the description. */
    version: number;
  };
  /** When the content of a repository last changed; apart, as rows of `repository` are kept in memory until one changes. */
  repository_change: { repository_id: number; project_id: number; updated_at: number };
  /** Which blobs a repository may show: the only thing that makes a blob visible (invariant 4). */
  repository_blob: {
    repository_id: number;
    digest: string;
    size: number;
    created_at: number;
    /** Null while something in the repository needs it; else since when nothing does, or when somebody was last told that it is there. */
    unneeded_since: number | null;
  };
  /** Which bytes are in the store, for collection; of a blob with a link the row is `live`. */
  stored_blob: {
    digest: string;
    size: number;
    /** `deleting` while the object is being removed; `gone` for a while after that, so that a push that met it stores its bytes again. */
    state: 'live' | 'deleting' | 'gone';
    /** When to look at it next: to collect what is live and has no link, to take up a deletion that was left, to forget what is gone. */
    review_at: number | null;
    stored_at: number;
    /** Rises with each deletion that is begun: bytes stored under another number may be gone. */
    generation: Generated<number>;
  };
  manifest: {
    id: Generated<number>;
    repository_id: number;
    digest: string;
    media_type: string;
    size: number;
    /** Of the manifest and all it needs; of an index with its children. */
    content_size: number;
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
  /** Blobs whose stored bytes are not what their digest says: for clients they are not there until somebody stores them again. */
  damaged_blob: { digest: string; problem: string; detail: string; found_at: number; checks: number; check_at: number };
  /** Manifests whose bytes in the database are not what their digest says. */
  damaged_manifest: { manifest_id: number; problem: string; found_at: number };
  /** While one that has not lapsed is there, no blob becomes garbage: a backup is on its way. */
  collection_hold: { id: string; reason: string; created_at: number; held_until: number };
}

/** A statement that fills new columns; plain SQL that both dialects read alike. */
function fill(text: string): Compilable {
  return { compile: () => CompiledQuery.raw(text) };
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
  {
    name: '0004-lists',
    up: ({ db }) => [
      db.schema.alterTable('repository').addColumn('description', 'text', (c) => c.notNull().defaultTo('')),
      db.schema.alterTable('repository').addColumn('deleted_at', 'bigint'),
      db.schema.alterTable('repository').addColumn('version', 'integer', (c) => c.notNull().defaultTo(1)),
      db.schema.createIndex('repository_created').on('repository').columns(['project_id', 'created_at', 'id']),
      db.schema
        .createTable('repository_change')
        .addColumn('repository_id', 'integer', (c) => c.primaryKey().references('repository.id'))
        .addColumn('project_id', 'integer', (c) => c.notNull())
        .addColumn('updated_at', 'bigint', (c) => c.notNull()),
      db.schema.createIndex('repository_change_time').on('repository_change').columns(['project_id', 'updated_at', 'repository_id']),
      fill(`INSERT INTO repository_change (repository_id, project_id, updated_at) SELECT id, project_id,
            coalesce((SELECT max(created_at) FROM manifest WHERE repository_id = repository.id), created_at) FROM repository`),
      db.schema.alterTable('manifest').addColumn('content_size', 'bigint', (c) => c.notNull().defaultTo(0)),
      fill(`UPDATE manifest SET content_size = size + coalesce((SELECT sum(blob.size) FROM manifest_reference AS part
            JOIN repository_blob AS blob ON blob.repository_id = part.repository_id AND blob.digest = part.digest
            WHERE part.manifest_id = manifest.id AND part.kind = 'blob'), 0)`),
      fill(`UPDATE manifest SET content_size = content_size + coalesce((SELECT sum(child.content_size) FROM manifest_reference AS part
            JOIN manifest AS child ON child.repository_id = part.repository_id AND child.digest = part.digest
            WHERE part.manifest_id = manifest.id AND part.kind = 'manifest'), 0)`),
      db.schema.createIndex('manifest_pushed').on('manifest').columns(['repository_id', 'id']),
      db.schema.createIndex('manifest_content_size').on('manifest').columns(['repository_id', 'content_size', 'id']),
      db.schema.dropIndex('tag_digest'),
      db.schema.createIndex('tag_digest_name').on('tag').columns(['repository_id', 'digest', 'name']),
      db.schema.createIndex('tag_updated').on('tag').columns(['repository_id', 'updated_at', 'name']),
    ],
  },
  {
    name: '0005-collection',
    up: ({ db, now }) => [
      db.schema.alterTable('repository_blob').addColumn('unneeded_since', 'bigint'),
      fill(`UPDATE repository_blob SET unneeded_since = ${now} WHERE NOT EXISTS (SELECT 1 FROM manifest_reference AS need
            WHERE need.repository_id = repository_blob.repository_id AND need.digest = repository_blob.digest AND need.kind = 'blob')`),
      db.schema
        .createIndex('repository_blob_unneeded')
        .on('repository_blob')
        .columns(['unneeded_since', 'repository_id', 'digest'] as never)
        .where('unneeded_since' as never, 'is not', null),
      db.schema
        .createTable('stored_blob')
        .addColumn('digest', 'text', (c) => c.primaryKey())
        .addColumn('size', 'bigint', (c) => c.notNull())
        .addColumn('state', 'text', (c) => c.notNull())
        .addColumn('review_at', 'bigint')
        .addColumn('stored_at', 'bigint', (c) => c.notNull())
        .addColumn('generation', 'integer', (c) => c.notNull().defaultTo(0)),
      fill(`INSERT INTO stored_blob (digest, size, state, stored_at)
            SELECT digest, max(size), 'live', min(created_at) FROM repository_blob GROUP BY digest`),
      db.schema
        .createIndex('stored_blob_review')
        .on('stored_blob')
        .columns(['state', 'review_at'] as never)
        .where('review_at' as never, 'is not', null),
    ],
  },
  {
    name: '0006-damage-and-holds',
    up: ({ db }) => [
      db.schema
        .createTable('damaged_blob')
        .addColumn('digest', 'text', (c) => c.primaryKey())
        .addColumn('problem', 'text', (c) => c.notNull())
        .addColumn('detail', 'text', (c) => c.notNull())
        .addColumn('found_at', 'bigint', (c) => c.notNull())
        .addColumn('checks', 'integer', (c) => c.notNull())
        .addColumn('check_at', 'bigint', (c) => c.notNull()),
      db.schema
        .createTable('damaged_manifest')
        .addColumn('manifest_id', 'integer', (c) => c.primaryKey())
        .addColumn('problem', 'text', (c) => c.notNull())
        .addColumn('found_at', 'bigint', (c) => c.notNull()),
      db.schema
        .createTable('collection_hold')
        .addColumn('id', 'text', (c) => c.primaryKey())
        .addColumn('reason', 'text', (c) => c.notNull())
        .addColumn('created_at', 'bigint', (c) => c.notNull())
        .addColumn('held_until', 'bigint', (c) => c.notNull()),
    ],
  },
  usageMigration,
  pullMigration,
  immutabilityMigration,
  trashMigration,
  historyMigration,
  projectKeyMigration,
];
