import type { Log } from '../../platform/index.ts';
import type { BlobReader, BlobStore } from '../blob-store.ts';
import { LeaseLost } from './lease.ts';
import type { Moves } from './move.ts';
import type { TierPolicy } from './tiers.ts';

/** Fetches of one process at once, and bytes of them. */
export interface FetchLimits {
  readonly fetches: number;
  readonly bytes: number;
  /** A reader waits for bytes that are so near to what has arrived, and no longer than this. */
  readonly nearBytes: number;
  readonly patienceMs: number;
}

export const FETCH_LIMITS: FetchLimits = { fetches: 8, bytes: 64 * 2 ** 30, nearBytes: 16 << 20, patienceMs: 10_000 };

interface Parts {
  readonly hot: BlobStore;
  readonly moves: Pick<Moves, 'promote' | 'fits'>;
  readonly log: Log;
  readonly limits: FetchLimits;
  policy(): TierPolicy | undefined;
}

/** A cold blob on its way into the hot tier, once for all who read it meanwhile. */
interface Fetch {
  readonly bytes: number;
  /** Where its bytes go; undefined before they do, and where they cannot be read before all of them are there. */
  upload: string | undefined;
  arrived: number;
  state: 'running' | 'there' | 'failed';
  /** Who waits for more. */
  readonly waiting: Set<() => void>;
  readonly ended: Promise<void>;
}

export interface Fetches {
  /**
   * A reader of a cold blob that somebody pulls. If the policy and the room allow it, the blob is fetched into the hot tier,
   * and all who read it meanwhile read what has arrived; what has not, and what is fetched by nobody, comes from the cold tier.
   */
  read(digest: string, cold: BlobReader): Promise<BlobReader>;
  /** Those under way. */
  readonly running: number;
  /** Ends all of them. */
  close(): Promise<void>;
}

/** Fetches blobs from the cold tier while they are read. A reader that goes away ends none, nor does one that fails. */
export function createFetches({ hot, moves, log, limits, policy }: Parts): Fetches {
  const running = new Map<string, Fetch>();
  const stopping = new AbortController();
  let bytes = 0;

  async function start(digest: string, size: number): Promise<Fetch | undefined> {
    const isTooMuch = () => running.size >= limits.fetches || (bytes + size > limits.bytes && running.size > 0);
    if (stopping.signal.aborted || isTooMuch() || policy()?.admits(digest, size) === false) return undefined;
    if (!(await moves.fits(bytes + size).catch(() => false))) return undefined;
    const other = running.get(digest); // begun meanwhile
    if (other || isTooMuch()) return other;
    let end: () => void = () => undefined;
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    const fetch: Fetch = { bytes: size, upload: undefined, arrived: 0, state: 'running', waiting: new Set(), ended };
    running.set(digest, fetch);
    bytes += size;
    void run(digest, fetch).finally(() => {
      running.delete(digest);
      bytes -= size;
      wake(fetch);
      end();
    });
    return fetch;
  }

  async function run(digest: string, fetch: Fetch): Promise<void> {
    const { signal } = stopping;
    try {
      const outcome = await moves.promote(digest, {
        signal,
        onBegun: (upload) => {
          if (hot.readsOpenUploads === true) fetch.upload = upload;
        },
        onArrived: (count) => {
          fetch.arrived = count;
          wake(fetch);
        },
      });
      fetch.state = outcome === 'moved' || outcome === 'there' ? 'there' : 'failed';
    } catch (error) {
      fetch.state = 'failed';
      if (!signal.aborted && !(error instanceof LeaseLost)) log.warn({ err: error, digest }, 'a cold blob could not be fetched');
    }
  }

  return {
    async read(digest, cold) {
      const fetch = running.get(digest) ?? (await start(digest, cold.size));
      return fetch ? createFetchReader(hot, digest, fetch, cold, limits) : cold;
    },
    get running() {
      return running.size;
    },
    async close() {
      stopping.abort(new LeaseLost('the server ends'));
      await Promise.all(Array.from(running.values(), ({ ended }) => ended));
    },
  };
}

function wake({ waiting }: Fetch): void {
  for (const each of waiting) each();
}

/** Resolves when something arrived, or the fetch ended, or time is up. */
async function nextArrival({ waiting }: Fetch, patienceMs: number): Promise<boolean> {
  return await new Promise<boolean>((resolve) => {
    const settle = (isNews: boolean) => {
      clearTimeout(timer);
      waiting.delete(news);
      resolve(isNews);
    };
    const news = () => settle(true);
    const timer = setTimeout(() => settle(false), patienceMs);
    timer.unref();
    waiting.add(news);
  });
}

/** Reads a blob from what has arrived of it, and from the cold tier where that is too far away, or where the fetch stands still or failed. */
function createFetchReader(hot: BlobStore, digest: string, fetch: Fetch, cold: BlobReader, limits: FetchLimits): BlobReader {
  let arrived: BlobReader | undefined;
  let announced = { start: 0, end: -1 };
  let isColdTold = false;
  /** Once the fetch has let this reader down, it reads from the cold tier. */
  let gaveUp = false;

  async function openArrived(): Promise<BlobReader | undefined> {
    const { state, upload } = fetch;
    const isUpload = state === 'running' && upload !== undefined;
    // It may have become a blob this very moment.
    return (isUpload ? await hot.openUploadForReading(upload).catch(() => undefined) : undefined) ?? (await hot.open(digest));
  }

  /** Bytes that have arrived, 0 where that failed. */
  async function readArrived(buffer: Uint8Array, length: number, position: number): Promise<number> {
    try {
      // The file stays the same when its upload becomes a blob, for whoever has it open.
      arrived ??= await openArrived();
      return (await arrived?.read(buffer, length, position)) ?? 0;
    } catch {
      return 0; // it is in the cold tier as well
    }
  }

  async function readCold(buffer: Uint8Array, length: number, position: number): Promise<number> {
    if (!isColdTold && position >= announced.start && position <= announced.end) {
      cold.announce?.(position, announced.end);
      isColdTold = true;
    }
    return await cold.read(buffer, length, position);
  }

  return {
    size: cold.size,
    announce(start, end) {
      announced = { start, end };
      isColdTold = false;
    },
    async read(buffer, length, position) {
      const wanted = Math.min(length, fetch.bytes - position);
      if (wanted <= 0) return 0;
      while (!gaveUp) {
        const isReadable = fetch.upload !== undefined || fetch.state === 'there';
        const has = fetch.state === 'there' ? fetch.bytes : fetch.arrived;
        if (isReadable && position < has) {
          const count = await readArrived(buffer, Math.min(wanted, has - position), position);
          if (count > 0) return count;
          gaveUp = true;
        } else if (fetch.state !== 'running' || position - has > limits.nearBytes || hot.readsOpenUploads !== true) {
          break;
        } else if (!(await nextArrival(fetch, limits.patienceMs))) {
          gaveUp = true;
        }
      }
      return await readCold(buffer, wanted, position);
    },
    async close() {
      await arrived?.close();
      await cold.close();
    },
  };
}
