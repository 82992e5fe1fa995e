import type { Generated } from 'kysely';
import { type Migration, queriesOf, type Session } from '../../platform/index.ts';

interface PasskeyTables {
  /** WebAuthn credentials, each of which proves by itself who logs in. */
  passkey: {
    id: Generated<number>;
    user_id: number;
    /** As the authenticator names it, base64url. */
    credential_id: string;
    /** COSE, base64url. */
    public_key: string;
    /** Of signatures, where the authenticator counts; otherwise 0. */
    counter: number;
    /** JSON array: how it is reached. */
    transports: string;
    name: string;
    created_at: number;
    last_used_at: number | null;
  };
  /** Challenges that were answered; one is good for once. */
  spent_challenge: { challenge: string; expires_at: number };
  user: { id: number; name: string; disabled: number; generation: number };
}

export const passkeyMigrations: readonly Migration[] = [
  {
    name: '0001-passkeys',
    up: ({ db }) => [
      db.schema
        .createTable('passkey')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('user_id', 'integer', (c) => c.notNull().references('user.id'))
        .addColumn('credential_id', 'text', (c) => c.notNull().unique())
        .addColumn('public_key', 'text', (c) => c.notNull())
        .addColumn('counter', 'bigint', (c) => c.notNull())
        .addColumn('transports', 'text', (c) => c.notNull())
        .addColumn('name', 'text', (c) => c.notNull())
        .addColumn('created_at', 'bigint', (c) => c.notNull())
        .addColumn('last_used_at', 'bigint'),
      db.schema.createIndex('passkey_user').on('passkey').columns(['user_id', 'id']),
      db.schema
        .createTable('spent_challenge')
        .addColumn('challenge', 'text', (c) => c.primaryKey())
        .addColumn('expires_at', 'bigint', (c) => c.notNull()),
      db.schema.createIndex('spent_challenge_age').on('spent_challenge').columns(['expires_at']),
    ],
  },
];

const query = queriesOf<PasskeyTables>('access');

const passkeysOf = query<{ userId: number }>()('passkeysOf', (db, p) =>
  db
    .selectFrom('passkey')
    .select(['id', 'name', 'credential_id as credentialId', 'transports', 'created_at as createdAt', 'last_used_at as lastUsedAt'])
    .where('user_id', '=', p('userId'))
    .orderBy('id', 'asc'),
);
const countOf = query<{ userId: number }>()('countPasskeys', (db, p) =>
  db
    .selectFrom('passkey')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('user_id', '=', p('userId')),
);
const passkeyByCredential = query<{ credentialId: string }>()('passkeyByCredential', (db, p) =>
  db
    .selectFrom('passkey')
    .innerJoin('user', 'user.id', 'passkey.user_id')
    .select([
      'passkey.id',
      'passkey.public_key as publicKey',
      'passkey.counter',
      'user.id as userId',
      'user.name as userName',
      'user.disabled',
      'user.generation',
    ])
    .where('passkey.credential_id', '=', p('credentialId')),
);
const insertPasskey = query<{
  userId: number;
  credentialId: string;
  publicKey: string;
  counter: number;
  transports: string;
  name: string;
  now: number;
}>()('insertPasskey', (db, p) =>
  db
    .insertInto('passkey')
    .values({
      user_id: p('userId'),
      credential_id: p('credentialId'),
      public_key: p('publicKey'),
      counter: p('counter'),
      transports: p('transports'),
      name: p('name'),
      created_at: p('now'),
      last_used_at: null,
    })
    .onConflict((conflict) => conflict.column('credential_id').doNothing())
    .returning('id'),
);
const usePasskey = query<{ id: number; before: number; counter: number; now: number }>()('usePasskey', (db, p) =>
  db
    .updateTable('passkey')
    .set({ counter: p('counter'), last_used_at: p('now') })
    .where('id', '=', p('id'))
    .where('counter', '=', p('before')),
);
const deletePasskey = query<{ id: number; userId: number }>()('deletePasskey', (db, p) =>
  db.deleteFrom('passkey').where('id', '=', p('id')).where('user_id', '=', p('userId')),
);
const deletePasskeysOf = query<{ userId: number }>()('deletePasskeysOf', (db, p) =>
  db.deleteFrom('passkey').where('user_id', '=', p('userId')),
);
const insertSpent = query<{ challenge: string; expires: number }>()('insertSpentChallenge', (db, p) =>
  db
    .insertInto('spent_challenge')
    .values({ challenge: p('challenge'), expires_at: p('expires') })
    .onConflict((conflict) => conflict.column('challenge').doNothing()),
);
const deleteSpent = query<{ now: number }>()('deleteSpentChallenges', (db, p) =>
  db.deleteFrom('spent_challenge').where('expires_at', '<', p('now')),
);

export interface Passkey {
  readonly id: number;
  readonly name: string;
  readonly credentialId: string;
  /** JSON array. */
  readonly transports: string;
  readonly createdAt: number;
  readonly lastUsedAt: number | null;
}

/** A passkey and whose it is. */
export interface OwnedPasskey {
  readonly id: number;
  readonly publicKey: string;
  readonly counter: number;
  readonly userId: number;
  readonly userName: string;
  readonly disabled: number;
  readonly generation: number;
}

export async function listPasskeys(session: Session, userId: number): Promise<Passkey[]> {
  return await session.all(passkeysOf, { userId });
}

export async function countPasskeys(session: Session, userId: number): Promise<number> {
  return (await session.first(countOf, { userId }))?.count ?? 0;
}

export async function findPasskey(session: Session, credentialId: string): Promise<OwnedPasskey | undefined> {
  return await session.first(passkeyByCredential, { credentialId });
}

export interface NewPasskey {
  readonly userId: number;
  readonly credentialId: string;
  readonly publicKey: string;
  readonly counter: number;
  readonly transports: readonly string[];
  readonly name: string;
  readonly now: number;
}

/** Adds a passkey and gives its id; undefined if the authenticator is registered already, for whomever. */
export async function addPasskey(tx: Session, { transports, ...passkey }: NewPasskey): Promise<number | undefined> {
  return (await tx.first(insertPasskey, { ...passkey, transports: JSON.stringify(transports) }))?.id;
}

/** Notes a use; false where another login has used the same count, or the passkey is gone. */
export async function markUsed(tx: Session, used: { id: number; before: number; counter: number; now: number }): Promise<boolean> {
  return (await tx.run(usePasskey, used)) === 1;
}

/** Removes one passkey of a user; false if the user has none of that id. */
export async function dropPasskey(tx: Session, userId: number, id: number): Promise<boolean> {
  return (await tx.run(deletePasskey, { id, userId })) === 1;
}

export async function dropPasskeys(tx: Session, userId: number): Promise<void> {
  await tx.run(deletePasskeysOf, { userId });
}

/** Notes that a challenge was answered; false where it was before. */
export async function spendChallenge(tx: Session, challenge: string, expires: number, now: number): Promise<boolean> {
  await tx.run(deleteSpent, { now });
  return (await tx.run(insertSpent, { challenge, expires })) === 1;
}
