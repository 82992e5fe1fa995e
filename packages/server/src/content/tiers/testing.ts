import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, type Database, type Log, openSqlite, systemClock } from '../../platform/index.ts';
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
const QUIET = { trace: ignore, debug: ignore, info: ignore, warn: ignore, error: ignore, fatal: ignore } as unknown as Log;

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
}

const none = new AbortController().signal;

/** Two tiers of files in a temporary folder with their database; what is left of a move goes at once, unless told otherwise. */
export async function tieredFiles(options: Options = {}): Promise<TestTiers> {
  const root = mkdtempSync(join(tmpdir(), 'entrepot-tiers-'));
  for (const tier of ['hot', 'cold']) mkdirSync(join(root, tier));
  return await open(root, [], options);
}

async function open(root: string, closing: (() => Promise<void>)[], options: Options): Promise<TestTiers> {
  const { clock = systemClock, around = {}, times = {}, limits = {}, isPlain = true, graceMs = 0, room } = options;
  const opened = openSqlite(join(root, 'test.db'), { checkpoint: false });
  await opened.migrate(contentMigrations);
  const database = options.database?.(opened) ?? opened;
  const hot = (around.hot ?? ((base) => base))(openFileStore(join(root, 'hot')));
  const cold = (around.cold ?? ((base) => base))(openFileStore(join(root, 'cold')));
  const { store, tiers } = createTieredStore({
    ...{ hot, cold, database, clock, log: QUIET, isPlain, graceMs },
    leases: createLeases(database, clock, { ...LEASE_TIMES, renewMs: 50, ...times }),
    threads: new HashThreads(1),
    pool: new SlabPool(4),
    limits: { ...FETCH_LIMITS, ...limits },
    requireCold: options.requireCold ?? (async () => undefined),
    room: async () => room?.(),
  });
  closing.push(async () => {
    await store.close?.();
    await opened.close();
  });
  return {
    ...{ root, database, hot, cold, store, tiers },
    another: (more = {}) => open(root, closing, { ...options, ...more }),
    row: (digest) => findRow(opened, digest),
    async copies(digest) {
      const found: ('hot' | 'cold')[] = [];
      for (const tier of ['hot', 'cold'] as const) {
        const reader = await openFileStore(join(root, tier)).open(digest);
        await reader?.close();
        if (reader) found.push(tier);
      }
      return found;
    },
    async run(kind) {
      const job = tiers.jobs.find((each) => each.kind === kind);
      const context = { signal: none, attempt: 1, hold: async () => undefined, progress: async () => undefined };
      return await job?.run(null, context);
    },
    age: (id, time) => utimes(join(root, 'hot', 'uploads', id), time / 1000, time / 1000),
    async remove() {
      for (const close of closing) await close();
      rmSync(root, { recursive: true, force: true });
    },
  };
}
