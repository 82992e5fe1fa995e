import { randomUUID } from 'node:crypto';
import { type Clock, type Database, type Log, toAppError } from '../../platform/index.ts';
import { ArchivedBlob } from '../archived.ts';
import type { BlobReader, BlobStore } from '../blob-store.ts';
import type { HashThreads } from '../hashing.ts';
import type { SlabPool } from '../slabs.ts';
import { copyTo, isSameCopy, type Sums, sumsOf } from './copy.ts';
import { type Lease, LeaseLost, type Leases } from './lease.ts';
import { findRow, type Settled } from './rows.ts';
import type { MoveOutcome, Room, Tier } from './tiers.ts';

/** What the ids of moved blobs begin with, among the uploads of a tier. */
export const UPLOAD_PREFIX = 'tier-';
/** What is left free of the hot tier's disk, where it is large enough: pushes need room more than copies. */
const LEAST_FREE = 2 ** 30;

export interface MoveParts {
  readonly hot: BlobStore;
  readonly cold: BlobStore;
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Log;
  readonly leases: Leases;
  readonly threads: HashThreads;
  readonly pool: SlabPool;
  /** Whether nothing is encrypted, so that bytes as they lie are those that the digest is of. */
  readonly isPlain: boolean;
  /** How long a copy that counts no more stays for who still reads it; milliseconds. */
  readonly graceMs: number;
  /** Throws where the cold tier is not the one of this registry: a disk that is not mounted, say. */
  requireCold(): Promise<void>;
  room(): Promise<Room | undefined>;
  /** Told of a blob whose bytes are not what they should be. */
  onDamaged(digest: string): void;
}

/** What a move is told of its way, and tells. */
interface Way {
  readonly signal: AbortSignal;
  /** Told where the bytes go, and how many of them are there. */
  onBegun?(upload: string, bytes: number): void;
  onArrived?(bytes: number): void;
}

/** Bytes that were not what they should be, in the tier they come from. */
class DamagedCopy extends Error {
  override name = 'DamagedCopy';
}

/** The other tier gave back other bytes than it was given, or the blob was replaced meanwhile: nothing happened, it may go better later. */
class NotMoved extends Error {
  override name = 'NotMoved';
}

/**
 * Moves of single blobs: copy, sync, read back and compare, switch the row in a transaction that is on disk before anything
 * else happens. The copy that counted before becomes a leftover, which sweep.ts takes away later. Whatever ends a move leaves
 * the row as it was and at most a copy too many, which is noted before it is made.
 */
