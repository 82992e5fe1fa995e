import { queriesOf, type Session } from '../../platform/index.ts';
import type { ContentTables } from '../schema.ts';

// By themselves: each start asks these, and one with a single tier needs nothing else of this folder.
const query = queriesOf<ContentTables>('content');

const someCold = query()('someColdBlob', (db) =>
  db.selectFrom('blob_tier').select('digest').where('tier', 'in', ['cold', 'archived']).limit(1),
);
const freeOwned = query()('freeTierRows', (db) => db.updateTable('blob_tier').set({ owner_until: 0 }).where('owner', 'is not', null));

const forgetAll = query()('forgetTierRows', (db) => db.deleteFrom('blob_tier'));

/** Forgets where blobs lie, in a database that was restored: where they are found is where they are, and `tiers.mend` notes it. */
export async function forgetPlaces(tx: Session): Promise<void> {
  await tx.run(forgetAll, {});
}

/** Looks at all that lies in the cold tier, and mends the rows of it. */
export const MEND_JOB = 'tiers.mend';

/** Whether any blob lies in a cold tier. */
export async function hasCold(session: Session): Promise<boolean> {
  return (await session.first(someCold, {})) !== undefined;
}

/** Frees the blobs that a move had to itself: no process that began one may be left. */
export async function freeMoves(tx: Session): Promise<void> {
  await tx.run(freeOwned, {});
}
