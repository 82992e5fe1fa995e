import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { roomData, type TestData } from '../../platform/database/testing.ts';
import { type Clock, type Database, type Log, systemClock } from '../../platform/index.ts';
import type { BlobStore } from '../blob-store.ts';
import { openFileStore } from '../file-store.ts';
import { HashThreads } from '../hashing.ts';
import { contentMigrations } from '../schema.ts';
import { SlabPool } from '../slabs.ts';
import { FETCH_LIMITS, type FetchLimits } from './fetch.ts';
import { createLeases, LEASE_TIMES, type LeaseTimes } from './lease.ts';
import { findRow, type TierRow } from './rows.ts';
import { createTieredStore } from './tiered-store.ts';
import type { Room, Tiers } from './tiers.ts';

const ignore = () => undefined;
/** A log that nobody reads. */
export const QUIET = { trace: ignore, debug: ignore, info: ignore, warn: ignore, error: ignore, fatal: ignore } as unknown as Log;

export interface TestTiers {
  readonly root: string;
  readonly database: Database;
  readonly hot: BlobStore;
  readonly cold: BlobStore;
  readonly store: BlobStore;
  readonly tiers: Tiers;
  /** Another store on the same data, as another process would open it. */
  another(options?: Options): Promise<TestTiers>;
  row(digest: string): Promise<TierRow | undefined>;
  /** Which tiers have a copy. */
  copies(digest: string): Promise<('hot' | 'cold')[]>;
  /** Runs a job once. */
  run(kind: string): Promise<unknown>;
  age(id: string, time: number): Promise<void>;
  remove(): Promise<void>;
}

interface Options {
  readonly clock?: Clock;
  readonly around?: { hot?: (base: BlobStore) => BlobStore; cold?: (base: BlobStore) => BlobStore };
  readonly database?: (base: Database) => Database;
  readonly times?: Partial<LeaseTimes>;
  readonly limits?: Partial<FetchLimits>;
  readonly isPlain?: boolean;
  readonly graceMs?: number;
  readonly room?: () => Room;
  readonly requireCold?: () => Promise<void>;
  readonly onDamaged?: (digest: string) => void;
  /** In place of folders. */
  readonly bases?: { hot?: () => BlobStore; cold?: () => BlobStore };
}

const none = new AbortController().signal;

/** Two tiers of files in a temporary folder with their database; what is left of a move goes at once, unless told otherwise. */
export async function tieredFiles(options: Options = {}): Promise<TestTiers> {
  const root = mkdtempSync(join(tmpdir(), 'entrepot-tiers-'));
  for (const tier of ['hot', 'cold']) mkdirSync(join(root, tier));
  return await open(root, roomData(contentMigrations), [], options);
}

async function open(root: string, data: TestData, closing: (() => Promise<void>)[], options: Options): Promise<TestTiers> {
  const { clock = systemClock, around = {}, times = {}, limits = {}, isPlain = true, graceMs = 0, room } = options;
  const opened = await data.open();
  const database = options.database?.(opened) ?? opened;
  const bare = {
    hot: options.bases?.hot?.() ?? openFileStore(join(root, 'hot')),
    cold: options.bases?.cold?.() ?? openFileStore(join(root, 'cold')),
  };
  const hot = (around.hot ?? ((base) => base))(bare.hot);
  const cold = (around.cold ?? ((base) => base))(bare.cold);
  const { store, tiers } = tiersOf({
    ...{ hot, cold, database, clock, isPlain, graceMs },
    times,
    limits,
    ...(options.requireCold ? { requireCold: options.requireCold } : {}),
    ...(options.onDamaged ? { onDamaged: options.onDamaged } : {}),
    room: async () => room?.(),
  });
  closing.push(async () => await store.close?.());
  return {
    ...{ root, database, hot, cold, store, tiers },
    another: (more = {}) => open(root, data, closing, { ...options, ...more }),
    row: (digest) => findRow(opened, digest),
    async copies(digest) {
      const found: ('hot' | 'cold')[] = [];
      for (const tier of ['hot', 'cold'] as const) {
        const reader = await bare[tier].open(digest);
        await reader?.close();
        if (reader) found.push(tier);
      }
      return found;
    },
    run: (kind) => runJob(tiers, kind),
    age: (id, time) => utimes(join(root, 'hot', 'uploads', id), time / 1000, time / 1000),
    async remove() {
      for (const close of closing) await close();
      await data.remove();
      rmSync(root, { recursive: true, force: true });
    },
  };
}

interface TiersOf {
  readonly hot: BlobStore;
  readonly cold: BlobStore;
  readonly database: Database;
  readonly clock?: Clock;
  readonly isPlain: boolean;
  readonly graceMs?: number;
  readonly times?: Partial<LeaseTimes>;
  readonly limits?: Partial<FetchLimits>;
  readonly requireCold?: () => Promise<void>;
  readonly room?: () => Promise<Room | undefined>;
  readonly onDamaged?: (digest: string) => void;
}

/** A store around two, with the times of tests. */
export function tiersOf({ clock = systemClock, graceMs = 0, times = {}, limits = {}, ...parts }: TiersOf): {
  store: BlobStore;
  tiers: Tiers;
} {
  return createTieredStore({
    ...{ clock, log: QUIET, graceMs },
    leases: createLeases(parts.database, clock, { ...LEASE_TIMES, renewMs: 50, ...times }),
    threads: new HashThreads(1),
    pool: new SlabPool(4),
    limits: { ...FETCH_LIMITS, ...limits },
    requireCold: async () => undefined,
    onDamaged: () => undefined,
    room: async () => undefined,
    ...parts,
  });
}

/** Runs a job of a store once. */
export async function runJob(tiers: Tiers, kind: string): Promise<unknown> {
  const job = tiers.jobs.find((each) => each.kind === kind);
  const context = { signal: none, attempt: 1, hold: async () => undefined, progress: async () => undefined };
  return await job?.run(null, context);
}

/** A store that moves whatever is stored to its cold tier at once, and leaves nothing in the hot one. */
export function cooling(store: BlobStore, tiers: Tiers): BlobStore {
  const cool = async (digest: string) => {
    await tiers.demote(digest, none);
    await runJob(tiers, 'tiers.sweep');
  };
  return {
    ...store,
    async put(digest, bytes) {
      await store.put(digest, bytes);
      await cool(digest);
    },
    async commit(id, digest, size, options) {
      await store.commit(id, digest, size, options);
      await cool(digest);
    },
  };
}
