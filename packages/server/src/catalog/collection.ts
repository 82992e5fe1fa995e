import { sql } from 'kysely';
import { queriesOf, type Session } from '../platform/index.ts';
import { settleDropped } from './blobs.ts';
import { holdsInForce } from './holds.ts';
import { isNeeded } from './needs.ts';
import type { CatalogTables } from './schema.ts';
import { GONE_MS } from './stored-blobs.ts';

const query = queriesOf<CatalogTables>('catalog');
type Link = { readonly repositoryId: number; readonly digest: string };
type State = CatalogTables['stored_blob']['state'];

const dueLinks = query<{ before: number; limit: number }>()('dueLinks', (db, p) =>
  db
    .selectFrom('repository_blob')
    .innerJoin('repository', 'repository.id', 'repository_blob.repository_id')
    .select(['repository_blob.repository_id as repositoryId', 'repository.name as repository', 'repository_blob.digest'])
    .where('repository_blob.unneeded_since', '<=', p('before'))
    .orderBy('repository_blob.unneeded_since')
    .limit(p('limit')),
);
const dropDueLink = query<Link & { before: number }>()('dropDueLink', (db, p) =>
  db
    .deleteFrom('repository_blob')
    .where('repository_id', '=', p('repositoryId'))
    .where('digest', '=', p('digest'))
    .where('unneeded_since', '<=', p('before'))
    .where((eb) => eb.not(isNeeded(eb.ref('repository_blob.repository_id'), eb.ref('repository_blob.digest')))),
);
const keepNeededLink = query<Link>()('keepNeededLink', (db, p) =>
  db
    .updateTable('repository_blob')
    .set({ unneeded_since: null })
    .where('repository_id', '=', p('repositoryId'))
    .where('digest', '=', p('digest'))
    .where((eb) => isNeeded(eb.ref('repository_blob.repository_id'), eb.ref('repository_blob.digest'))),
);
const dueStored = query<{ state: State; now: number; limit: number }>()('dueStored', (db, p) =>
  db
    .selectFrom('stored_blob')
    .select(['digest', 'size'])
    .where('state', '=', p('state'))
    .where('review_at', '<=', p('now'))
    .orderBy('review_at')
    .limit(p('limit')),
);
const markDeleting = query<{ digest: string; now: number; until: number }>()('markDeleting', (db, p) =>
  db
    .updateTable('stored_blob')
    .set((eb) => ({ state: 'deleting', review_at: p('until'), generation: eb('generation', '+', 1) }))
    .where('digest', '=', p('digest'))
    .where('state', '=', 'live')
    .where('review_at', '<=', p('now'))
    .where(({ not, exists, selectFrom }) =>
      not(exists(selectFrom('repository_blob').select('repository_blob.digest').where('repository_blob.digest', '=', p('digest')))),
    ),
);
const keepLinked = query<{ digest: string }>()('keepLinked', (db, p) =>
  db
    .updateTable('stored_blob')
    .set({ review_at: null })
    .where('digest', '=', p('digest'))
    .where('state', '=', 'live')
    .where(({ exists, selectFrom }) =>
      exists(selectFrom('repository_blob').select('repository_blob.digest').where('repository_blob.digest', '=', p('digest'))),
    ),
);
const leaveDeletion = query<{ digest: string; state: State; until: number; reviewAt: number }>()('leaveDeletion', (db, p) =>
  db
    .updateTable('stored_blob')
    .set({ state: p('state'), review_at: p('reviewAt') })
    .where('digest', '=', p('digest'))
    .where('state', '=', 'deleting')
    .where('review_at', '=', p('until')),
);
const takeUpDeletions = query<{ now: number; reviewAt: number; limit: number }>()('takeUpDeletions', (db, p) =>
  db
    .updateTable('stored_blob')
    .set({ state: 'live', review_at: p('reviewAt') })
    .where('state', '=', 'deleting')
    .where('review_at', '<=', p('now'))
    .where('digest', 'in', (eb) =>
      eb
        .selectFrom('stored_blob as old')
        .select('old.digest')
        .where('old.state', '=', 'deleting')
        .where('old.review_at', '<=', p('now'))
        .limit(p('limit')),
    ),
);
const freeRows = query<{ now: number }>()('freeDeletions', (db, p) =>
  db
    .updateTable('stored_blob')
    .set({ review_at: p('now') })
    .where('state', '=', 'deleting')
    .where('review_at', '>', p('now')),
);
const forgetGone = query<{ now: number; limit: number }>()('forgetGone', (db, p) =>
  db
    .deleteFrom('stored_blob')
    .where('state', '=', 'gone')
    .where('review_at', '<=', p('now'))
    .where('digest', 'in', (eb) =>
      eb
        .selectFrom('stored_blob as old')
        .select('old.digest')
        .where('old.state', '=', 'gone')
        .where('old.review_at', '<=', p('now'))
        .limit(p('limit')),
    ),
);
const forgetDamage = query<{ digest: string }>()('forgetDamage', (db, p) =>
  db.deleteFrom('damaged_blob').where('digest', '=', p('digest')),
);
const firstUnneeded = query()('firstUnneeded', (db) =>
  db
    .selectFrom('repository_blob')
    .select('unneeded_since as at')
    .where('unneeded_since', 'is not', null)
    .orderBy('unneeded_since')
    .limit(1),
);
const firstReview = query<{ state: State }>()('firstReview', (db, p) =>
  db
    .selectFrom('stored_blob')
    .select('review_at as at')
    .where('state', '=', p('state'))
    .where('review_at', 'is not', null)
    .orderBy('review_at')
    .limit(1),
);
const countDueLinks = query<{ before: number; most: number }>()('countDueLinks', (db, p) =>
  db
    .selectFrom((eb) =>
      eb.selectFrom('repository_blob').select('size').where('unneeded_since', '<=', p('before')).limit(p('most')).as('due'),
    )
    .select((eb) => eb.fn.countAll<number>().as('count')),
);
const countDueStored = query<{ state: State; now: number; most: number }>()('countDueStored', (db, p) =>
  db
    .selectFrom((eb) =>
      eb
        .selectFrom('stored_blob')
        .select('size')
        .where('state', '=', p('state'))
        .where('review_at', '<=', p('now'))
        .limit(p('most'))
        .as('due'),
    )
    .select((eb) => [eb.fn.countAll<number>().as('count'), sql<number>`coalesce(sum(size), 0)`.as('bytes')]),
);