export function createMoves(parts: MoveParts) {
  const { hot, cold, database, clock, log, leases, threads, pool, isPlain, graceMs } = parts;

  async function demote(digest: string, signal: AbortSignal): Promise<MoveOutcome> {
    const place = await findRow(database, digest);
    if (place && place.tier !== 'hot') return 'there';
    const reader = await hot.open(digest);
    if (!reader) return (await isIn(cold, digest)) ? 'there' : 'missing';
    await reader.close();
    await parts.requireCold(); // what went into the folder below a disk that is not mounted would be lost
    return await owned(digest, 'demote', signal, async (lease, both) => {
      if (lease.row.tier !== 'hot') return await unchanged(lease, 'there');
      const source = await hot.open(digest);
      if (!source) return await unchanged(lease, 'missing');
      try {
        await lease.noteLeftover('cold');
        await removeOld(cold, digest, lease);
        const sums = await copyInto(cold, source, digest, lease, { signal: both });
        await verify(cold, digest, sums, both);
        await requireUnchanged(source, digest);
        const to = { tier: 'cold', leftover: 'hot' } as const;
        return (await lease.settle(settled(to, sums))) ? 'moved' : 'busy';
      } finally {
        await source.close();
      }
    });
  }

  async function promote(digest: string, way: Way): Promise<MoveOutcome> {
    return await owned(digest, 'promote', way.signal, async (lease, both) => {
      const flipped = await takeHotCopy(lease, digest, both);
      if (flipped) return flipped;
      const source = await cold.open(digest);
      if (!source) {
        await parts.requireCold();
        return await unchanged(lease, 'missing');
      }
      try {
        if (source.archived) return await unchanged(lease, 'archived');
        if (!(await fits(source.size))) return await unchanged(lease, 'full');
        // Of a blob that was found without a row, nobody has said yet that it is cold.
        if (lease.row.tier !== 'hot') await lease.noteLeftover('hot');
        const sums = await copyInto(hot, source, digest, lease, { ...way, signal: both });
        const to = { tier: 'hot', leftover: 'cold' } as const;
        return (await lease.settle(settled(to, sums))) ? 'moved' : 'busy';
      } finally {
        await source.close();
      }
    });
  }

  /** Where the hot tier has a copy: makes it count where it may; undefined where it has none, or a bad one, which goes. */
  async function takeHotCopy(lease: Lease, digest: string, signal: AbortSignal): Promise<MoveOutcome | undefined> {
    const there = await hot.open(digest);
    if (!there) return undefined;
    const { row } = lease;
    try {
      if (row.tier === 'hot') return await unchanged(lease, 'there');
      const counts = await cold.open(digest);
      // Pushed again in the very moment in which it became cold: then its copies differ, and the newer one is the hot one.
      const isOlder = counts !== undefined && !counts.archived && (await isSameCopy(there, counts));
      await counts?.close();
      const sums = await sumsOf(there, { digest, threads, pool, signal });
      if (!isOlder || row.sha256 === null || row.sha256 === sums.sha256) {
        const isMine = await lease.settle(settled({ tier: 'hot', leftover: 'cold' }, sums));
        return isMine ? 'moved' : 'busy';
      }
      log.warn({ digest }, 'what was left of a blob in the hot tier is damaged; it is fetched anew');
    } finally {
      await there.close();
    }
    lease.requireFresh();
    await hot.remove(digest);
    return undefined;
  }

  /** Does something as the only one who changes the copies of a blob, and leaves the row as it was where that fails. */
  async function owned(
    digest: string,
    task: string,
    signal: AbortSignal,
    work: (lease: Lease, signal: AbortSignal) => Promise<MoveOutcome>,
  ): Promise<MoveOutcome> {
    signal.throwIfAborted();
    const lease = await leases.take(digest, task, { insert: true });
    if (!lease) return 'busy';
    try {
      return await work(lease, AbortSignal.any([signal, lease.signal]));
    } catch (error) {
      // Whether anything came to be in the other tier, nobody knows: it is looked for.
      const leftover = otherThan(lease.row.tier);
      await lease.settle({ ...lease.row, leftover, leftoverAt: clock.now() }).catch(() => undefined); // it lapses
      return outcomeOf(error, digest, signal);
    }
  }

  function outcomeOf(error: unknown, digest: string, signal: AbortSignal): MoveOutcome {
    signal.throwIfAborted();
    if (error instanceof LeaseLost) return 'busy';
    if (error instanceof ArchivedBlob) return 'archived';
    if (error instanceof NotMoved) {
      log.warn({ err: error, digest }, 'a blob could not be moved to another tier');
      return 'busy';
    }
    if (error instanceof DamagedCopy) {
      log.error({ err: error, digest }, 'a blob is damaged, so it is not moved to another tier');
      parts.onDamaged(digest);
      return 'damaged';
    }
    if (toAppError(error).code === 'storage_full') return 'full';
    throw error;
  }

  async function unchanged(lease: Lease, outcome: MoveOutcome): Promise<MoveOutcome> {
    await lease.release();
    return outcome;
  }

  /** What lies in a tier besides, from a move that was cut off, would else be taken for what was just copied. */
  async function removeOld(target: BlobStore, digest: string, lease: Lease): Promise<void> {
    if (!(await isIn(target, digest))) return;
    lease.requireFresh();
    await target.remove(digest);
  }

  /** Copies a blob into a tier. What comes is hashed; into the hot tier nothing is committed that was not read back before. */
  async function copyInto(target: BlobStore, source: BlobReader, digest: string, lease: Lease, way: Way): Promise<Sums> {
    const { signal } = way;
    const id = UPLOAD_PREFIX + randomUUID();
    const reading = { digest, threads, pool, signal };
    let isCommitted = false;
    try {
      const writer = await target.openUpload(id, { fence: false });
      way.onBegun?.(id, source.size);
      const sums = await copyTo(source, writer, reading, way.onArrived);
      const { sha256 } = lease.row;
      const isKnown = target === hot && sha256 !== null;
      if (isKnown ? sums.sha256 !== sha256 : isPlain && sums.digest !== digest)
        throw new DamagedCopy(`the bytes of ${digest} are not what they were`);
      if (target === hot && sums.bytes > 0) {
        const written = await hot.openUploadForReading(id);
        try {
          requireSame(await sumsOf(written, reading), sums);
        } finally {
          await written.close();
        }
      }
      lease.requireFresh();
      await target.commit(id, digest, sums.bytes, { replace: target === hot });
      isCommitted = true;
      return sums;
    } finally {
      if (!isCommitted) await target.removeUpload(id).catch(() => undefined); // found among the stale ones
    }
  }

  async function verify(target: BlobStore, digest: string, wanted: Sums, signal: AbortSignal): Promise<void> {
    const copy = await target.open(digest);
    if (!copy) throw new NotMoved(`${digest} is not where it was copied to`);
    try {
      const found = await sumsOf(copy, { digest, threads, pool, signal }).catch((error: unknown) => {
        if (!(error instanceof ArchivedBlob)) throw error;
        throw new NotMoved(`${digest} went into an archive at once, where it cannot be verified`);
      });
      requireSame(found, wanted);
    } finally {
      await copy.close();
    }
  }

  /** Throws where a blob was pushed again, and so sealed anew, while it was copied. */
  async function requireUnchanged(source: BlobReader, digest: string): Promise<void> {
    const now = await hot.open(digest);
    try {
      if (!now || !(await isSameCopy(source, now))) throw new NotMoved(`${digest} was replaced while it was moved`);
    } finally {
      await now?.close();
    }
  }

  function settled(to: Pick<Settled, 'tier' | 'leftover'>, { bytes, sha256 }: Sums): Settled {
    const now = clock.now();
    return { ...to, since: now, bytes, sha256, leftoverAt: now + graceMs, restoreAt: null };
  }

  /** Whether so many bytes go into the hot tier with some room left. */
  async function fits(bytes: number): Promise<boolean> {
    const room = await parts.room();
    return room === undefined || room.free - bytes >= Math.min(LEAST_FREE, room.total / 50);
  }

  return { demote, promote, fits };
}

export type Moves = ReturnType<typeof createMoves>;

function requireSame(found: Sums, wanted: Sums): void {
  if (found.bytes !== wanted.bytes || found.sha256 !== wanted.sha256)
    throw new NotMoved(`what was read back has the SHA-256 ${found.sha256}, not ${wanted.sha256}`);
}

/** The tier that may have a copy which does not count. */
export function otherThan(tier: Tier): 'hot' | 'cold' {
  return tier === 'hot' ? 'cold' : 'hot';
}

async function isIn(store: BlobStore, digest: string): Promise<boolean> {
  const reader = await store.open(digest);
  await reader?.close();
  return reader !== undefined;
}
