import { queriesOf, type Session } from '../../platform/index.ts';
import type { ContentTables } from '../schema.ts';
import type { Place, Tier, TierTotal } from './tiers.ts';

const query = queriesOf<ContentTables>('content');

/** A row of `blob_tier`, as far as moves decide by it. */
export interface TierRow extends Place {
  readonly sha256: string | null;
  /** When the leftover is to be taken away. */
  readonly leftoverAt: number | null;
}

/** What the owner of a row leaves it as. */
export type Settled = Pick<TierRow, 'tier' | 'since' | 'bytes' | 'sha256' | 'leftover' | 'leftoverAt' | 'restoreAt'>;

interface Claim {
  readonly digest: string;
  /** Names whoever claims. */
  readonly owner: string;
  readonly until: number;
  readonly task: string;
  readonly now: number;
}

const COLUMNS = [
  'digest',
  'tier',
  'since',
  'bytes',
  'sha256',
  'leftover',
  'leftover_at as leftoverAt',
  'task',
  'restore_at as restoreAt',
] as const;

const tierRow = query<{ digest: string }>()('tierRow', (db, p) =>
  db.selectFrom('blob_tier').select(COLUMNS).where('digest', '=', p('digest')),
);
const claimRow = query<Claim>()('claimTierRow', (db, p) =>
  db
    .updateTable('blob_tier')
    .set({ owner: p('owner'), owner_until: p('until'), task: p('task'), wanted: 0 })
    .where('digest', '=', p('digest'))
    .where((eb) => eb.or([eb('owner', 'is', null), eb('owner_until', '<=', p('now'))])),
);
const insertRow = query<Claim>()('insertTierRow', (db, p) =>
  db
    .insertInto('blob_tier')
    .values({
      ...{ digest: p('digest'), tier: 'hot', since: p('now'), bytes: 0, sha256: null, restore_at: null },
      // Should the owner vanish, what it left in the other tier is found there.
      ...{ leftover: 'cold', leftover_at: p('until'), owner: p('owner'), owner_until: p('until'), task: p('task'), wanted: 0 },
    })
    .onConflict((conflict) => conflict.column('digest').doNothing()),
);
const wantRow = query<{ digest: string }>()('wantTierRow', (db, p) =>
  db.updateTable('blob_tier').set({ wanted: 1 }).where('digest', '=', p('digest')).where('owner', 'is not', null),
);
const renewRow = query<{ digest: string; owner: string; until: number }>()('renewTierRow', (db, p) =>
  db
    .updateTable('blob_tier')
    .set({ owner_until: p('until') })
    .where('digest', '=', p('digest'))
    .where('owner', '=', p('owner'))
    .where('wanted', '=', 0),
);
const noteLeftover = query<{ digest: string; owner: string; leftover: 'hot' | 'cold'; at: number }>()('noteTierLeftover', (db, p) =>
  db
    .updateTable('blob_tier')
    .set({ leftover: p('leftover'), leftover_at: p('at') })
    .where('digest', '=', p('digest'))
    .where('owner', '=', p('owner')),
);
const settleRow = query<Settled & { digest: string; owner: string }>()('settleTierRow', (db, p) =>
  db
    .updateTable('blob_tier')
    .set({
      ...{ tier: p('tier'), since: p('since'), bytes: p('bytes'), sha256: p('sha256'), leftover: p('leftover') },
      ...{ leftover_at: p('leftoverAt'), restore_at: p('restoreAt'), owner: null, owner_until: null, task: null, wanted: 0 },
    })
    .where('digest', '=', p('digest'))
    .where('owner', '=', p('owner')),
);
const forgetRow = query<{ digest: string; owner: string }>()('forgetTierRow', (db, p) =>
  db.deleteFrom('blob_tier').where('digest', '=', p('digest')).where('owner', '=', p('owner')),
);
const placeRow = query<{ digest: string; tier: Tier; bytes: number; leftover: 'cold' | null; at: number | null; now: number }>()(
  'placeTierRow',
  (db, p) =>
    db
      .insertInto('blob_tier')
      .values({
        ...{ digest: p('digest'), tier: p('tier'), since: p('now'), bytes: p('bytes'), sha256: null, restore_at: null },
        ...{ leftover: p('leftover'), leftover_at: p('at'), owner: null, owner_until: null, task: null, wanted: 0 },
      })
      .onConflict((conflict) => conflict.column('digest').doNothing()),
);
const doubleRow = query<{ digest: string; now: number }>()('doubleTierRow', (db, p) =>
  db
    .updateTable('blob_tier')
    .set({ leftover: 'hot', leftover_at: p('now') })
    .where('digest', '=', p('digest'))
    .where('tier', '!=', 'hot')
    .where('leftover', 'is', null)
    .where('owner', 'is', null),
);
const dueRows = query<{ now: number; limit: number }>()('dueTierLeftovers', (db, p) =>
  db
    .selectFrom('blob_tier')
    .select('digest')
    .where('leftover_at', '<=', p('now'))
    .where((eb) => eb.or([eb('owner', 'is', null), eb('owner_until', '<=', p('now'))]))
    .orderBy('leftover_at')
    .limit(p('limit')),
);
const pageRows = query<{ tier: Tier; after: string; limit: number }>()('pageOfTier', (db, p) =>
  db
    .selectFrom('blob_tier')
    .select(COLUMNS)
    .where('tier', '=', p('tier'))
    .where('digest', '>', p('after'))
    .orderBy('digest')
    .limit(p('limit')),
);
const sumTier = query<{ tier: Tier }>()('sumOfTier', (db, p) =>
  db
    .selectFrom('blob_tier')
    .select(({ fn }) => [fn.countAll<number>().as('blobs'), fn.sum<number | null>('bytes').as('bytes')])
    .where('tier', '=', p('tier')),
);
const askRestore = query<{ digest: string; now: number; before: number }>()('askTierRestore', (db, p) =>
  db
    .updateTable('blob_tier')
    .set({ tier: 'archived', restore_at: p('now') })
    .where('digest', '=', p('digest'))
    .where('tier', '!=', 'hot')
    .where((eb) => eb.or([eb('restore_at', 'is', null), eb('restore_at', '<=', p('before'))])),
);
const endRestore = query<{ digest: string; tier: Tier }>()('endTierRestore', (db, p) =>
  db
    .updateTable('blob_tier')
    .set({ tier: p('tier'), restore_at: null })
    .where('digest', '=', p('digest'))
    .where('tier', '=', 'archived'),
);

