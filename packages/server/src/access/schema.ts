import { type Compilable, CompiledQuery, type Generated } from 'kysely';
import type { Migration } from '../platform/index.ts';

export interface AccessTables {
  user: {
    id: Generated<number>;
    name: string;
    /** argon2id in PHC form; empty for who proves identity elsewhere only. */
    password_hash: string;
    disabled: number;
    /** Rises whenever credentials change: whatever was issued before is void. */
    generation: number;
    created_at: number;
    email: string;
    full_name: string;
    /** Rises with every change of the row. */
    version: number;
  };
  user_group: { id: Generated<number>; name: string; description: string; created_at: number; version: number };
  group_member: { group_id: number; user_id: number /** `local`, or the provider that says so. */; source: string };
  /** Custom roles; the built-in ones stand in `roles.ts`. */
  role: { name: string; description: string /** JSON array. */; permissions: string; created_at: number; version: number };
  role_assignment: {
    id: Generated<number>;
    subject_kind: 'user' | 'group' | 'robot';
    subject_id: number;
    /** null where the permissions are named one by one. */
    role: string | null;
    /** JSON array, or null. */
    permissions: string | null;
    /** null: the system and every project. */
    project_id: number | null;
    /** Glob over full repository names; null: everything. */
    pattern: string | null;
    created_at: number;
    created_by: string;
  };
  policy: {
    id: Generated<number>;
    name: string;
    description: string;
    /** JSON. */
    document: string;
    created_at: number;
    created_by: string;
    version: number;
  };
  policy_attachment: {
    policy_id: number;
    subject_kind: 'user' | 'group' | 'robot';
    subject_id: number;
    created_at: number;
    created_by: string;
  };
  /** One row; `version` rises with every change of who may what. */
  access_state: { id: number; version: number };
  project: { id: number; name: string; public: number };
}

/** A statement that moves rows; plain SQL that both dialects read alike. */
function move(text: string): Compilable {
  return { compile: () => CompiledQuery.raw(text) };
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
  {
    name: '0002-roles',
    up: ({ db }) => [
      db.schema.alterTable('user').addColumn('email', 'text', (c) => c.notNull().defaultTo('')),
      db.schema.alterTable('user').addColumn('full_name', 'text', (c) => c.notNull().defaultTo('')),
      db.schema.alterTable('user').addColumn('version', 'integer', (c) => c.notNull().defaultTo(1)),
      db.schema
        .createTable('user_group')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('name', 'text', (c) => c.notNull().unique())
        .addColumn('description', 'text', (c) => c.notNull())
        .addColumn('created_at', 'bigint', (c) => c.notNull())
        .addColumn('version', 'integer', (c) => c.notNull()),
      db.schema
        .createTable('group_member')
        .addColumn('group_id', 'integer', (c) => c.notNull().references('user_group.id'))
        .addColumn('user_id', 'integer', (c) => c.notNull().references('user.id'))
        .addColumn('source', 'text', (c) => c.notNull())
        .addPrimaryKeyConstraint('group_member_pk', ['user_id', 'group_id', 'source']),
      db.schema.createIndex('group_member_group').on('group_member').columns(['group_id', 'user_id']),
      db.schema
        .createTable('role')
        .addColumn('name', 'text', (c) => c.primaryKey())
        .addColumn('description', 'text', (c) => c.notNull())
        .addColumn('permissions', 'text', (c) => c.notNull())
        .addColumn('created_at', 'bigint', (c) => c.notNull())
        .addColumn('version', 'integer', (c) => c.notNull()),
      db.schema
        .createTable('role_assignment')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('subject_kind', 'text', (c) => c.notNull())
        .addColumn('subject_id', 'integer', (c) => c.notNull())
        .addColumn('role', 'text')
        .addColumn('permissions', 'text')
        .addColumn('project_id', 'integer', (c) => c.references('project.id'))
        .addColumn('pattern', 'text')
        .addColumn('created_at', 'bigint', (c) => c.notNull())
        .addColumn('created_by', 'text', (c) => c.notNull()),
      db.schema.createIndex('role_assignment_subject').on('role_assignment').columns(['subject_kind', 'subject_id', 'project_id']),
      db.schema.createIndex('role_assignment_project').on('role_assignment').columns(['project_id', 'id']),
      move(`INSERT INTO role_assignment (subject_kind, subject_id, role, project_id, created_at, created_by)
            SELECT 'user', user_id, role, project_id, 0, 'migration' FROM project_member`),
      db.schema.dropTable('project_member'),
      move(`INSERT INTO role_assignment (subject_kind, subject_id, role, created_at, created_by)
            SELECT 'user', id, 'system-admin', 0, 'migration' FROM "user" WHERE admin = 1`),
      db.schema.alterTable('user').dropColumn('admin'),
      db.schema
        .createTable('access_state')
        .addColumn('id', 'integer', (c) => c.primaryKey())
        .addColumn('version', 'bigint', (c) => c.notNull()),
      move('INSERT INTO access_state (id, version) VALUES (1, 1)'),
    ],
  },
  {
    name: '0004-policies',
    up: ({ db }) => [
      db.schema
        .createTable('policy')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('name', 'text', (c) => c.notNull().unique())
        .addColumn('description', 'text', (c) => c.notNull())
        .addColumn('document', 'text', (c) => c.notNull())
        .addColumn('created_at', 'bigint', (c) => c.notNull())
        .addColumn('created_by', 'text', (c) => c.notNull())
        .addColumn('version', 'integer', (c) => c.notNull()),
      db.schema
        .createTable('policy_attachment')
        .addColumn('policy_id', 'integer', (c) => c.notNull().references('policy.id'))
        .addColumn('subject_kind', 'text', (c) => c.notNull())
        .addColumn('subject_id', 'integer', (c) => c.notNull())
        .addColumn('created_at', 'bigint', (c) => c.notNull())
        .addColumn('created_by', 'text', (c) => c.notNull())
        .addPrimaryKeyConstraint('policy_attachment_pk', ['subject_kind', 'subject_id', 'policy_id']),
      db.schema.createIndex('policy_attachment_policy').on('policy_attachment').columns(['policy_id', 'subject_kind', 'subject_id']),
    ],
  },
];