/** A link that may go, and the repository it is in. */
export type DueLink = Link & { readonly repository: string };

/** Links that nothing has needed since `before` or earlier, the oldest first. */
export async function dueLinksOf(session: Session, before: number, limit: number): Promise<DueLink[]> {
  return await session.all(dueLinks, { before, limit });
}

/** Takes links away that are still due and that nothing needs; gives how many. With the last one of a blob its bytes are due. */
export async function collectLinks(tx: Session, links: readonly Link[], before: number, now: number): Promise<number> {
  const dropped = new Map<number, string[]>();
  for (const { repositoryId, digest } of links) {
    if ((await tx.run(dropDueLink, { repositoryId, digest, before })) === 1) {
      const digests = dropped.get(repositoryId);
      if (digests) digests.push(digest);
      else dropped.set(repositoryId, [digest]);
    } else {
      await tx.run(keepNeededLink, { repositoryId, digest });
    }
  }
  let count = 0;
  for (const [repositoryId, digests] of dropped) {
    await settleDropped(tx, repositoryId, digests, now);
    count += digests.length;
  }
  return count;
}

/** Blobs without links that are due. */
export async function dueBlobs(session: Session, now: number, limit: number): Promise<{ digest: string; size: number }[]> {
  return await session.all(dueStored, { state: 'live', now, limit });
}

/**
 * Begins the deletion of blobs that are still due and have no link: until `until` whoever asked has them to itself, and no
 * push counts on their bytes. Gives those whose objects may be removed once the transaction is on disk; none while a hold is
 * in force.
 */