export const scopeOf = (digest: string) => [`blob-tier:${digest}`];

export async function findRow(session: Session, digest: string): Promise<TierRow | undefined> {
  return await session.first(tierRow, { digest });
}

/**
 * Takes a row for its owner alone, or makes one where there is none and `insert` says so; undefined where somebody else has it
 * or there is none.
 */
export async function claim(tx: Session, wanted: Claim, insert: boolean): Promise<{ row: TierRow; isNew: boolean } | undefined> {
  const isOld = (await tx.run(claimRow, wanted)) === 1;
  if (!isOld && !(insert && (await tx.run(insertRow, wanted)) === 1)) return undefined;
  const row = await findRow(tx, wanted.digest);
  return row && { row, isNew: !isOld };
}

/** Asks the owner of a row to give up; false where it has none. */
export async function want(tx: Session, digest: string): Promise<boolean> {
  return (await tx.run(wantRow, { digest })) === 1;
}

/** Goes on owning a row; false where it was lost, or somebody else waits for it. */
export async function renew(tx: Session, held: { digest: string; owner: string; until: number }): Promise<boolean> {
  return (await tx.run(renewRow, held)) === 1;
}

/** Notes, while a row is owned, what would be left in the other tier if its owner vanished. */
export async function note(tx: Session, held: { digest: string; owner: string; leftover: 'hot' | 'cold'; at: number }): Promise<boolean> {
  return (await tx.run(noteLeftover, held)) === 1;
}

/** Leaves a row as it is to be from now on, and to others; without a row the blob is hot and nothing more. False where it was lost. */
export async function settle(tx: Session, held: { digest: string; owner: string }, to: Settled | undefined): Promise<boolean> {
  const { digest, owner } = held;
  return (to ? await tx.run(settleRow, { digest, owner, ...to }) : await tx.run(forgetRow, { digest, owner })) === 1;
}

/** Gives a blob that was found in the cold tier a row, unless it has one. */
export async function placeFound(
  tx: Session,
  found: { digest: string; tier: 'hot' | 'cold'; bytes: number; leftover: 'cold' | null; now: number },
): Promise<boolean> {
  return (await tx.run(placeRow, { ...found, at: found.leftover === null ? null : found.now })) === 1;
}

/** Notes that a cold blob was found in the hot tier besides. */
export async function noteDouble(tx: Session, digest: string, now: number): Promise<void> {
  await tx.run(doubleRow, { digest, now });
}

/** Blobs whose leftovers are to be taken away, the longest due first, but for those that somebody works at. */
export async function leftoversDue(session: Session, now: number, limit: number): Promise<string[]> {
  return (await session.all(dueRows, { now, limit })).map(({ digest }) => digest);
}

export async function pageOf(session: Session, tier: Tier, after: string, limit: number): Promise<TierRow[]> {
  return await session.all(pageRows, { tier, after, limit });
}

export async function placesOf(session: Session, digests: readonly string[]): Promise<Map<string, Place>> {
  const rows = await Promise.all(digests.map((digest) => findRow(session, digest)));
  return new Map(rows.flatMap((row) => (row ? [[row.digest, row]] : [])));
}

export async function totals(session: Session): Promise<TierTotal[]> {
  const found: TierTotal[] = [];
  for (const tier of ['cold', 'archived'] as const) {
    const sum = await session.first(sumTier, { tier });
    found.push({ tier, blobs: sum?.blobs ?? 0, bytes: sum?.bytes ?? 0 });
  }
  return found;
}

/** Notes that an archived blob is asked for; false where it was since `before`, or is hot. */
export async function beginRestore(tx: Session, digest: string, now: number, before: number): Promise<boolean> {
  return (await tx.run(askRestore, { digest, now, before })) === 1;
}

/** Notes that a blob can be read again, or that asking for it failed (`tier: archived`). */
export async function endOfRestore(tx: Session, digest: string, tier: 'cold' | 'archived'): Promise<void> {
  await tx.run(endRestore, { digest, tier });
}
