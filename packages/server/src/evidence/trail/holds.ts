import { queriesOf, type Session } from '../../platform/index.ts';
import type { TrailTables } from './schema.ts';

const query = queriesOf<TrailTables>('evidence');

const COLUMNS = [
  'id',
  'name',
  'reason',
  'placed_at as placedAt',
  'placed_by as placedBy',
  'released_at as releasedAt',
  'released_by as releasedBy',
] as const;

const insertHold = query<{ name: string; reason: string; now: number; by: string }>()('placeHold', (db, p) =>
  db
    .insertInto('audit_hold')
    .values({ name: p('name'), reason: p('reason'), placed_at: p('now'), placed_by: p('by') })
    .returning('id'),
);
const byId = query<{ id: number }>()('hold', (db, p) => db.selectFrom('audit_hold').select(COLUMNS).where('id', '=', p('id')));
const byName = query<{ name: string }>()('holdInForce', (db, p) =>
  db.selectFrom('audit_hold').select('id').where('name', '=', p('name')).where('released_at', 'is', null),
);
const anyInForce = query()('anyHold', (db) => db.selectFrom('audit_hold').select('id').where('released_at', 'is', null).limit(1));
const holdsBefore = query<{ last: number; limit: number }>()('holds', (db, p) =>
  db.selectFrom('audit_hold').select(COLUMNS).where('id', '<', p('last')).orderBy('id', 'desc').limit(p('limit')),
);
const release = query<{ id: number; now: number; by: string }>()('releaseHold', (db, p) =>
  db
    .updateTable('audit_hold')
    .set({ released_at: p('now'), released_by: p('by') })
    .where('id', '=', p('id'))
    .where('released_at', 'is', null),
);

/** A legal hold: while any is in force, no audit record is given up. */
export interface Hold {
  readonly id: number;
  readonly name: string;
  readonly reason: string;
  readonly placedAt: number;
  readonly placedBy: string;
  /** null: it is in force. */
  readonly releasedAt: number | null;
  readonly releasedBy: string | null;
}

export async function placeHold(tx: Session, hold: { name: string; reason: string }, by: string, now: number): Promise<number> {
  const row = await tx.first(insertHold, { ...hold, by, now });
  if (!row) throw new Error('an inserted hold has no id');
  return row.id;
}

export async function findHold(session: Session, id: number): Promise<Hold | undefined> {
  return await session.first(byId, { id });
}

/** Whether a hold of that name is in force. */
export async function isHeldBy(session: Session, name: string): Promise<boolean> {
  return (await session.first(byName, { name })) !== undefined;
}

export async function isHeld(session: Session): Promise<boolean> {
  return (await session.first(anyInForce, {})) !== undefined;
}

/** Holds, the latest first, before one. */
export async function pageOfHolds(session: Session, last: number, limit: number): Promise<Hold[]> {
  return await session.all(holdsBefore, { last, limit });
}

/** Ends a hold; false where it has ended. */
export async function releaseHold(tx: Session, id: number, by: string, now: number): Promise<boolean> {
  return (await tx.run(release, { id, by, now })) === 1;
}
