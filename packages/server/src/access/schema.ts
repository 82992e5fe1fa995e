import type { Generated } from 'kysely';
import type { Migration } from '../platform/index.ts';

export interface AccessTables {
  user: {
    id: Generated<number>;
    name: string;
    /** argon2id in PHC form. */
    password_hash: string;
    admin: number;
    disabled: number;
    /** Rises whenever credentials change: whatever was issued before is void. */
    generation: number;
    created_at: number;
  };
  project_member: { project_id: number; user_id: number; role: string };
  project: { id: number; name: string; public: number };
}

export const accessMigrations: readonly Migration[] = [
  {
    name: '0001-access',
    up: ({ db }) => [
      db.schema
        .createTable('user')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('name', 'text', (c) => c.notNull().unique())
        .addColumn('password_hash', 'text', (c) => c.notNull())
        .addColumn('admin', 'integer', (c) => c.notNull())
        .addColumn('disabled', 'integer', (c) => c.notNull())
        .addColumn('generation', 'integer', (c) => c.notNull())
        .addColumn('created_at', 'bigint', (c) => c.notNull()),
      db.schema
        .createTable('project_member')
        .addColumn('project_id', 'integer', (c) => c.notNull().references('project.id'))
        .addColumn('user_id', 'integer', (c) => c.notNull().references('user.id'))
        .addColumn('role', 'text', (c) => c.notNull())
        .addPrimaryKeyConstraint('project_member_pk', ['project_id', 'user_id']),
    ],
  },
];
