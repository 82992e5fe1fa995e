import { statfs } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Clock, type Config, type Database, dataPaths, type Log } from '../../platform/index.ts';
import type { BlobStore, Companions } from '../blob-store.ts';
import { openFileCompanions } from '../file-companions.ts';
import { openFileStore } from '../file-store.ts';
import { HashThreads } from '../hashing.ts';
import { SlabPool } from '../slabs.ts';
import { requireMark } from './cold-mark.ts';
import { bothCompanions, keepCompanionsTwice } from './companions.ts';
import { FETCH_LIMITS } from './fetch.ts';
import { createLeases } from './lease.ts';
import { createPlainTiers } from './plain-tiers.ts';
import { createTieredStore } from './tiered-store.ts';
import type { Room, Tiers } from './tiers.ts';

/** How long a copy that counts no more stays for who still reads it. */
const GRACE_MS = 10 * 60_000;
const HASH_THREADS = 1;
/** Large buffers of moves: 8 MiB at most. */
const SLABS = 16;

/** A tier as it lies. */
interface Base {
  readonly base: BlobStore;
  readonly companions: Companions;
}

interface Parts {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Log;
  onDamaged?(digest: string): void;
}

/** The two tiers of an installation as one store, and the cold one alone. Throws where the cold one is not that of the registry. */
export async function openTiers(config: Config, hot: Base, parts: Parts): Promise<Base & { tiers: Tiers; cold: BlobStore }> {
  const { database, clock, log } = parts;
  const opened = await openCold(config, log);
  // Before the store is opened, which makes folders.
  const mark = await requireMark(database, opened.companions, opened.where, log);
  const cold = opened.open();
  const isPlain = config.encryption === 'off';
  if (!isPlain) await keepCompanionsTwice(database, mark.id, clock.now());
  const { store, tiers } = createTieredStore({
    ...{ hot: hot.base, cold, database, clock, log, isPlain },
    leases: createLeases(database, clock),
    threads: new HashThreads(HASH_THREADS),
    pool: new SlabPool(SLABS),
    graceMs: GRACE_MS,
    limits: FETCH_LIMITS,
    requireCold: () => mark.require(),
    onDamaged: (digest) => parts.onDamaged?.(digest),
    room: async () => (config.storage === 'files' ? await roomOf(dataPaths(config).blobs) : undefined),
  });
  return { base: store, companions: bothCompanions(hot.companions, opened.companions), tiers, cold };
}

/** Both tiers for whoever copies bytes as they lie and needs no rows: a backup, or a restore into an empty installation. */
export async function openPlainTiers(config: Config, hot: Base, log: Log): Promise<Base> {
  const opened = await openCold(config, log);
  const room = async () => (config.storage === 'files' ? await roomOf(dataPaths(config).blobs) : undefined);
  return { base: createPlainTiers(hot.base, opened.open(), room), companions: bothCompanions(hot.companions, opened.companions) };
}

/** The cold tier as it is configured; `open` makes its folders, where it has any. */
async function openCold(config: Config, log: Log): Promise<{ open(): BlobStore; companions: Companions; where: string }> {
  if (config.coldStorage === 's3') {
    const name = config.coldBucket === '' ? config.s3Bucket : config.coldBucket;
    const { openS3Storage } = await import('../s3/open-s3-storage.ts');
    const { base, companions } = await openS3Storage(config, log, { name, redirect: false });
    return { open: () => base, companions, where: `the bucket ${name}` };
  }
  const folder = resolve(config.coldDirectory);
  const root = join(folder, 'docker/registry/v2');
  return { open: () => openFileStore(root), companions: openFileCompanions(join(root, 'encryption')), where: folder };
}

async function roomOf(folder: string): Promise<Room> {
  const { bavail, blocks, bsize } = await statfs(folder);
  return { free: bavail * bsize, total: blocks * bsize };
}
