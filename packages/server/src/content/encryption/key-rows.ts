import { queriesOf, type Session } from '../../platform/index.ts';
import type { ContentTables } from '../schema.ts';
import { PROJECTS_ONLY } from './wrapping-rows.ts';

const query = queriesOf<ContentTables>('content');

interface NewKey {
  readonly id: string;
  readonly provider: string;
  readonly version: string;
  readonly wrapped: string;
  readonly digest: string | null;
  readonly size: number | null;
  readonly placed: 0 | 1;
  readonly lookAt: number | null;
  readonly now: number;
}

export interface KeyRow {
  readonly id: string;
  readonly provider: string;
  readonly version: string;
  readonly wrapped: string;
  readonly digest: string | null;
  readonly createdAt: number;
}

const COLUMNS = ['id', 'provider', 'version', 'wrapped', 'digest', 'created_at as createdAt'] as const;

const insertDataKey = query<NewKey>()('insertDataKey', (db, p) =>
  db
    .insertInto('data_key')
    .values({
      ...{ id: p('id'), provider: p('provider'), version: p('version'), wrapped: p('wrapped'), digest: p('digest'), size: p('size') },
      ...{ placed: p('placed'), look_at: p('lookAt'), copied: 0, created_at: p('now') },
    })
    .onConflict((conflict) => conflict.column('id').doNothing()),
);
const dataKey = query<{ id: string }>()('dataKey', (db, p) => db.selectFrom('data_key').select(COLUMNS).where('id', '=', p('id')));
const deleteDataKey = query<{ id: string }>()('deleteDataKey', (db, p) => db.deleteFrom('data_key').where('id', '=', p('id')));
const deleteWrappings = query<{ id: string }>()('deleteWrappingsOfKey', (db, p) =>
  db.deleteFrom('key_wrapping').where('key_id', '=', p('id')),
);
const deleteUnowned = query<{ id: string }>()('deleteUnownedDataKey', (db, p) =>
  db.deleteFrom('data_key').where('id', '=', p('id')).where('digest', 'is', null),
);
const ownKey = query<{ id: string; digest: string; size: number; lookAt: number }>()('ownDataKey', (db, p) =>
  db
    .updateTable('data_key')
    .set({ digest: p('digest'), size: p('size'), look_at: p('lookAt') })
    .where('id', '=', p('id')),
);
const sizeOfBlob = query<{ digest: string }>()('encryptedBlobSize', (db, p) =>
  db.selectFrom('data_key').select('size').where('digest', '=', p('digest')).limit(1),
);
const placedKey = query<{ digest: string }>()('placedDataKey', (db, p) =>
  db.selectFrom('data_key').select('id').where('digest', '=', p('digest')).where('placed', '=', 1).limit(1),
);
const anyKey = query()('anyDataKey', (db) =>
  db.selectFrom('data_key').select(['id', 'provider', 'version', 'wrapped']).orderBy('id').limit(1),
);
const anyOwnKey = query()('anyOwnDataKey', (db) =>
  db
    .selectFrom('data_key')
    .select(['id', 'provider', 'version', 'wrapped'])
    .where('provider', '<>', PROJECTS_ONLY)
    .orderBy('provider')
    .limit(1),
);

const lookAgain = query<{ digest: string; except: string; lookAt: number }>()('lookAgainForDataKeys', (db, p) =>
  db
    .updateTable('data_key')
    .set({ look_at: p('lookAt') })
    .where('digest', '=', p('digest'))
    .where('id', '<>', p('except')),
);

export async function insertKey(tx: Session, key: NewKey): Promise<void> {
  await tx.run(insertDataKey, key);
}

export async function findKey(session: Session, id: string): Promise<KeyRow | undefined> {
  return await session.first(dataKey, { id });
}

export async function deleteKey(tx: Session, id: string): Promise<void> {
  await tx.run(deleteDataKey, { id });
  await tx.run(deleteWrappings, { id });
}

/** Forgets the key of an upload unless a blob may have been made of it. */
export async function deleteUnownedKey(tx: Session, id: string): Promise<void> {
  await tx.run(deleteUnowned, { id });
}

/** Says whose key it is, before a blob is made of its upload. */
export async function setKeyOwner(tx: Session, key: { id: string; digest: string; size: number; lookAt: number }): Promise<void> {
  await tx.run(ownKey, key);
}

/** Bytes of content of a blob that was, or is about to be, encrypted; undefined for all others. */
export async function encryptedSize(session: Session, digest: string): Promise<number | undefined> {
  return (await session.first(sizeOfBlob, { digest }))?.size ?? undefined;
}

/** Whether a blob was seen encrypted in its place. */
export async function wasPlaced(session: Session, digest: string): Promise<boolean> {
  return (await session.first(placedKey, { digest })) !== undefined;
}

/** Some key, to see whether there is any. */
export async function someKey(session: Session): Promise<Pick<KeyRow, 'id' | 'provider' | 'version' | 'wrapped'> | undefined> {
  return (await session.first(anyOwnKey, {})) ?? (await session.first(anyKey, {}));
}

/** Has the keys of a blob looked after, as it was or may have been replaced or removed; all but that of its new bytes. */
export async function lookAgainForKeys(tx: Session, digest: string, except: string, lookAt: number): Promise<void> {
  await tx.run(lookAgain, { digest, except, lookAt });
}
