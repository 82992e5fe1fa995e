import type { Generated } from 'kysely';
import type { Migration } from '../platform/index.ts';

export type TrashKind = 'tag' | 'manifest' | 'repository';

export interface TrashTables {
  /** What was deleted and can still come back. */
  trash_item: {
    id: Generated<number>;
    project_id: number;
    /** Of a repository the one that is hidden. */
    repository_id: number;
    /** Its full name when this was deleted. */
    repository: string;
    kind: TrashKind;
    /** The tag, the digest, or the full name. */
    name: string;
    /** What a tag pointed at; null for a repository. */
    digest: string | null;
    media_type: string | null;
    artifact_type: string | null;
    /** Of a manifest with all that it needs; else 0. */
    size: number;
    /** The item in one deletion with which it went: a tag with its manifest, a referrer with its subject. */
    with_id: number | null;
    /** The job that restores it. */
    job_id: number | null;
    /** Why the last job that was to restore it did not. */
    problem: string | null;
    deleted_at: number;
    deleted_by: string;
  };
  /** Manifests in the trash; at most one of a digest in a repository. */
  trash_manifest: {
    item_id: number;
    /** Its id before, which it has again when it comes back: it is the same content. */
    manifest_id: number;
    repository_id: number;
    digest: string;
    media_type: string;
    size: number;
    content_size: number;
    artifact_type: string | null;
    annotations: string | null;
    subject: string | null;
    created_at: number;
    created_by: string;
  };
  trash_content: { item_id: number; bytes: Uint8Array };
  /** How far the history of tags was looked through. */
  tag_history_cursor: { id: number; position: number };
  /** What manifests in the trash need: collection leaves it alone. */
  trash_reference: { item_id: number; repository_id: number; digest: string; kind: 'blob' | 'manifest' };
}

export const trashMigration: Migration = {
  name: '0008-trash',
  up: ({ db, types }) => [
    db.schema
      .createTable('trash_item')
      .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
      .addColumn('project_id', 'integer', (c) => c.notNull())
      .addColumn('repository_id', 'integer', (c) => c.notNull())
      .addColumn('repository', 'text', (c) => c.notNull())
      .addColumn('kind', 'text', (c) => c.notNull())
      .addColumn('name', 'text', (c) => c.notNull())
      .addColumn('digest', 'text')
      .addColumn('media_type', 'text')
      .addColumn('artifact_type', 'text')
      .addColumn('size', 'bigint', (c) => c.notNull())
      .addColumn('with_id', 'integer')
      .addColumn('job_id', 'integer')
      .addColumn('problem', 'text')
      .addColumn('deleted_at', 'bigint', (c) => c.notNull())
      .addColumn('deleted_by', 'text', (c) => c.notNull()),
    db.schema.createIndex('trash_item_project').on('trash_item').columns(['project_id', 'id']),
    db.schema.createIndex('trash_item_repository').on('trash_item').columns(['repository_id', 'kind', 'name', 'id']),
    db.schema.createIndex('trash_item_with').on('trash_item').columns(['with_id', 'kind', 'name']),
    db.schema
      .createTable('trash_manifest')
      .addColumn('item_id', 'integer', (c) => c.primaryKey().references('trash_item.id'))
      .addColumn('manifest_id', 'integer', (c) => c.notNull())
      .addColumn('repository_id', 'integer', (c) => c.notNull())
      .addColumn('digest', 'text', (c) => c.notNull())
      .addColumn('media_type', 'text', (c) => c.notNull())
      .addColumn('size', 'bigint', (c) => c.notNull())
      .addColumn('content_size', 'bigint', (c) => c.notNull())
      .addColumn('artifact_type', 'text')
      .addColumn('annotations', 'text')
      .addColumn('subject', 'text')
      .addColumn('created_at', 'bigint', (c) => c.notNull())
      .addColumn('created_by', 'text', (c) => c.notNull())
      .addUniqueConstraint('trash_manifest_digest', ['repository_id', 'digest']),
    db.schema
      .createTable('trash_content')
      .addColumn('item_id', 'integer', (c) => c.primaryKey().references('trash_item.id'))
      .addColumn('bytes', types.bytes as 'blob', (c) => c.notNull()),
    db.schema
      .createTable('trash_reference')
      .addColumn('item_id', 'integer', (c) => c.notNull().references('trash_item.id'))
      .addColumn('repository_id', 'integer', (c) => c.notNull())
      .addColumn('digest', 'text', (c) => c.notNull())
      .addColumn('kind', 'text', (c) => c.notNull())
      .addPrimaryKeyConstraint('trash_reference_pk', ['item_id', 'digest', 'kind']),
    db.schema.createIndex('trash_reference_digest').on('trash_reference').columns(['repository_id', 'digest', 'kind']),
    db.schema.alterTable('project').addColumn('trash_days', 'integer'),
  ],
};

export const historyMigration: Migration = {
  name: '0009-tag-history-cursor',
  up: ({ db }) => [
    db.schema
      .createTable('tag_history_cursor')
      .addColumn('id', 'integer', (c) => c.primaryKey())
      .addColumn('position', 'bigint', (c) => c.notNull()),
  ],
};
