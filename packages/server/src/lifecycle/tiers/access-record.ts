import { sql } from 'kysely';
import { queriesOf, type Session } from '../../platform/index.ts';
import type { HeatTables } from './schema.ts';

const query = queriesOf<HeatTables>('tiers');

/** For how many days is recorded what was read. */
export const RECORD_DAYS = 30;
/** Blobs of one day; where more are read, the record keeps half of them by their digests, and so on. */
export const RECORD_BLOBS = 50_000;

const DAY_MS = 24 * 3_600_000;
/** A digest's hex digits are spread evenly, so those whose first four are below a bound are a sample. */
const SPACE = 0x10000;
const MOST_HALVINGS = 12;

export function dayOf(time: number): number {
  return Math.floor(time / DAY_MS);
}

/** What the four digits of blobs of the sample are below. */
export function boundOf(halvings: number): string {
  return halvings === 0 ? 'g' : (SPACE >> halvings).toString(16).padStart(4, '0');
}

export function isSampled(digest: string, bound: string): boolean {
  return digest.slice(7, 11) < bound;
}

const dayRow = query<{ day: number }>()('accessDay', (db, p) => db.selectFrom('access_day').select('halvings').where('day', '=', p('day')));
const newestDay = query()('newestAccessDay', (db) => db.selectFrom('access_day').select('halvings').orderBy('day', 'desc').limit(1));
const saveDay = query<{ day: number; halvings: number }>()('saveAccessDay', (db, p) =>
  db
    .insertInto('access_day')
    .values({ day: p('day'), halvings: p('halvings') })
    .onConflict((conflict) => conflict.column('day').doUpdateSet((eb) => ({ halvings: eb.ref('excluded.halvings') }))),
);
const days = query<{ from: number }>()('accessDays', (db, p) =>
  db.selectFrom('access_day').select(['day', 'halvings']).where('day', '>=', p('from')).orderBy('day').limit(400),
);
const countOfDay = query<{ day: number; most: number }>()('countBlobAccess', (db, p) =>
  db
    .selectFrom((eb) => eb.selectFrom('blob_access').select('blob_id').where('day', '=', p('day')).limit(p('most')).as('of_day'))
    .select((eb) => eb.fn.countAll<number>().as('rows')),
);
const dropOutside = query<{ day: number; bound: string; limit: number }>()('dropBlobAccess', (db, p) =>
  db
    .deleteFrom('blob_access')
    .where('day', '=', p('day'))
    .where('blob_id', 'in', (eb) =>
      eb
        .selectFrom('blob_access as access')
        .innerJoin('blob_heat as heat', 'heat.id', 'access.blob_id')
        .select('access.blob_id')
        .where('access.day', '=', p('day'))
        .where(sql<boolean>`substr(${sql.ref('heat.digest')}, 8, 4) >= ${p('bound')}`)
        .limit(p('limit')),
    ),
);
const dropOld = query<{ before: number; limit: number }>()('dropOldAccess', (db, p) =>
  db
    .deleteFrom('blob_access')
    .where('day', '=', (eb) => eb.selectFrom('blob_access as first').select((f) => f.fn.min('first.day').as('day')))
    .where('blob_id', 'in', (eb) =>
      eb
        .selectFrom('blob_access as old')
        .select('old.blob_id')
        .where('old.day', '=', (inner) => inner.selectFrom('blob_access as first').select((f) => f.fn.min('first.day').as('day')))
        .where('old.day', '<', p('before'))
        .orderBy('old.blob_id')
        .limit(p('limit')),
    ),
);
const dropOldDays = query<{ before: number }>()('dropOldAccessDays', (db, p) => db.deleteFrom('access_day').where('day', '<', p('before')));

/** How often the record of a day was halved; begins the day where it is the first to ask. */
export async function halvingsOf(tx: Session, day: number): Promise<number> {
  const known = await tx.first(dayRow, { day });
  if (known) return known.halvings;
  const halvings = Math.max(0, ((await tx.first(newestDay, {}))?.halvings ?? 0) - 1);
  await tx.run(saveDay, { day, halvings });
  return halvings;
}

export interface RecordedDay {
  readonly day: number;
  readonly halvings: number;
}

/** Days of which there is a record, from one on. */
export async function recordedDays(session: Session, from: number): Promise<RecordedDay[]> {
  return await session.all(days, { from });
}

/** Halves the record of a day that has grown beyond its bound; gives the new bound of the sample, undefined where it has room. */
export async function halveIfFull(tx: Session, day: number, most = RECORD_BLOBS): Promise<string | undefined> {
  const rows = (await tx.first(countOfDay, { day, most: most + 1 }))?.rows ?? 0;
  if (rows <= most) return undefined;
  const halvings = Math.min((await halvingsOf(tx, day)) + 1, MOST_HALVINGS);
  await tx.run(saveDay, { day, halvings });
  return boundOf(halvings);
}

/** Drops some of what is outside the sample of a day; gives how many. */
export async function dropUnsampled(tx: Session, day: number, bound: string, limit: number): Promise<number> {
  return await tx.run(dropOutside, { day, bound, limit });
}

/** Drops some of the oldest day before a day; gives how many. */
export async function dropOldAccess(tx: Session, before: number, limit: number): Promise<number> {
  await tx.run(dropOldDays, { before });
  return await tx.run(dropOld, { before, limit });
}

const accessOf = query<{ day: number; after: number; limit: number }>()('blobAccessOf', (db, p) =>
  db
    .selectFrom('blob_access')
    .select(['blob_id as id', 'reads', 'bytes', 'pulls'])
    .where('day', '=', p('day'))
    .where('blob_id', '>', p('after'))
    .orderBy('blob_id')
    .limit(p('limit')),
);

export interface Access {
  /** Of the row of its heat. */
  readonly id: number;
  readonly reads: number;
  readonly bytes: number;
  readonly pulls: number;
}

/** What was read on a day, after one blob. */
export async function pageOfAccess(session: Session, day: number, after: number, limit: number): Promise<Access[]> {
  return await session.all(accessOf, { day, after, limit });
}
