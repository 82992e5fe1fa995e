import { queriesOf, type Session } from '../platform/index.ts';
import type { CatalogTables } from './schema.ts';

const query = queriesOf<CatalogTables>('catalog');

const insertHold = query<{ id: string; reason: string; now: number; until: number }>()('insertHold', (db, p) =>
  db.insertInto('collection_hold').values({ id: p('id'), reason: p('reason'), created_at: p('now'), held_until: p('until') }),
);
const extendHold = query<{ id: string; now: number; until: number }>()('extendHold', (db, p) =>
  db
    .updateTable('collection_hold')
    .set({ held_until: p('until') })
    .where('id', '=', p('id'))
    .where('held_until', '>', p('now')),
);
const deleteHold = query<{ id: string }>()('deleteHold', (db, p) => db.deleteFrom('collection_hold').where('id', '=', p('id')));
const deleteLapsed = query<{ now: number }>()('deleteLapsedHolds', (db, p) =>
  db.deleteFrom('collection_hold').where('held_until', '<=', p('now')),
);
const deleteHolds = query()('deleteHolds', (db) => db.deleteFrom('collection_hold'));
const selectHolds = query<{ now: number }>()('holds', (db, p) =>
  db
    .selectFrom('collection_hold')
    .select(['id', 'reason', 'created_at as createdAt', 'held_until as heldUntil'])
    .where('held_until', '>', p('now'))
    .orderBy('created_at')
    .limit(100),
);

export interface CollectionHold {
  readonly id: string;
  readonly reason: string;
  readonly createdAt: number;
  readonly heldUntil: number;
}

/**
 * Keeps every blob that is live in the store until a time, or until it is released: whoever copies what a snapshot of the
 * database names finds all of it. Those that lapsed are forgotten.
 */
export async function takeHold(tx: Session, hold: { id: string; reason: string; now: number; until: number }): Promise<void> {
  await tx.run(deleteLapsed, { now: hold.now });
  await tx.run(insertHold, hold);
}

/** Holds on; false where the hold has lapsed, so that blobs may be gone. */
export async function renewHold(tx: Session, id: string, now: number, until: number): Promise<boolean> {
  return (await tx.run(extendHold, { id, now, until })) === 1;
}

export async function releaseHold(tx: Session, id: string): Promise<boolean> {
  return (await tx.run(deleteHold, { id })) === 1;
}

/** Holds in force; whatever turns a live blob into garbage looks here in the same transaction. */
export async function holdsInForce(session: Session, now: number): Promise<CollectionHold[]> {
  return await session.all(selectHolds, { now });
}

export async function releaseAllHolds(tx: Session): Promise<void> {
  await tx.run(deleteHolds, {});
}
