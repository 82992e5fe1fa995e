import type { JobContext, JobDefinition } from '../../platform/index.ts';
import { ArchivedBlob } from '../archived.ts';
import type { BlobReader } from '../blob-store.ts';
import { isSameCopy, sumsOf } from './copy.ts';
import type { Lease } from './lease.ts';
import { type MoveParts, otherThan } from './move.ts';
import { leftoversDue, noteDouble, pageOf, placeFound, type Settled, scopeOf } from './rows.ts';
import { MEND_JOB } from './start-rows.ts';

const LOOK_MS = 5000;
const PAGE = 200;
/** When to look again at a leftover that could not be taken away. */
const RETRY_MS = 5 * 60_000;

/** How a look at a leftover ended. */
type Swept = 'removed' | 'none' | 'kept' | 'failed';

export function sweepJobs(parts: MoveParts): JobDefinition[] {
  const { hot, cold, database, clock, log, leases, threads, pool, graceMs } = parts;
  const storeOf = (tier: 'hot' | 'cold') => (tier === 'hot' ? hot : cold);

  /** Takes a copy away that counts no more, once it is certain that the other one is there. */
  async function sweep(digest: string, signal: AbortSignal): Promise<Swept> {
    const lease = await leases.take(digest, 'sweep', { insert: false });
    if (!lease) return 'kept';
    const { row } = lease;
    if (row.leftoverAt === null || row.leftoverAt > clock.now()) {
      await lease.release(); // moved on meanwhile
      return 'kept';
    }
    try {
      const { how, to } = await decide(lease, digest, AbortSignal.any([signal, lease.signal]));
      await lease.settle(to);
      return how;
    } catch (error) {
      await lease.settle({ ...row, leftoverAt: clock.now() + RETRY_MS }).catch(() => undefined); // it lapses
      if (signal.aborted || lease.signal.aborted) return 'kept';
      log.warn({ err: error, digest }, 'what is left of a moved blob cannot be taken away; it is tried again');
      return 'failed';
    }
  }

  async function decide(lease: Lease, digest: string, signal: AbortSignal): Promise<{ how: Swept; to: Settled | undefined }> {
    const { row } = lease;
    const counted = row.tier === 'hot' ? 'hot' : 'cold';
    const other = otherThan(row.tier);
    const alone = counted === 'hot' ? undefined : ({ ...row, leftover: null, leftoverAt: null } as const);
    if (row.leftover !== other) return { how: 'none', to: alone };
    const [kept, extra] = [await storeOf(counted).open(digest), await storeOf(other).open(digest)];
    try {
      if (!extra) return { how: 'none', to: alone };
      if (!kept) {
        if (counted === 'cold') await parts.requireCold();
        // A move that was cut off, or rows of another time than the tiers: what is there is what counts.
        const bare = { ...row, tier: other, since: clock.now(), bytes: extra.size, leftover: null, leftoverAt: null } as const;
        return { how: 'none', to: other === 'hot' ? undefined : bare };
      }
      if (counted === 'cold' && !(await isSame(extra, kept, digest, row.sha256, signal))) {
        // Pushed again while it was moved: the hot copy is the newer one.
        const newer = { tier: 'hot', since: clock.now(), bytes: 0, sha256: null, restoreAt: null } as const;
        return { how: 'kept', to: { ...newer, leftover: 'cold', leftoverAt: clock.now() + graceMs } };
      }
    } finally {
      await kept?.close();
      await extra?.close();
    }
    lease.requireFresh();
    await storeOf(other).remove(digest);
    return { how: 'removed', to: alone };
  }

  /** Whether the hot copy is the one that was moved; of an archived one only the sum is known. */
  async function isSame(
    there: BlobReader,
    counts: BlobReader,
    digest: string,
    sha256: string | null,
    signal: AbortSignal,
  ): Promise<boolean> {
    try {
      return await isSameCopy(there, counts);
    } catch (error) {
      if (!(error instanceof ArchivedBlob) || sha256 === null) throw error;
      return (await sumsOf(there, { digest, threads, pool, signal })).sha256 === sha256;
    }
  }

  async function sweepAll(signal: AbortSignal): Promise<Record<Swept, number>> {
    const count = { removed: 0, none: 0, kept: 0, failed: 0 };
    for (let due = await leftoversDue(database, clock.now(), PAGE); due.length > 0; due = await leftoversDue(database, clock.now(), PAGE)) {
      let done = 0;
      for (const digest of due) {
        signal.throwIfAborted();
        const how = await sweep(digest, signal);
        count[how]++;
        if (how !== 'failed') done++;
      }
      if (done === 0) break; // the tier is away
    }
    return count;
  }

  /** Gives what lies in the cold tier without a row its row, and has those looked at that lie in both. */
  async function mend({ signal, progress }: Pick<JobContext, 'signal' | 'progress'>): Promise<unknown> {
    const count = { looked: 0, found: 0 };
    for await (const { digest, size } of cold.blobs()) {
      signal.throwIfAborted();
      count.looked++;
      const reader = await hot.open(digest);
      await reader?.close();
      const where = reader
        ? ({ tier: 'hot', bytes: 0, leftover: 'cold' } as const)
        : ({ tier: 'cold', bytes: size, leftover: null } as const);
      const place = { digest, now: clock.now(), ...where };
      const isNew = await database.write((tx) => placeFound(tx, place), { durable: false, scope: scopeOf(digest) });
      if (isNew) count.found++;
      if (!isNew && reader) await database.write((tx) => noteDouble(tx, digest, clock.now()), { durable: false, scope: scopeOf(digest) });
      await progress(count);
    }
    return count;
  }

  /** Of rows that say cold, those whose blob is in the hot tier only. */
  async function findMoved(signal: AbortSignal): Promise<void> {
    for (
      let after = '', page = await pageOf(database, 'cold', after, PAGE);
      page.length > 0;
      page = await pageOf(database, 'cold', after, PAGE)
    ) {
      for (const { digest, leftover } of page) {
        signal.throwIfAborted();
        if (leftover !== null) continue;
        const reader = await hot.open(digest);
        await reader?.close();
        if (reader) await database.write((tx) => noteDouble(tx, digest, clock.now()), { durable: false, scope: scopeOf(digest) });
      }
      after = page.at(-1)?.digest ?? after;
    }
  }

  return [
    {
      kind: 'tiers.sweep',
      schedule: { everyMs: LOOK_MS },
      ready: async () => (await leftoversDue(database, clock.now(), 1)).length > 0,
      run: (_, { signal }) => sweepAll(signal),
    },
    {
      kind: MEND_JOB,
      schedule: { cron: '41 3 * * 0' },
      async run(_, context) {
        await parts.requireCold();
        const count = await mend(context);
        await findMoved(context.signal);
        return count;
      },
    },
  ];
}
