import { setTimeout as delay } from 'node:timers/promises';
import {
  abandonDeletions,
  beginDeletions,
  blobScope,
  collectLinks,
  dueBlobs,
  dueLinksOf,
  endDeletions,
  findStored,
  forgetGoneBlobs,
  quarantineBlob,
  repositoryScope,
  takeUpDeletionsLeft,
} from '../../catalog/index.ts';
import type { BlobStore } from '../../content/index.ts';
import type { Clock, Database, JobContext, Log, Session } from '../../platform/index.ts';

const LINKS = 100;
const BLOBS = 64;
const ROWS = 500;
const REMOVALS = 8;
/** How long the deletion of a batch of blobs belongs to the run that began it; no removal begins in the second half. */
const CLAIM_MS = 60_000;
const RETRY_MS = 10 * 60_000;
const LONGEST_PAUSE_MS = 500;

export interface CollectorParts {
  readonly database: Database;
  readonly blobs: Pick<BlobStore, 'open' | 'remove'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly graceMs: number;
  /** Told of what was collected, for the metrics. */
  readonly onCollected?: ((what: keyof Collected, count: number) => void) | undefined;
}

/** What a run did. */
export interface Collected {
  /** Blobs taken out of a repository. */
  links: number;
  /** Objects removed from the store, and their bytes. */
  blobs: number;
  bytes: number;
  /** Objects that could not be removed; they are tried again later. */
  failures: number;
}

interface CollectOptions {
  /** Also takes what has not been unneeded for as long as the grace time. */
  readonly skipGrace?: boolean;
}

/**
 * One run of online garbage collection (decision 0013): takes due links away, then removes the objects of blobs that have no
 * link left. In batches with pauses, each transaction short and of its own scope; it never waits for a push, nor a push for
 * more than one batch. Throws, after all else, where objects could not be removed.
 */
export async function collect(
  parts: CollectorParts,
  context: Pick<JobContext, 'signal' | 'progress' | 'hold'>,
  { skipGrace = false }: CollectOptions = {},
): Promise<Collected> {
  const { database, clock, graceMs, onCollected } = parts;
  const { signal, progress } = context;
  const collected: Collected = { links: 0, blobs: 0, bytes: 0, failures: 0 };
  const count = (what: keyof Collected, by: number) => {
    collected[what] += by;
    if (by > 0) onCollected?.(what, by);
  };
  const soft = { durable: false } as const;
  let firstFailure: unknown;

  /** Takes away the next links that are due; false where there are none. */
  async function collectSomeLinks(): Promise<boolean> {
    const before = skipGrace ? clock.now() : clock.now() - graceMs;
    const links = await dueLinksOf(database, before, LINKS);
    if (links.length === 0) return false;
    const scope = links.flatMap(({ repository, digest }) => [repositoryScope(repository), blobScope(digest)]);
    // Not waited for on disk: what begins a deletion is, and so all that came before it.
    count('links', await database.write((tx) => collectLinks(tx, links, before, clock.now()), { ...soft, scope: [...new Set(scope)] }));
    return links.length === LINKS;
  }

  /** Removes the next objects that are due; false where there are none, or none may be removed. */
  async function collectSomeBlobs(): Promise<boolean> {
    const due = await dueBlobs(database, clock.now(), BLOBS);
    if (due.length === 0) return false;
    const scope = due.map(({ digest }) => blobScope(digest));
    const begun = performance.now();
    const now = clock.now();
    const until = now + CLAIM_MS;
    const mine = await database.write(
      async (tx) => {
        await context.hold(tx);
        return await beginDeletions(tx, due, now, until);
      },
      { scope },
    );
    const { removed, untouched, failed } = await removeObjects(
      parts,
      mine,
      () => signal.aborted || performance.now() - begun > CLAIM_MS / 2,
    );
    const late = await database.write(
      async (tx) => {
        await abandonDeletions(tx, untouched, until, clock.now());
        return await endDeletions(tx, removed, until, clock.now());
      },
      { ...soft, scope },
    );
    for (const digest of late) await checkLate(parts, digest);
    const sizes = new Map(mine.map(({ digest, size }) => [digest, size]));
    count('blobs', removed.length);
    count(
      'bytes',
      removed.reduce((sum, digest) => sum + (sizes.get(digest) ?? 0), 0),
    );
    count('failures', failed.length);
    if (failed[0] !== undefined && removed.length === 0) throw failure(failed[0], collected);
    firstFailure ??= failed[0];
    return due.length === BLOBS && mine.length > 0;
  }

  /** Repeats a step until it has nothing to do, resting as long as it worked. */
  async function repeat(step: () => Promise<boolean>): Promise<void> {
    for (let more = true; more; ) {
      signal.throwIfAborted();
      const begun = performance.now();
      more = await step();
      await progress({ ...collected });
      if (more) await delay(Math.min(performance.now() - begun, LONGEST_PAUSE_MS), undefined, { signal });
    }
  }

  const retryAt = () => clock.now() + Math.min(RETRY_MS, graceMs);
  const full = async (step: Promise<number>) => (await step) === ROWS;
  await repeat(() => full(database.write((tx) => takeUpDeletionsLeft(tx, clock.now(), retryAt(), ROWS), soft)));
  await repeat(collectSomeLinks);
  await repeat(collectSomeBlobs);
  await repeat(() => full(database.write((tx) => forgetGoneBlobs(tx, clock.now(), ROWS), soft)));
  if (firstFailure !== undefined) throw failure(firstFailure, collected);
  return collected;
}

/**
 * A removal that ended after its time may have hit a blob that was pushed again. Then it is told to be missing, so that clients
 * push it once more.
 */
async function checkLate({ database, blobs, clock, log }: CollectorParts, digest: string): Promise<void> {
  log.error({ digest }, 'the removal of a blob ended after its time');
  const reader = await blobs.open(digest);
  if (reader) return await reader.close();
  const now = clock.now();
  const damage = {
    digest,
    problem: 'missing',
    detail: 'removed by garbage collection after its time',
    by: 'collection',
    now,
    checkAt: now,
  } as const;
  const quarantine = async (tx: Session) => {
    if ((await findStored(tx, digest))?.state === 'live') await quarantineBlob(tx, damage);
  };
  await database.write(quarantine, { scope: [blobScope(digest)] });
}

function failure(cause: unknown, { failures }: Collected): Error {
  return new Error(`${failures} blobs could not be removed from the store: ${String(cause)}`, { cause });
}

interface Removal {
  readonly removed: string[];
  /** Whose removal did not begin. */
  readonly untouched: string[];
  readonly failed: unknown[];
}

/** Removes objects, some at a time, until told to stop; what has begun is waited for. */
async function removeObjects(
  { blobs, log }: CollectorParts,
  wanted: readonly { readonly digest: string }[],
  isOver: () => boolean,
): Promise<Removal> {
  const result: Removal = { removed: [], untouched: [], failed: [] };
  const queue = wanted.values();
  const work = async () => {
    for (const { digest } of queue) {
      if (isOver()) {
        result.untouched.push(digest);
        continue;
      }
      try {
        await blobs.remove(digest);
        result.removed.push(digest);
      } catch (error) {
        // Nobody knows what became of it: the row says `deleting` until its time is over.
        log.warn({ err: error, digest }, 'a blob could not be removed');
        result.failed.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: REMOVALS }, work));
  return result;
}
