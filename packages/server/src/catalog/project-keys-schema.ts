import type { Migration } from '../platform/index.ts';

export interface ProjectKeyTables {
  /** Blobs whose data keys may not be wrapped by the keys of those who hold them, and of nobody else. */
  blob_key_due: {
    digest: string;
    /** Rises with each reason to look. */
    version: number;
    /** Not to be looked at before; 0: at once. */
    due_at: number;
  };
}

export const projectKeyMigration: Migration = {
  name: '0010-project-keys',
  up: ({ db }) => [
    db.schema.alterTable('project').addColumn('encryption_key', 'text'),
    db.schema
      .createIndex('project_encryption_key')
      .on('project')
      .columns(['encryption_key', 'id'] as never)
      .where('encryption_key' as never, 'is not', null),
    db.schema
      .createTable('blob_key_due')
      .addColumn('digest', 'text', (c) => c.primaryKey())
      .addColumn('version', 'bigint', (c) => c.notNull())
      .addColumn('due_at', 'bigint', (c) => c.notNull()),
    db.schema.createIndex('blob_key_due_at').on('blob_key_due').columns(['due_at', 'digest']),
  ],
};
