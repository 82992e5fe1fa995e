import { sql } from 'kysely';
import { AppError, BEFORE_ALL, containing, holdsText, type Order, type Query, queriesOf, type Session } from '../../platform/index.ts';
import { touchAccess } from '../rules.ts';
import type { Statement } from '../statements.ts';
import { hashOfSecret, newKeySecret } from './key-secret.ts';
import { type Limits, statementsOfLimits } from './limits.ts';
import type { MachineTables } from './schema.ts';

const query = queriesOf<MachineTables>('machines');
const KEY = ['id', 'name', 'limits', 'expires_at as expiresAt', 'created_at as createdAt', 'version'] as const;
const SECRET = [
  'access_key_secret.key_id as keyId',
  'access_key_secret.number',
  'access_key_secret.ends_at as endsAt',
  'access_key.owner_kind as ownerKind',
  'access_key.owner_id as ownerId',
  'access_key.expires_at as expiresAt',
  'access_key.limits',
] as const;

const secretByHash = query<{ hash: string }>()('keySecretByHash', (db, p) =>
  db
    .selectFrom('access_key_secret')
    .innerJoin('access_key', 'access_key.id', 'access_key_secret.key_id')
    .select(SECRET)
    .where('access_key_secret.hash', '=', p('hash')),
);
const secretByNumber = query<{ keyId: number; number: number }>()('keySecretByNumber', (db, p) =>
  db
    .selectFrom('access_key_secret')
    .innerJoin('access_key', 'access_key.id', 'access_key_secret.key_id')
    .select(SECRET)
    .where('access_key_secret.key_id', '=', p('keyId'))
    .where('access_key_secret.number', '=', p('number')),
);
const keyOf = query<Owner & { keyId: number }>()('accessKeyOf', (db, p) =>
  db.selectFrom('access_key').select(KEY).where('id', '=', p('keyId')).where('owner_kind', '=', p('kind')).where('owner_id', '=', p('id')),
);
const firstKeyOf = query<Owner>()('firstAccessKeyOf', (db, p) =>
  db.selectFrom('access_key').select(KEY).where('owner_kind', '=', p('kind')).where('owner_id', '=', p('id')).orderBy('name').limit(1),
);
const countOf = query<Owner>()('countAccessKeysOf', (db, p) =>
  db
    .selectFrom('access_key')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('owner_kind', '=', p('kind'))
    .where('owner_id', '=', p('id')),
);
const secretsOf = query<{ keyId: number }>()('keySecrets', (db, p) =>
  db
    .selectFrom('access_key_secret')
    .select(['number', 'created_at as createdAt', 'ends_at as endsAt', 'last_used_at as lastUsedAt', 'last_used_from as lastUsedFrom'])
    .where('key_id', '=', p('keyId'))
    .orderBy('number'),
);
const secretsOfOwner = query<Owner>()('keySecretsOfOwner', (db, p) =>
  db
    .selectFrom('access_key')
    .innerJoin('access_key_secret', 'access_key_secret.key_id', 'access_key.id')
    .select([
      'access_key_secret.number',
      'access_key_secret.created_at as createdAt',
      'access_key_secret.ends_at as endsAt',
      'access_key_secret.last_used_at as lastUsedAt',
      'access_key_secret.last_used_from as lastUsedFrom',
    ])
    .where('access_key.owner_kind', '=', p('kind'))
    .where('access_key.owner_id', '=', p('id'))
    .orderBy('access_key_secret.key_id')
    .orderBy('access_key_secret.number'),
);
const insertKey = query<Owner & { name: string; limits: string | null; expiresAt: number | null; now: number }>()(
  'insertAccessKey',
  (db, p) =>
    db
      .insertInto('access_key')
      .values({
        owner_kind: p('kind'),
        owner_id: p('id'),
        name: p('name'),
        limits: p('limits'),
        expires_at: p('expiresAt'),
        created_at: p('now'),
        version: 1,
      })
      .onConflict((conflict) => conflict.columns(['owner_kind', 'owner_id', 'name']).doNothing())
      .returning('id'),
);
const updateKey = query<{ keyId: number; limits: string | null; expiresAt: number | null }>()('updateAccessKey', (db, p) =>
  db
    .updateTable('access_key')
    .set((eb) => ({ limits: p('limits'), expires_at: p('expiresAt'), version: eb('version', '+', 1) }))
    .where('id', '=', p('keyId')),
);
const insertSecret = query<{ keyId: number; number: number; hash: string; now: number }>()('insertKeySecret', (db, p) =>
  db.insertInto('access_key_secret').values({
    key_id: p('keyId'),
    number: p('number'),
    hash: p('hash'),
    created_at: p('now'),
    ends_at: null,
    last_used_at: null,
    last_used_from: null,
  }),
);
const endSecrets = query<{ keyId: number; endsAt: number }>()('endKeySecrets', (db, p) =>
  db
    .updateTable('access_key_secret')
    .set({ ends_at: p('endsAt') })
    .where('key_id', '=', p('keyId'))
    .where((eb) => eb.or([eb('ends_at', 'is', null), eb('ends_at', '>', p('endsAt'))])),
);
const deleteSecretsBelow = query<{ keyId: number; number: number }>()('deleteKeySecretsBelow', (db, p) =>
  db.deleteFrom('access_key_secret').where('key_id', '=', p('keyId')).where('number', '<', p('number')),
);
const deleteKey = query<{ keyId: number }>()('deleteAccessKey', (db, p) => db.deleteFrom('access_key').where('id', '=', p('keyId')));
const deleteSecretsOf = query<Owner>()('deleteKeySecretsOf', (db, p) =>
  db
    .deleteFrom('access_key_secret')
    .where('key_id', 'in', (eb) =>
      eb.selectFrom('access_key').select('id').where('owner_kind', '=', p('kind')).where('owner_id', '=', p('id')),
    ),
);
const deleteKeysOf = query<Owner>()('deleteAccessKeysOf', (db, p) =>
  db.deleteFrom('access_key').where('owner_kind', '=', p('kind')).where('owner_id', '=', p('id')),
);

