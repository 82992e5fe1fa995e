import { randomBytes } from 'node:crypto';
import { chmodSync, copyFileSync, createWriteStream, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { BlobStore, StoredBlob } from '../../content/index.ts';
import { ArchivedBlob, openFileStore } from '../../content/index.ts';
import { type AuditActor, audit, type Clock, type Database, lockData } from '../../platform/index.ts';
import { suspectBlob } from '../scrub/index.ts';
import { type Copied, copyBlob, forEachOf, unlessOutage } from './copy.ts';
import { syncPath, writeDurably } from './files.ts';
import {
  BLOB_LIST,
  blobsFolder,
  blobsOf,
  CHECKPOINT_FILE,
  DATABASE_FILE,
  KEY_FOLDER,
  type KeptKeys,
  listSnapshots,
  SEALED_KEYS,
  SNAPSHOT_FORMAT,
  type Snapshot,
  sha256Of,
  snapshotFile,
  snapshotPath,
  snapshotsFolder,
  snapshotText,
} from './format.ts';
import { whileHeld } from './hold.ts';
import { pruneSnapshots } from './prune.ts';
import { backUpSealed, keepKeys } from './sealed-blobs.ts';
import { type KeyFiles, sealKeys } from './sealed-keys.ts';
import { openSnapshotDatabase } from './snapshot-db.ts';

/** How many damaged blobs a snapshot names. */
const MISSING_NAMED = 10_000;

export interface BackupParts {
  readonly database: Database;
  readonly blobs: BlobStore;
  /** Where blobs are encrypted: the store below, with the bytes as they lie. */
  readonly bare?: BlobStore;
  readonly clock: Clock;
  readonly actor: AuditActor;
  /** Writes the database, as it is at one moment, into a file of SQLite. */
  copyDatabase(target: string): Promise<void>;
  /** The checkpoints of the audit trail that are kept outside the database. */
  readonly checkpoints: string;
  readonly keys:
    | { readonly kept: 'none' }
    | { readonly kept: 'plain'; files: KeyFiles }
    | { kept: 'sealed'; files: KeyFiles; passphrase: string; cost?: number };
  /** Signs a snapshot's description with a key of the installation. */
  sign(text: string): string | null;
  /** Blobs stay where they are, and it is only seen that they are there. */
  readonly leaveBlobs?: boolean;
  /** Snapshots to keep, this one included; undefined: all. */
  readonly keep: number | undefined;
  readonly signal: AbortSignal;
  progress(done: { blobs: number; copied: number; bytes: number }): void;
  readonly holdMs?: number;
}

export interface BackedUp {
  readonly snapshot: Snapshot;
  /** Blobs copied now, and bytes of them. The others were there already. */
  readonly copied: number;
  readonly copiedBytes: number;
  readonly pruned: readonly string[];
}

/**
 * Adds a snapshot to a backup, beside a running server too. In this order: collection is held, the database is copied, then
 * the blobs it names, of which none can go meanwhile. What a run that died has copied, the next need not copy again.
 */
export async function createBackup(folder: string, parts: BackupParts): Promise<BackedUp> {
  mkdirSync(blobsFolder(folder), { recursive: true, mode: 0o700 });
  const unlock = lockData(join(folder, 'backup.lock'));
  try {
    removeUnfinished(folder);
    const { database, clock, actor, holdMs } = parts;
    const done = await whileHeld({ database, clock, ...(holdMs === undefined ? {} : { holdMs }) }, 'backup', (lost) =>
      addSnapshot(folder, parts, AbortSignal.any([lost, parts.signal])),
    );
    const { snapshot } = done;
    const resource = { type: 'backup', name: snapshot.id };
    const after = { blobs: snapshot.blobs.count, missing: snapshot.blobs.missing.length, keys: snapshot.keys };
    await database.write(async (tx) => {
      await audit(tx, { actor, origin: null, action: 'backup.create', resource, outcome: 'success', after }, clock);
      for (const digest of snapshot.blobs.missing.slice(0, 100)) await suspectBlob(tx, digest, clock.now());
    });
    const pruned = parts.keep === undefined ? [] : await pruneSnapshots(folder, parts.keep);
    return { ...done, pruned };
  } finally {
    unlock();
  }
}

/** What a run that died left of its snapshot; its blobs are of use. */
function removeUnfinished(folder: string): void {
  const top = snapshotsFolder(folder);
  mkdirSync(top, { recursive: true, mode: 0o700 });
  const whole = new Set(listSnapshots(folder));
  for (const name of readdirSync(top)) if (!whole.has(name)) rmSync(join(top, name), { recursive: true, force: true });
}

async function addSnapshot(folder: string, parts: BackupParts, signal: AbortSignal): Promise<Omit<BackedUp, 'pruned'>> {
  const { clock, keys } = parts;
  const now = new Date(clock.now()).toISOString();
  const id = `${now.replace(/[-:]|\.[0-9]+/g, '')}-${randomBytes(3).toString('hex')}`;
  const into = snapshotPath(folder, id);
  mkdirSync(into, { recursive: true, mode: 0o700 });
  const file = (name: string) => join(into, name);
  // Before the database: a checkpoint of a record that is not in it would look like a trail that was cut off.
  if (existsSync(parts.checkpoints)) {
    copyFileSync(parts.checkpoints, file(CHECKPOINT_FILE));
    chmodSync(file(CHECKPOINT_FILE), 0o600);
  }
  signal.throwIfAborted();
  await parts.copyDatabase(file(DATABASE_FILE));
  chmodSync(file(DATABASE_FILE), 0o600);
  const database = openSnapshotDatabase(file(DATABASE_FILE));
  let migrations: string[];
  try {
    migrations = database.migrations();
    const lines = Readable.from(linesOf(database.blobs()));
    await pipeline(lines, createWriteStream(file(BLOB_LIST), { mode: 0o600 }));
    if (parts.bare) await keepKeys(folder, database.keys());
  } finally {
    database.close();
  }
  writeKeys(into, keys);
  const { counts, missing } = await (parts.leaveBlobs ? lookAtBlobs : copyBlobs)(folder, id, parts, signal);
  const files: Record<string, { bytes: number; sha256: string }> = {};
  for (const entry of readdirSync(into, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    syncPath(path);
    files[entry.parentPath === into ? entry.name : `${KEY_FOLDER}/${entry.name}`] = await sha256Of(path);
  }
  const snapshot: Snapshot = {
    ...{ format: SNAPSHOT_FORMAT, id, takenAt: now, finishedAt: new Date(clock.now()).toISOString() },
    ...{ migrations, keys: keys.kept satisfies KeptKeys, files },
    blobs: { count: counts.blobs, bytes: counts.bytes, missing, ...(parts.leaveBlobs ? { left: true } : {}) },
  };
  signal.throwIfAborted();
  for (const path of [join(into, KEY_FOLDER), into, snapshotsFolder(folder)]) if (existsSync(path)) syncPath(path);
  writeDurably(snapshotFile(folder, id), JSON.stringify({ snapshot, signature: parts.sign(snapshotText(snapshot)) }, undefined, 2));
  return { snapshot, copied: counts.copied, copiedBytes: counts.copiedBytes };
}

function* linesOf(blobs: Iterable<StoredBlob>): Generator<string> {
  for (const { digest, size } of blobs) yield `${digest} ${size}\n`;
}

function writeKeys(into: string, keys: BackupParts['keys']): void {
  if (keys.kept === 'sealed') writeDurably(join(into, SEALED_KEYS), sealKeys(keys.files, keys.passphrase, keys.cost));
  if (keys.kept !== 'plain') return;
  mkdirSync(join(into, KEY_FOLDER), { mode: 0o700 });
  for (const [name, bytes] of keys.files) writeDurably(join(into, KEY_FOLDER, name), bytes);
}

function archivedIsDamaged(error: unknown): Copied {
  if (error instanceof ArchivedBlob) return 'damaged';
  throw error;
}

async function copyBlobs(folder: string, id: string, { database, blobs, bare, progress }: BackupParts, signal: AbortSignal) {
  const target = openFileStore(blobsFolder(folder));
  const counts = { blobs: 0, bytes: 0, copied: 0, copiedBytes: 0 };
  const missing: string[] = [];
  await forEachOf(blobsOf(folder, id), async (blob) => {
    signal.throwIfAborted();
    const from = { database, blobs, target, folder };
    const sealed = bare && (await backUpSealed({ ...from, bare }, blob, signal).catch(archivedIsDamaged));
    const how: Copied = sealed ?? (await copyBlob(blobs, target, blob, signal));
    counts.blobs++;
    counts.bytes += blob.size;
    if (how === 'copied') {
      counts.copied++;
      counts.copiedBytes += blob.size;
    }
    if (how === 'damaged' && missing.length < MISSING_NAMED) missing.push(blob.digest);
    progress({ blobs: counts.blobs, copied: counts.copied, bytes: counts.copiedBytes });
  });
  return { counts, missing: missing.sort() };
}

async function lookAtBlobs(folder: string, id: string, { blobs, progress }: BackupParts, signal: AbortSignal) {
  const counts = { blobs: 0, bytes: 0, copied: 0, copiedBytes: 0 };
  const missing: string[] = [];
  await forEachOf(blobsOf(folder, id), async ({ digest, size }) => {
    signal.throwIfAborted();
    const reader = await blobs.open(digest).catch(unlessOutage);
    await reader?.close();
    counts.blobs++;
    counts.bytes += size;
    if (reader?.size !== size && missing.length < MISSING_NAMED) missing.push(digest);
    progress({ blobs: counts.blobs, copied: 0, bytes: 0 });
  });
  return { counts, missing: missing.sort() };
}
