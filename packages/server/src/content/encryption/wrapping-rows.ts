import { sql } from 'kysely';
import { queriesOf, type Session } from '../../platform/index.ts';
import type { ContentTables } from '../schema.ts';
import type { Wrapped } from './providers/provider.ts';

const query = queriesOf<ContentTables>('content');

/** Stands in a data key's row for a provider where only keys of projects wrap it. */
export const PROJECTS_ONLY = 'projects';
/** In the row of a data key: its blob was looked for and is gone, or has other bytes by now. */
const NOT_THERE = -1;

/** The key of a project by its name; null: the registry's own. */
export type KeyName = string | null;

/** A data key wrapped by a key. */
export interface Wrapping extends Wrapped {
  readonly id: string;
  readonly name: KeyName;
  readonly provider: string;
}

/** The same by the key of a name. */
export interface NamedWrapping extends Wrapped {
  readonly name: string;
  readonly provider: string;
}

const keysOf = query<{ digest: string }>()('dataKeysOfBlob', (db, p) =>
  db
    .selectFrom('data_key')
    .select(['id', 'provider', 'placed'])
    .where('digest', '=', p('digest'))
    .where('placed', '<>', NOT_THERE)
    .orderBy('id'),
);
const wrappingsOfKey = query<{ id: string }>()('wrappingsOfKey', (db, p) =>
  db.selectFrom('key_wrapping').select(['name', 'provider', 'version', 'wrapped']).where('key_id', '=', p('id')).orderBy('name'),
);
const closedKey = query<{ digest: string }>()('blobWithoutOwnWrapping', (db, p) =>
  db
    .selectFrom('data_key')
    .select('id')
    .where('digest', '=', p('digest'))
    .where('provider', '=', PROJECTS_ONLY)
    .where('placed', '<>', NOT_THERE),
);
const keyWithoutName = query<{ digest: string; name: string }>()('blobWithoutWrapping', (db, p) =>
  db
    .selectFrom('data_key')
    .select('data_key.id')
    .where('data_key.digest', '=', p('digest'))
    .where('data_key.placed', '<>', NOT_THERE)
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('key_wrapping')
            .select('key_wrapping.key_id')
            .whereRef('key_wrapping.key_id', '=', 'data_key.id')
            .where('key_wrapping.name', '=', p('name')),
        ),
      ),
    ),
);
const insertNamed = query<{ id: string; name: string; provider: string; version: string; wrapped: string }>()('insertWrapping', (db, p) =>
  db
    .insertInto('key_wrapping')
    .columns(['key_id', 'name', 'provider', 'version', 'wrapped'])
    // Of a key that was removed meanwhile nothing is kept.
    .expression((eb) =>
      eb
        .selectFrom('data_key')
        .select([
          'data_key.id',
          sql<string>`cast(${p('name')} as text)`.as('name'),
          sql<string>`cast(${p('provider')} as text)`.as('provider'),
          sql<string>`cast(${p('version')} as text)`.as('version'),
          sql<string>`cast(${p('wrapped')} as text)`.as('wrapped'),
        ])
        .where('data_key.id', '=', p('id')),
    )
    .onConflict((conflict) => conflict.columns(['key_id', 'name']).doNothing()),
);
const deleteNamed = query<{ id: string; name: string }>()('deleteWrapping', (db, p) =>
  db.deleteFrom('key_wrapping').where('key_id', '=', p('id')).where('name', '=', p('name')),
);
const setOwn = query<{ id: string; provider: string; version: string; wrapped: string }>()('setOwnWrapping', (db, p) =>
  db
    .updateTable('data_key')
    .set({ provider: p('provider'), version: p('version'), wrapped: p('wrapped'), copied: 0 })
    .where('id', '=', p('id')),
);
const changedCopy = query<{ id: string }>()('dataKeyCopyIsOld', (db, p) =>
  db.updateTable('data_key').set({ copied: 0 }).where('id', '=', p('id')),
);
const namedVersions = query()('wrappingsByVersion', (db) =>
  db
    .selectFrom('key_wrapping')
    .select(({ fn }) => ['name', 'provider', 'version', fn.countAll<number>().as('keys')])
    .groupBy(['name', 'provider', 'version'])
    .orderBy('name')
    .orderBy('provider')
    .orderBy('version'),
);
const anyOfName = query<{ name: string }>()('anyWrapping', (db, p) =>
  db.selectFrom('key_wrapping').select('key_id').where('name', '=', p('name')).limit(1),
);
const namedUnderOthers = query<{ name: string; provider: string; version: string; after: string; limit: number }>()(
  'wrappingsUnderOthers',
  (db, p) =>
    db
      .selectFrom('key_wrapping')
      .select(['key_id as id', 'provider', 'version', 'wrapped'])
      .where('name', '=', p('name'))
      .where('key_id', '>', p('after'))
      .where(({ or, eb }) => or([eb('provider', '<>', p('provider')), eb('version', '<>', p('version'))]))
      .orderBy('key_id')
      .limit(p('limit')),
);
const rewrapNamed = query<{ id: string; name: string; from: string; version: string; wrapped: string }>()('rewrapWrapping', (db, p) =>
  db
    .updateTable('key_wrapping')
    .set({ version: p('version'), wrapped: p('wrapped') })
    .where('key_id', '=', p('id'))
    .where('name', '=', p('name'))
    .where('wrapped', '=', p('from')),
);

