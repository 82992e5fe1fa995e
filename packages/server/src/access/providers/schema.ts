import type { Generated } from 'kysely';
import type { Migration } from '../../platform/index.ts';

/** Purpose of the key that seals secrets of providers. */
export const PROVIDER_SECRETS = 'identity-providers';

export interface ProviderTables {
  identity_provider: {
    id: Generated<number>;
    name: string;
    kind: 'oidc' | 'ldap';
    /** JSON, with its defaults filled in. */
    settings: string;
    /** Client secret or bind password, sealed; null: none. */
    secret: string | null;
    enabled: number;
    created_at: number;
    created_by: string;
    version: number;
  };
  /** Which user somebody is that a provider knows. */
  identity_link: {
    provider_id: number;
    /** What the provider calls the person, for ever. */
    subject: string;
    user_id: number;
    created_at: number;
    last_login_at: number | null;
  };
  /** Logins that have come to their end, so that none counts twice. */
  oidc_login: { hash: string; expires_at: number };
  /** ID tokens by session, sealed: a provider wants them back at logout. */
  oidc_hint: { session_id: number; provider_id: number; hint: string };
  user: { id: number; name: string; email: string; full_name: string; disabled: number; generation: number; version: number };
  user_group: { id: number; name: string };
  group_member: { group_id: number; user_id: number; source: string };
  role_assignment: { id: number; subject_kind: string; subject_id: number; created_by: string };
  session: { id: number; provider: string };
}

export const providerMigrations: readonly Migration[] = [
  {
    name: '0001-identity-providers',
    up: ({ db }) => [
      db.schema
        .createTable('identity_provider')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('name', 'text', (c) => c.notNull().unique())
        .addColumn('kind', 'text', (c) => c.notNull())
        .addColumn('settings', 'text', (c) => c.notNull())
        .addColumn('secret', 'text')
        .addColumn('enabled', 'integer', (c) => c.notNull())
        .addColumn('created_at', 'bigint', (c) => c.notNull())
        .addColumn('created_by', 'text', (c) => c.notNull())
        .addColumn('version', 'integer', (c) => c.notNull()),
      db.schema
        .createTable('identity_link')
        .addColumn('provider_id', 'integer', (c) => c.notNull().references('identity_provider.id'))
        .addColumn('subject', 'text', (c) => c.notNull())
        .addColumn('user_id', 'integer', (c) => c.notNull().references('user.id'))
        .addColumn('created_at', 'bigint', (c) => c.notNull())
        .addColumn('last_login_at', 'bigint')
        .addPrimaryKeyConstraint('identity_link_pk', ['provider_id', 'subject']),
      db.schema.createIndex('identity_link_user').on('identity_link').columns(['user_id', 'provider_id']),
      db.schema
        .createTable('oidc_login')
        .addColumn('hash', 'text', (c) => c.primaryKey())
        .addColumn('expires_at', 'bigint', (c) => c.notNull()),
      db.schema.createIndex('oidc_login_expiry').on('oidc_login').columns(['expires_at']),
      db.schema
        .createTable('oidc_hint')
        .addColumn('session_id', 'integer', (c) => c.primaryKey())
        .addColumn('provider_id', 'integer', (c) => c.notNull())
        .addColumn('hint', 'text', (c) => c.notNull()),
      db.schema.createIndex('group_member_source').on('group_member').columns(['source', 'user_id']),
      db.schema.createIndex('role_assignment_by').on('role_assignment').columns(['created_by']),
    ],
  },
];
