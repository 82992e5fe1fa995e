import type { Generated } from 'kysely';
import type { Migration } from '../../platform/index.ts';

export interface MachineTables {
  robot: {
    id: Generated<number>;
    /** As docker's user name: `robot-<name>`, or `robot-<project>.<name>`. */
    name: string;
    /** null: of the system. */
    project_id: number | null;
    description: string;
    disabled: number;
    /** null: never. */
    expires_at: number | null;
    /** Rises whenever the robot is disabled or enabled: whatever was issued before is void. */
    generation: number;
    created_at: number;
    created_by: string;
    /** Rises with every change of the row or of the robot's rights. */
    version: number;
  };
  access_key: {
    id: Generated<number>;
    owner_kind: 'user' | 'robot';
    owner_id: number;
    name: string;
    /** JSON array of what it is narrowed to; null: whatever its owner may. */
    limits: string | null;
    /** null: never. */
    expires_at: number | null;
    created_at: number;
    version: number;
  };
  /** One secret of a key, two while it rotates. */
  access_key_secret: {
    key_id: number;
    /** Counts the secrets of a key. */
    number: number;
    /** SHA-256 in hex; a secret is random and long, so nothing slower is of use. */
    hash: string;
    created_at: number;
    /** When it ends before its key; null: with it. */
    ends_at: number | null;
    last_used_at: number | null;
    last_used_from: string | null;
  };
  /** Tokens of another issuer that prove to be a robot. */
  trust_rule: {
    id: Generated<number>;
    robot_id: number;
    name: string;
    issuer: string;
    audience: string;
    /** JSON Web Key Set; null: the issuer's own, by discovery. */
    jwks: string | null;
    /** CEL over `claims`. */
    condition: string;
    disabled: number;
    created_at: number;
    created_by: string;
    /** Rises with every change: whatever was issued before is void. */
    version: number;
  };
  /** Public keys of service-account key files. */
  robot_key: {
    id: Generated<number>;
    robot_id: number;
    /** In the header of what the private key signs. */
    kid: string;
    /** JSON Web Key; nothing of it is secret. */
    jwk: string;
    /** Whom what it signs must be for. */
    audience: string;
    /** null: never. */
    expires_at: number | null;
    created_at: number;
    created_by: string;
  };
  role_assignment: {
    id: Generated<number>;
    subject_kind: 'user' | 'group' | 'robot';
    subject_id: number;
    role: string | null;
    permissions: string | null;
    project_id: number | null;
    pattern: string | null;
  };
  role: { name: string; permissions: string };
  project: { id: number; name: string };
}

export const machineMigrations: readonly Migration[] = [
  {
    name: '0001-machines',
    up: ({ db }) => [
      db.schema
        .createTable('robot')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('name', 'text', (c) => c.notNull().unique())
        .addColumn('project_id', 'integer', (c) => c.references('project.id'))
        .addColumn('description', 'text', (c) => c.notNull())
        .addColumn('disabled', 'integer', (c) => c.notNull())
        .addColumn('expires_at', 'bigint')
        .addColumn('generation', 'integer', (c) => c.notNull())
        .addColumn('created_at', 'bigint', (c) => c.notNull())
        .addColumn('created_by', 'text', (c) => c.notNull())
        .addColumn('version', 'integer', (c) => c.notNull()),
      db.schema.createIndex('robot_project').on('robot').columns(['project_id', 'name']),
      db.schema
        .createTable('access_key')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('owner_kind', 'text', (c) => c.notNull())
        .addColumn('owner_id', 'integer', (c) => c.notNull())
        .addColumn('name', 'text', (c) => c.notNull())
        .addColumn('limits', 'text')
        .addColumn('expires_at', 'bigint')
        .addColumn('created_at', 'bigint', (c) => c.notNull())
        .addColumn('version', 'integer', (c) => c.notNull())
        .addUniqueConstraint('access_key_name', ['owner_kind', 'owner_id', 'name']),
      db.schema
        .createTable('access_key_secret')
        .addColumn('key_id', 'integer', (c) => c.notNull().references('access_key.id'))
        .addColumn('number', 'integer', (c) => c.notNull())
        .addColumn('hash', 'text', (c) => c.notNull().unique())
        .addColumn('created_at', 'bigint', (c) => c.notNull())
        .addColumn('ends_at', 'bigint')
        .addColumn('last_used_at', 'bigint')
        .addColumn('last_used_from', 'text')
        .addPrimaryKeyConstraint('access_key_secret_pk', ['key_id', 'number']),
    ],
  },
  {
    name: '0002-workloads',
    up: ({ db }) => [
      db.schema
        .createTable('trust_rule')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('robot_id', 'integer', (c) => c.notNull().references('robot.id'))
        .addColumn('name', 'text', (c) => c.notNull())
        .addColumn('issuer', 'text', (c) => c.notNull())
        .addColumn('audience', 'text', (c) => c.notNull())
        .addColumn('jwks', 'text')
        .addColumn('condition', 'text', (c) => c.notNull())
        .addColumn('disabled', 'integer', (c) => c.notNull())
        .addColumn('created_at', 'bigint', (c) => c.notNull())
        .addColumn('created_by', 'text', (c) => c.notNull())
        .addColumn('version', 'integer', (c) => c.notNull())
        .addUniqueConstraint('trust_rule_name', ['robot_id', 'name']),
      db.schema.createIndex('trust_rule_issuer').on('trust_rule').columns(['issuer', 'id']),
      db.schema
        .createTable('robot_key')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('robot_id', 'integer', (c) => c.notNull().references('robot.id'))
        .addColumn('kid', 'text', (c) => c.notNull().unique())
        .addColumn('jwk', 'text', (c) => c.notNull())
        .addColumn('audience', 'text', (c) => c.notNull())
        .addColumn('expires_at', 'bigint')
        .addColumn('created_at', 'bigint', (c) => c.notNull())
        .addColumn('created_by', 'text', (c) => c.notNull()),
      db.schema.createIndex('robot_key_robot').on('robot_key').columns(['robot_id', 'id']),
    ],
  },
];