/** All data keys that the bytes of a blob are, or may be, sealed under; `placed` as in its row. */
export async function keysOfBlob(session: Session, digest: string): Promise<{ id: string; provider: string; placed: number }[]> {
  return await session.all(keysOf, { digest });
}

export async function wrappingsOf(session: Session, id: string): Promise<NamedWrapping[]> {
  return await session.all(wrappingsOfKey, { id });
}

/** Data keys of a blob that the key of a name does not wrap; without a name, the registry's own. */
export async function keysWithoutWrapping(session: Session, digest: string, name: KeyName): Promise<string[]> {
  const found = name === null ? await session.all(closedKey, { digest }) : await session.all(keyWithoutName, { digest, name });
  return found.map(({ id }) => id);
}

/** Adds a wrapping of a data key that is known. */
export async function addWrapping(tx: Session, { id, name, provider, version, wrapped }: Wrapping): Promise<void> {
  if (name === null) {
    await tx.run(setOwn, { id, provider, version, wrapped });
    return;
  }
  await tx.run(insertNamed, { id, name, provider, version, wrapped });
  await tx.run(changedCopy, { id });
}

/** Takes a wrapping away; whoever asks has seen that another is there. */
export async function dropWrapping(tx: Session, id: string, name: KeyName): Promise<void> {
  if (name === null) {
    await tx.run(setOwn, { id, provider: PROJECTS_ONLY, version: '', wrapped: '' });
    return;
  }
  await tx.run(deleteNamed, { id, name });
  await tx.run(changedCopy, { id });
}

/** How many data keys the keys of projects wrap, by version. */
export async function countWrappings(session: Session): Promise<{ name: string; provider: string; version: string; keys: number }[]> {
  return await session.all(namedVersions, {});
}

export async function isWrappedBy(session: Session, name: string): Promise<boolean> {
  return (await session.first(anyOfName, { name })) !== undefined;
}

/** Wrappings by the key of a name that are not under a version of it, by id of the data key, after one of them. */
export async function wrappingsNotUnder(
  session: Session,
  name: string,
  version: { provider: string; version: string },
  after: string,
  limit: number,
): Promise<({ id: string; provider: string } & Wrapped)[]> {
  return await session.all(namedUnderOthers, { name, ...version, after, limit });
}

/** Replaces a wrapping unless somebody else did so meanwhile. */
export async function replaceWrapping(tx: Session, key: Wrapped & { id: string; name: string; from: string }): Promise<void> {
  const { id, name, from, version, wrapped } = key;
  if ((await tx.run(rewrapNamed, { id, name, from, version, wrapped })) === 1) await tx.run(changedCopy, { id });
}