type Position = Owner & { name: string; after: string; limit: number };

function listed(name: string, order: Order): Query<Position, KeyRow> {
  return query<Position>()(name, (db, p) =>
    db
      .selectFrom('access_key')
      .select(KEY)
      .where('owner_kind', '=', p('kind'))
      .where('owner_id', '=', p('id'))
      .where('name', order === 'asc' ? '>' : '<', p('after'))
      .where(holdsText(sql.ref('name'), p('name')))
      .orderBy('name', order)
      .limit(p('limit')),
  );
}
const LISTS = { asc: listed('accessKeys', 'asc'), desc: listed('accessKeysDescending', 'desc') };

export interface Owner {
  readonly kind: 'user' | 'robot';
  readonly id: number;
}

interface KeyRow {
  readonly id: number;
  readonly name: string;
  readonly limits: string | null;
  readonly expiresAt: number | null;
  readonly createdAt: number;
  readonly version: number;
}

export interface KeySecret {
  readonly number: number;
  readonly createdAt: number;
  readonly endsAt: number | null;
  readonly lastUsedAt: number | null;
  readonly lastUsedFrom: string | null;
}

export interface AccessKey extends Omit<KeyRow, 'limits'> {
  readonly limits: Limits | null;
  /** The live ones, and those that ended before the last rotation. */
  readonly secrets: readonly KeySecret[];
}

/** One live secret, whose it is, and what it is narrowed to. */
export interface LiveSecret {
  readonly keyId: number;
  readonly number: number;
  readonly owner: Owner;
  readonly limits: readonly Statement[] | undefined;
}

const MAX_KEYS = 100;

interface SecretRow {
  readonly keyId: number;
  readonly number: number;
  readonly endsAt: number | null;
  readonly ownerKind: 'user' | 'robot';
  readonly ownerId: number;
  readonly expiresAt: number | null;
  readonly limits: string | null;
}

/** A row read again from memory is the same object: it is understood once. */
const SECRETS = new WeakMap<SecretRow, LiveSecret>();

function live(row: SecretRow | undefined, now: number): LiveSecret | undefined {
  if (!row || (row.endsAt ?? Number.POSITIVE_INFINITY) <= now || (row.expiresAt ?? Number.POSITIVE_INFINITY) <= now) return undefined;
  let secret = SECRETS.get(row);
  if (secret === undefined) {
    const { keyId, number, ownerKind, ownerId, limits } = row;
    const owner = { kind: ownerKind, id: ownerId };
    secret = { keyId, number, owner, limits: limits === null ? undefined : statementsOfLimits(limits) };
    SECRETS.set(row, secret);
  }
  return secret;
}

/** The live secret of a text that has the form of one. */
export async function findSecret(session: Session, text: string, now: number): Promise<LiveSecret | undefined> {
  return live(await session.first(secretByHash, { hash: hashOfSecret(text) }), now);
}

/** The live secret of a key by its number. */
export async function findSecretByNumber(session: Session, keyId: number, number: number, now: number): Promise<LiveSecret | undefined> {
  return live(await session.first(secretByNumber, { keyId, number }), now);
}

async function toKey(session: Session, { limits, ...row }: KeyRow): Promise<AccessKey> {
  const secrets = await session.all(secretsOf, { keyId: row.id });
  return { ...row, limits: limits === null ? null : (JSON.parse(limits) as Limits), secrets };
}

