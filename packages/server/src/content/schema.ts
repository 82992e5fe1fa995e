import type { Migration } from '../platform/index.ts';

export interface ContentTables {
  /** Keys of encrypted blobs and uploads, each wrapped by a key provider. */
  data_key: {
    /** 16 random bytes, in hex. */
    id: string;
    /** Who wrapped it; `projects` where only keys of projects do (`key_wrapping`), and version and wrapped are empty. */
    provider: string;
    /** Under which version of the provider's key. */
    version: string;
    wrapped: string;
    /** The blob it belongs to; null while it is an upload's. */
    digest: string | null;
    size: number | null;
    /** 1 once the blob was seen in its place under this key, -1 once it was not, 0 before. */
    placed: number;
    /** When to look whether the blob is in its place; null where nothing changed since the last look. */
    look_at: number | null;
    /** 1 while the copy beside the blobs is as this row. */
    copied: number;
    created_at: number;
  };
  /** The same keys wrapped by keys of projects, which are known here by their names only. */
  key_wrapping: { key_id: string; name: string; provider: string; version: string; wrapped: string };
  /** Uploads under way, as far as they are not in the store: what comes after their last full record. */
  encrypted_upload: {
    id: string;
    key_id: string;
    /** Who may write at the moment; a former writer finds another name here. */
    writer: string;
    /** Number of the record that `tail` is the beginning of. */
    tail_record: number;
    /** Salt and sealed bytes; null where there are none. */
    tail: Uint8Array | null;
    /** Full records of an upload that is being committed, after which its end may be written; null otherwise. */
    closed_records: number | null;
    updated_at: number;
  };
  /** Which writer sealed which records of an upload. */
  encrypted_segment: { upload_id: string; start: number; salt: Uint8Array };
  /** What was done once for the whole store. */
  encryption_mark: { name: string; at: number };
  /** Blobs of a store with two tiers that are not simply hot: who has no row lies in the hot tier and nowhere else. */
  blob_tier: {
    digest: string;
    /** The copy that counts. `archived`: it lies in the cold tier and must be restored there before it can be read. */
    tier: 'hot' | 'cold' | 'archived';
    /** Since when; milliseconds since 1970. */
    since: number;
    /** Bytes of a copy as it lies: of an encrypted blob more than its content has. 0 where nothing was moved yet. */
    bytes: number;
    /** SHA-256 of those bytes, in hex, as they were read back after the last move; null before. */
    sha256: string | null;
    /** The tier that may have a copy besides, which does not count. */
    leftover: 'hot' | 'cold' | null;
    /** When that copy is to be taken away. */
    leftover_at: number | null;
    /** Who may change the copies at the moment, until when, and what for; null where nobody does. */
    owner: string | null;
    owner_until: number | null;
    task: string | null;
    /** 1 where somebody waits for the owner to give up. */
    wanted: number;
    /** When the cold tier was asked to restore it from the archive; null where it was not. */
    restore_at: number | null;
  };
}

export const contentMigrations: readonly Migration[] = [
  {
    name: '0001-encryption',
    up: ({ db, types }) => [
      db.schema
        .createTable('data_key')
        .addColumn('id', 'text', (c) => c.primaryKey())
        .addColumn('provider', 'text', (c) => c.notNull())
        .addColumn('version', 'text', (c) => c.notNull())
        .addColumn('wrapped', 'text', (c) => c.notNull())
        .addColumn('digest', 'text')
        .addColumn('size', 'bigint')
        .addColumn('placed', 'integer', (c) => c.notNull())
        .addColumn('look_at', 'bigint')
        .addColumn('copied', 'integer', (c) => c.notNull())
        .addColumn('created_at', 'bigint', (c) => c.notNull()),
      db.schema.createIndex('data_key_digest').on('data_key').columns(['digest']),
      db.schema.createIndex('data_key_version').on('data_key').columns(['provider', 'version', 'id']),
      db.schema.createIndex('data_key_look').on('data_key').columns(['look_at']),
      db.schema.createIndex('data_key_copied').on('data_key').columns(['copied', 'placed']),
      db.schema
        .createTable('encrypted_upload')
        .addColumn('id', 'text', (c) => c.primaryKey())
        .addColumn('key_id', 'text', (c) => c.notNull())
        .addColumn('writer', 'text', (c) => c.notNull())
        .addColumn('tail_record', 'bigint', (c) => c.notNull())
        .addColumn('tail', types.bytes as 'blob')
        .addColumn('closed_records', 'bigint')
        .addColumn('updated_at', 'bigint', (c) => c.notNull()),
      db.schema.createIndex('encrypted_upload_age').on('encrypted_upload').columns(['updated_at']),
      db.schema
        .createTable('encrypted_segment')
        .addColumn('upload_id', 'text', (c) => c.notNull())
        .addColumn('start', 'bigint', (c) => c.notNull())
        .addColumn('salt', types.bytes as 'blob', (c) => c.notNull())
        .addPrimaryKeyConstraint('encrypted_segment_pk', ['upload_id', 'start']),
      db.schema
        .createTable('encryption_mark')
        .addColumn('name', 'text', (c) => c.primaryKey())
        .addColumn('at', 'bigint', (c) => c.notNull()),
    ],
  },
  {
    name: '0002-tiers',
    up: ({ db }) => [
      db.schema
        .createTable('blob_tier')
        .addColumn('digest', 'text', (c) => c.primaryKey())
        .addColumn('tier', 'text', (c) => c.notNull())
        .addColumn('since', 'bigint', (c) => c.notNull())
        .addColumn('bytes', 'bigint', (c) => c.notNull())
        .addColumn('sha256', 'text')
        .addColumn('leftover', 'text')
        .addColumn('leftover_at', 'bigint')
        .addColumn('owner', 'text')
        .addColumn('owner_until', 'bigint')
        .addColumn('task', 'text')
        .addColumn('wanted', 'integer', (c) => c.notNull())
        .addColumn('restore_at', 'bigint'),
      db.schema.createIndex('blob_tier_place').on('blob_tier').columns(['tier', 'digest', 'bytes']),
      db.schema.createIndex('blob_tier_leftover').on('blob_tier').columns(['leftover_at']),
    ],
  },
  {
    name: '0003-key-wrappings',
    up: ({ db }) => [
      db.schema
        .createTable('key_wrapping')
        .addColumn('key_id', 'text', (c) => c.notNull())
        .addColumn('name', 'text', (c) => c.notNull())
        .addColumn('provider', 'text', (c) => c.notNull())
        .addColumn('version', 'text', (c) => c.notNull())
        .addColumn('wrapped', 'text', (c) => c.notNull())
        .addPrimaryKeyConstraint('key_wrapping_pk', ['key_id', 'name']),
      db.schema.createIndex('key_wrapping_version').on('key_wrapping').columns(['name', 'provider', 'version', 'key_id']),
    ],
  },
];
