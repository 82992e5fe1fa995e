import { type Database, queriesOf, type Session } from '../../platform/index.ts';
import type { ContentTables } from '../schema.ts';
import type { SealedKey } from './data-keys.ts';
import type { Wrapped } from './providers/provider.ts';
import { PROJECTS_ONLY, wrappingsOf } from './wrapping-rows.ts';

const query = queriesOf<ContentTables>('content');

/** A wrapped key as it is in the database. */
export interface WrappedKey extends Wrapped {
  readonly id: string;
  readonly provider: string;
}

const WRAPPED = ['id', 'provider', 'version', 'wrapped'] as const;

const keysByVersion = query()('dataKeysByVersion', (db) =>
  db
    .selectFrom('data_key')
    .select(({ fn }) => ['provider', 'version', fn.countAll<number>().as('keys'), fn.sum<number>('copied').as('copied')])
    .groupBy(['provider', 'version'])
    .orderBy('provider')
    .orderBy('version'),
);
const keysUnderOthers = query<{ provider: string; version: string; after: string; limit: number }>()('dataKeysUnderOthers', (db, p) =>
  db
    .selectFrom('data_key')
    .select(WRAPPED)
    .where('id', '>', p('after'))
    .where('provider', '<>', PROJECTS_ONLY)
    .where(({ or, eb }) => or([eb('provider', '<>', p('provider')), eb('version', '<>', p('version'))]))
    .orderBy('id')
    .limit(p('limit')),
);
const countUnderOthers = query<{ provider: string; version: string }>()('countDataKeysUnderOthers', (db, p) =>
  db
    .selectFrom('data_key')
    .select(({ fn }) => fn.countAll<number>().as('keys'))
    .where('provider', '<>', PROJECTS_ONLY)
    .where(({ or, eb }) => or([eb('provider', '<>', p('provider')), eb('version', '<>', p('version'))])),
);
const rewrapKey = query<{ id: string; from: string; provider: string; version: string; wrapped: string }>()('rewrapDataKey', (db, p) =>
  db
    .updateTable('data_key')
    .set({ provider: p('provider'), version: p('version'), wrapped: p('wrapped'), copied: 0 })
    .where('id', '=', p('id'))
    .where('wrapped', '=', p('from')),
);
const keysToCopy = query<{ limit: number }>()('dataKeysToCopy', (db, p) =>
  db.selectFrom('data_key').select(WRAPPED).where('copied', '=', 0).where('placed', '=', 1).limit(p('limit')),
);
const forgetAllCopies = query()('forgetDataKeyCopies', (db) => db.updateTable('data_key').set({ copied: 0 }).where('copied', '=', 1));
const copiedKey = query<{ id: string; wrapped: string }>()('copiedDataKey', (db, p) =>
  db.updateTable('data_key').set({ copied: 1 }).where('id', '=', p('id')).where('wrapped', '=', p('wrapped')),
);
const keysToLook = query<{ now: number; limit: number }>()('dataKeysToLookFor', (db, p) =>
  db.selectFrom('data_key').select(['id', 'digest', 'placed']).where('look_at', '<=', p('now')).orderBy('look_at').limit(p('limit')),
);
const placeKey = query<{ id: string; placed: number; lookAt: number | null }>()('placeDataKey', (db, p) =>
  db
    .updateTable('data_key')
    .set({ placed: p('placed'), look_at: p('lookAt') })
    .where('id', '=', p('id')),
);
const findMark = query<{ name: string }>()('encryptionMark', (db, p) =>
  db.selectFrom('encryption_mark').select('at').where('name', '=', p('name')),
);
const insertMark = query<{ name: string; now: number }>()('setEncryptionMark', (db, p) =>
  db
    .insertInto('encryption_mark')
    .values({ name: p('name'), at: p('now') })
    .onConflict((conflict) => conflict.column('name').doUpdateSet({ at: p('now') })),
);

/** How many keys are wrapped under which version, and how many of them have a copy that says the same beside the blobs. */
export async function countKeys(session: Session): Promise<{ provider: string; version: string; keys: number; copied: number }[]> {
  return await session.all(keysByVersion, {});
}

/** Keys that are not wrapped under a version, by id, after one of them. */
export async function keysNotUnder(
  session: Session,
  version: { provider: string; version: string },
  after: string,
  limit: number,
): Promise<WrappedKey[]> {
  return await session.all(keysUnderOthers, { ...version, after, limit });
}

export async function countKeysNotUnder(session: Session, version: { provider: string; version: string }): Promise<number> {
  return (await session.first(countUnderOthers, version))?.keys ?? 0;
}

/** Replaces a wrapped key unless somebody else did so meanwhile. */
export async function replaceWrapped(tx: Session, key: WrappedKey & { from: string }): Promise<void> {
  const { id, from, provider, version, wrapped } = key;
  await tx.run(rewrapKey, { id, from, provider, version, wrapped });
}

/** Keys of placed blobs whose copies beside the blobs are missing or old. */
export async function keysWithoutCopy(session: Session, limit: number): Promise<SealedKey[]> {
  const keys: SealedKey[] = [];
  for (const key of await session.all(keysToCopy, { limit })) keys.push({ ...key, named: await wrappingsOf(session, key.id) });
  return keys;
}

/** Copies that were written, as far as the keys have not changed meanwhile. */
export async function setCopied(database: Database, copied: readonly SealedKey[]): Promise<void> {
  await database.write(
    async (tx) => {
      for (const { id, wrapped, named } of copied)
        if (JSON.stringify(await wrappingsOf(tx, id)) === JSON.stringify(named)) await tx.run(copiedKey, { id, wrapped });
    },
    { durable: false, scope: ['data-keys'] },
  );
}

/** Keys whose blobs have to be looked for, the longest due first. */
export async function keysToLookFor(
  session: Session,
  now: number,
  limit: number,
): Promise<{ id: string; digest: string | null; placed: number }[]> {
  return await session.all(keysToLook, { now, limit });
}

export async function setPlaced(database: Database, key: { id: string; placed: number; lookAt: number | null }): Promise<void> {
  await database.write(async (tx) => void (await tx.run(placeKey, key)), { durable: false, scope: [`data-key:${key.id}`] });
}

/** When something was done for the whole store; undefined where it was not. */
export async function markedAt(session: Session, name: string): Promise<number | undefined> {
  return (await session.first(findMark, { name }))?.at;
}

export async function setMark(tx: Session, name: string, now: number): Promise<void> {
  await tx.run(insertMark, { name, now });
}

/** Has the copy of every key beside the blobs written anew, as the blobs are in another place. */
export async function forgetCopies(tx: Session): Promise<void> {
  await tx.run(forgetAllCopies, {});
}