/** A key of an owner. Throws `not_found` where it has none of that id. */
export async function requireKey(session: Session, owner: Owner, keyId: number): Promise<AccessKey> {
  const row = await session.first(keyOf, { kind: owner.kind, id: owner.id, keyId });
  if (!row) throw new AppError('not_found', `there is no access key ${keyId}`);
  return await toKey(session, row);
}

/** The one key of a robot; undefined where it has none. */
export async function keyOfRobot(session: Session, robotId: number): Promise<AccessKey | undefined> {
  const row = await session.first(firstKeyOf, { kind: 'robot', id: robotId });
  return row && (await toKey(session, row));
}

/** Secrets of the one key of a robot. */
export async function secretsOfRobot(session: Session, id: number): Promise<KeySecret[]> {
  return await session.all(secretsOfOwner, { kind: 'robot', id });
}

export async function pageOfKeys(
  session: Session,
  owner: Owner,
  {
    name = '',
    order,
    after = BEFORE_ALL[order].text,
    limit,
  }: { name?: string | undefined; order: Order; after?: string | undefined; limit: number },
): Promise<AccessKey[]> {
  const { kind, id } = owner;
  const rows = await session.all(LISTS[order], { kind, id, name: containing(name), after, limit });
  return await Promise.all(rows.map((row) => toKey(session, row)));
}

export interface NewKey {
  readonly owner: Owner;
  readonly name: string;
  readonly limits?: Limits | undefined;
  readonly expiresAt: number | null;
  readonly now: number;
}

/** Makes a key and gives its secret, which is known to nobody else. Throws `conflict` for a name that the owner has given another one. */
export async function createKey(tx: Session, { owner, name, limits, expiresAt, now }: NewKey): Promise<{ key: AccessKey; secret: string }> {
  const { kind, id } = owner;
  if (((await tx.first(countOf, { kind, id }))?.count ?? 0) >= MAX_KEYS)
    throw new AppError('conflict', `one has at most ${MAX_KEYS} access keys`);
  const stored = limits === undefined ? null : JSON.stringify(limits);
  const made = await tx.first(insertKey, { kind, id, name, limits: stored, expiresAt, now });
  if (!made) throw new AppError('conflict', `there is an access key ${name} already`);
  const secret = await addSecret(tx, made.id, 1, now);
  return { key: await requireKey(tx, owner, made.id), secret };
}

/**
 * Gives a key another secret; the one before goes on until `endsAt`, and one before that ends at once: there are never more
 * than two.
 */
export async function rotateKey(
  tx: Session,
  owner: Owner,
  key: AccessKey,
  { endsAt, now }: { endsAt: number; now: number },
): Promise<{ key: AccessKey; secret: string }> {
  const last = Math.max(...key.secrets.map(({ number }) => number));
  await tx.run(deleteSecretsBelow, { keyId: key.id, number: last });
  await tx.run(endSecrets, { keyId: key.id, endsAt });
  const secret = await addSecret(tx, key.id, last + 1, now);
  await changeKey(tx, owner, key, {});
  return { key: await requireKey(tx, owner, key.id), secret };
}

async function addSecret(tx: Session, keyId: number, number: number, now: number): Promise<string> {
  const secret = newKeySecret();
  await tx.run(insertSecret, { keyId, number, hash: hashOfSecret(secret), now });
  await touchAccess(tx);
  return secret;
}

/** Changes a key and gives it as it is now. */
export async function changeKey(
  tx: Session,
  owner: Owner,
  key: AccessKey,
  change: Partial<Pick<AccessKey, 'limits' | 'expiresAt'>>,
): Promise<AccessKey> {
  const { id, limits, expiresAt } = { ...key, ...change };
  await tx.run(updateKey, { keyId: id, limits: limits === null ? null : JSON.stringify(limits), expiresAt });
  await touchAccess(tx);
  return await requireKey(tx, owner, id);
}

export async function revokeKey(tx: Session, keyId: number): Promise<void> {
  await tx.run(deleteSecretsBelow, { keyId, number: Number.MAX_SAFE_INTEGER });
  await tx.run(deleteKey, { keyId });
  await touchAccess(tx);
}

/** Revokes all keys of a user or robot: part of its deletion. */
export async function dropKeysOf(tx: Session, { kind, id }: Owner): Promise<void> {
  await tx.run(deleteSecretsOf, { kind, id });
  await tx.run(deleteKeysOf, { kind, id });
  await touchAccess(tx);
}

/** Names a state of a key, for `ETag`. */
export function keyEtag({ id, version }: AccessKey): string {
  return `${id}.${version}`;
}
