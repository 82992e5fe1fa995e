import { ArchivedBlob } from '../archived.ts';
import type { BlobReader, BlobStore } from '../blob-store.ts';
import { createFetches, type FetchLimits } from './fetch.ts';
import { createMoves, type MoveParts, UPLOAD_PREFIX } from './move.ts';
import { restoreFrom } from './restore.ts';
import { findRow, pageOf, placesOf, type TierRow, totals } from './rows.ts';
import { sweepJobs } from './sweep.ts';
import type { TierPolicy, Tiers } from './tiers.ts';

/** How often a blob is looked for in both tiers that is on its way from one to the other. */
const LOOKS = 3;

interface Parts extends MoveParts {
  readonly limits: FetchLimits;
}

/**
 * A store around two (decision 0018). Uploads and new blobs are of the hot tier. A copy in the hot tier is always served, whatever
 * the row says: it is the same as the one that counts, or newer. Who changes copies has the row to itself meanwhile (lease.ts);
 * a push of what has no row looks again afterwards, as most pushes are of what never moved.
 */
export function createTieredStore(parts: Parts): { store: BlobStore; tiers: Tiers } {
  const { hot, cold, database, clock, log, leases, graceMs } = parts;
  const moves = createMoves(parts);
  let policy: TierPolicy | undefined;
  const fetches = createFetches({ hot, moves, log, limits: parts.limits, policy: () => policy });
  const restore = restoreFrom({ cold, database, clock });

  async function open(digest: string, options: { readonly pulled?: boolean } = {}): Promise<BlobReader | undefined> {
    const reader = await hot.open(digest);
    if (!reader) return await openElsewhere(digest, options.pulled === true);
    if (options.pulled === true) policy?.onRead(digest, 'hot');
    return reader;
  }

  async function openElsewhere(digest: string, isPulled: boolean): Promise<BlobReader | undefined> {
    let row: TierRow | undefined;
    for (let looks = 1; looks <= LOOKS; looks++) {
      row = await findRow(database, digest);
      // Rows may be older than the tiers, as after a database was restored: what has none, or a wrong one, is looked for as well.
      const reader = await cold.open(digest);
      if (reader) return isPulled ? await openPulled(digest, row, reader) : createSteadyReader(hot, digest, reader);
      const moved = await hot.open(digest);
      if (moved) return moved;
      if (!row || row.tier === 'hot') return undefined;
    }
    await parts.requireCold(); // it should be there: is the tier?
    return undefined;
  }

  async function openPulled(digest: string, row: TierRow | undefined, reader: BlobReader): Promise<BlobReader> {
    if (reader.archived) {
      await reader.close();
      policy?.onRead(digest, 'archived');
      await restore(digest);
      throw new ArchivedBlob();
    }
    if (row?.tier === 'archived') await restore(digest); // it can be read again, which is noted
    policy?.onRead(digest, 'cold');
    return await fetches.read(digest, createSteadyReader(hot, digest, reader));
  }

  /** Stores a blob in the hot tier, as the only one who changes its copies where it has some elsewhere. */
  async function storing(digest: string, store: () => Promise<void>): Promise<void> {
    if (await findRow(database, digest)) return await storeOwned(digest, store);
    await store();
    // Somebody began to move the bytes that it had before: the new ones count.
    if (await findRow(database, digest)) await storeOwned(digest, async () => undefined);
  }

  async function storeOwned(digest: string, store: () => Promise<void>): Promise<void> {
    const lease = await leases.wait(digest, 'store', { insert: false });
    if (!lease) return await store();
    try {
      // Should this process vanish in between, the hot copy is compared with the one that counts (sweep.ts).
      if (lease.row.tier !== 'hot') await lease.noteLeftover('hot');
      await store();
      const there = await hot.open(digest);
      await there?.close();
      const { row } = lease;
      if (!there) return await lease.release(); // taken away between, as what did not count: the cold copy does
      const now = clock.now();
      const isBare = row.tier === 'hot' && row.leftover === null;
      const hotNow = { tier: 'hot', since: now, bytes: 0, sha256: null, restoreAt: null } as const;
      await lease.settle(isBare ? undefined : { ...hotNow, leftover: 'cold', leftoverAt: now + graceMs });
    } catch (error) {
      const { row } = lease;
      const left = row.tier === 'hot' ? row : { ...row, leftover: 'hot' as const, leftoverAt: clock.now() };
      await lease.settle(left).catch(() => undefined); // it lapses
      throw error;
    }
  }

  async function remove(digest: string): Promise<void> {
    const lease = await leases.wait(digest, 'remove', { insert: true });
    if (!lease) return;
    try {
      lease.requireFresh();
      await cold.remove(digest);
      await hot.remove(digest);
      await lease.settle(undefined);
    } catch (error) {
      await lease.settle(lease.row).catch(() => undefined); // it lapses
      throw error;
    }
  }

  async function* blobs() {
    yield* hot.blobs();
    for await (const blob of cold.blobs()) {
      const row = await findRow(database, blob.digest);
      // Without a row of a blob that lies in one tier only, the other one is asked.
      if (row === undefined || row.tier === 'hot' || row.leftover !== null) {
        const reader = await hot.open(blob.digest);
        await reader?.close();
        if (reader) continue;
      }
      yield blob;
    }
  }

  const { addressOf } = hot;
  const store: BlobStore = {
    open,
    uploadSize: (id) => hot.uploadSize(id),
    openUpload: (id, options) => hot.openUpload(id, options),
    openUploadForReading: (id) => hot.openUploadForReading(id),
    commit: (id, digest, size, options) => storing(digest, () => hot.commit(id, digest, size, options)),
    put: (digest, bytes) => storing(digest, () => hot.put(digest, bytes)),
    async removeUpload(id) {
      await hot.removeUpload(id);
      if (id.startsWith(UPLOAD_PREFIX)) await cold.removeUpload(id);
    },
    async *staleUploads(before) {
      yield* hot.staleUploads(before);
      for await (const id of cold.staleUploads(before)) if (id.startsWith(UPLOAD_PREFIX)) yield id;
    },
    remove,
    blobs,
    ...(addressOf
      ? {
          async addressOf(digest: string) {
            const row = await findRow(database, digest);
            if (row && row.tier !== 'hot') return undefined;
            policy?.onRead(digest, 'hot');
            return await addressOf(digest);
          },
        }
      : {}),
    // A cold tier that is away takes nobody's pushes, nor pulls of what is hot.
    ping: () => hot.ping(),
    async close() {
      leases.close();
      await fetches.close();
      await parts.threads.close();
      await hot.close?.();
      await cold.close?.();
    },
  };

  const tiers: Tiers = {
    demote: moves.demote,
    async promote(digest, signal) {
      const outcome = await moves.promote(digest, { signal });
      if (outcome === 'archived') await restore(digest);
      return outcome;
    },
    restore,
    placesOf,
    pageOf,
    totals,
    room: parts.room,
    use(next) {
      policy = next;
    },
    jobs: sweepJobs({ ...parts, leases }),
  };
  return { store, tiers };
}

/** A reader of the cold tier that goes on in the hot one where its object is taken away under it, as buckets do. */
function createSteadyReader(hot: BlobStore, digest: string, cold: BlobReader): BlobReader {
  if (cold.descriptor !== undefined) return cold; // an open file stays
  let current = cold;
  return {
    size: cold.size,
    ...(cold.archived ? { archived: cold.archived } : {}),
    announce: (start, end) => current.announce?.(start, end),
    async read(buffer, length, position) {
      try {
        return await current.read(buffer, length, position);
      } catch (error) {
        if (current !== cold || error instanceof ArchivedBlob) throw error;
        const moved = await hot.open(digest);
        if (!moved) throw error;
        await cold.close();
        current = moved;
        if (moved.size !== cold.size) throw error; // sealed anew: no byte of it is where it was
        return await moved.read(buffer, length, position);
      }
    },
    close: () => current.close(),
  };
}