export async function beginDeletions<B extends { readonly digest: string }>(
  tx: Session,
  blobs: readonly B[],
  now: number,
  until: number,
): Promise<B[]> {
  if ((await holdsInForce(tx, now)).length > 0) return [];
  const begun: B[] = [];
  for (const blob of blobs) {
    if ((await tx.run(markDeleting, { digest: blob.digest, now, until })) === 1) begun.push(blob);
    else await tx.run(keepLinked, { digest: blob.digest });
  }
  return begun;
}

/** Notes that objects were removed; gives those that came too late: somebody else may have taken them up meanwhile. */
export async function endDeletions(tx: Session, digests: readonly string[], until: number, now: number): Promise<string[]> {
  const late: string[] = [];
  for (const digest of digests) {
    if ((await tx.run(leaveDeletion, { digest, state: 'gone', until, reviewAt: now + GONE_MS })) === 0) late.push(digest);
    else await tx.run(forgetDamage, { digest });
  }
  return late;
}

/** Gives deletions back of which nothing was done yet. */
export async function abandonDeletions(tx: Session, digests: readonly string[], until: number, now: number): Promise<void> {
  for (const digest of digests) await tx.run(leaveDeletion, { digest, state: 'live', until, reviewAt: now });
}

/** Makes deletions due again, at `reviewAt`, that were begun and not ended in their time; gives how many. */
export async function takeUpDeletionsLeft(tx: Session, now: number, reviewAt: number, limit: number): Promise<number> {
  return await tx.run(takeUpDeletions, { now, reviewAt, limit });
}

/** Makes all deletions due again that are under way: no process that began one may be left. */
export async function freeDeletions(tx: Session, now: number): Promise<void> {
  await tx.run(freeRows, { now });
}

/** Forgets blobs removed long ago; gives how many. */
export async function forgetGoneBlobs(tx: Session, now: number, limit: number): Promise<number> {
  return await tx.run(forgetGone, { now, limit });
}

async function firstOf(session: Session, state: State): Promise<number> {
  return (await session.first(firstReview, { state }))?.at ?? Number.POSITIVE_INFINITY;
}

/** When the oldest garbage is due; infinity where there is none. Cheap enough to be asked all the time. */
async function oldestDue(session: Session, graceMs: number): Promise<number> {
  const unneeded = (await session.first(firstUnneeded, {}))?.at ?? Number.POSITIVE_INFINITY;
  return Math.min(unneeded + graceMs, await firstOf(session, 'live'));
}

/** When collection has something to do at the earliest; infinity where nothing waits. */
export async function nextReview(session: Session, graceMs: number): Promise<number> {
  return Math.min(await oldestDue(session, graceMs), await firstOf(session, 'deleting'), await firstOf(session, 'gone'));
}

/** No more than so many are counted, as each must be looked at. */
export const COUNTED = 10_000;

export interface CollectionBacklog {
  /** Links that are due; 10,000 means as many or more, as for the others. */
  readonly links: number;
  /** Blobs that have no link any more, and their bytes. */
  readonly blobs: number;
  readonly bytes: number;
  /** Deletions that were begun and have not ended in their time, as after a crash or where the store fails. */
  readonly left: number;
  /** Since when the oldest of them is due. */
  readonly oldest: number | undefined;
}

/** What collection has still to do at a time. */
export async function collectionBacklog(session: Session, now: number, graceMs: number): Promise<CollectionBacklog> {
  const links = await session.first(countDueLinks, { before: now - graceMs, most: COUNTED });
  const live = await session.first(countDueStored, { state: 'live', now, most: COUNTED });
  const left = await session.first(countDueStored, { state: 'deleting', now, most: COUNTED });
  const oldest = await oldestDue(session, graceMs);
  return {
    links: links?.count ?? 0,
    blobs: live?.count ?? 0,
    bytes: live?.bytes ?? 0,
    left: left?.count ?? 0,
    oldest: oldest <= now ? oldest : undefined,
  };
}
