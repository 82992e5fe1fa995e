import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, unlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Companions } from '../../content/commands.ts';
import { type BlobStore, openReadOnlyStore } from '../../content/index.ts';
import { createFileOnce } from '../../platform/index.ts';
import { type Copied, copyBlob, forEachOf, unlessOutage } from './copy.ts';
import { syncPath, writeDurably } from './files.ts';
import {
  blobsFolder,
  blobsOf,
  CHECKPOINT_FILE,
  DATABASE_FILE,
  KEY_FOLDER,
  SEALED_KEYS,
  type SignedSnapshot,
  type Snapshot,
  snapshotPath,
} from './format.ts';
import { restoreSealed, sumOf } from './sealed-blobs.ts';
import { type KeyFiles, openSealedKeys } from './sealed-keys.ts';
import { verifySnapshot } from './verify.ts';

export interface RestoreParts {
  /** The new data directory, and where in it things go. */
  readonly paths: {
    readonly root: string;
    readonly database: string;
    readonly keys: string;
    readonly checkpoints: string;
    /** What stands in a data directory while it is being restored: no server starts there. */
    readonly restoring: string;
  };
  /** Throws unless the database that is to be filled is empty, where that is not a file of the folder. */
  requireEmpty(): Promise<void>;
  /** Opens the store that the blobs go to, below encryption, after the folder was found empty. */
  openBlobs(): Promise<{ readonly base: BlobStore; readonly companions: Companions }>;
  readonly passphrase: string | undefined;
  readonly signal: AbortSignal;
  /** Puts the database of the snapshot, a file of SQLite, where the server looks for it, and ends what was under way in it. */
  placeDatabase(file: string, snapshot: Snapshot): Promise<void>;
  progress(blobs: number): void;
}

export interface Restored {
  readonly blobs: number;
  /** Blobs of the snapshot that are not in the backup as they should be. */
  readonly missing: readonly string[];
}

/**
 * Makes a data directory from a snapshot, where there is none yet. The database comes last, so what a crash leaves is no
 * registry; the same command goes on with it.
 */
export async function restoreSnapshot(folder: string, signed: SignedSnapshot, parts: RestoreParts): Promise<Restored> {
  const { snapshot } = signed;
  const { paths, signal } = parts;
  const looked = { deep: false, publicKey: undefined, discard: false, signal, progress: () => undefined };
  const { problems } = await verifySnapshot(folder, signed, looked);
  const broken = problems.filter((problem) => !problem.startsWith('blob '));
  if (broken.length > 0) throw new Error(`snapshot ${snapshot.id} cannot be restored: ${broken.join('; ')}`);
  const keys = keysOf(folder, snapshot, parts.passphrase); // before anything is written
  await prepare(parts, snapshot, keys);

  const source = openReadOnlyStore(blobsFolder(folder));
  const missing: string[] = [];
  let blobs = 0;
  const { base: target, companions } = await parts.openBlobs();
  try {
    await forEachOf(blobsOf(folder, snapshot.id), async (blob) => {
      signal.throwIfAborted();
      const sum = snapshot.blobs.left ? undefined : sumOf(folder, blob.digest);
      const how = snapshot.blobs.left
        ? await lookFor(target, blob.digest)
        : sum
          ? await restoreSealed({ source, target, companions, folder }, blob.digest, sum, signal)
          : await copyBlob(source, target, blob, signal);
      if (how === 'damaged') missing.push(blob.digest);
      parts.progress(++blobs);
    });
  } finally {
    await target.close?.();
  }
  const from = (name: string) => join(snapshotPath(folder, snapshot.id), name);
  placeKeys(paths.keys, keys);
  if (existsSync(from(CHECKPOINT_FILE))) {
    mkdirSync(dirname(paths.checkpoints), { recursive: true, mode: 0o700 });
    writeDurably(paths.checkpoints, readFileSync(from(CHECKPOINT_FILE)));
  }
  await parts.placeDatabase(from(DATABASE_FILE), snapshot);
  unlinkSync(paths.restoring);
  syncPath(paths.root);
  return { blobs, missing: missing.sort() };
}

/** Of a blob that was left where it was: its bytes are looked at when all is there. */
async function lookFor(target: BlobStore, digest: string): Promise<Copied> {
  const reader = await target.open(digest).catch(unlessOutage);
  await reader?.close();
  return reader ? 'there' : 'damaged';
}

function keysOf(folder: string, { id, keys }: Snapshot, passphrase: string | undefined): KeyFiles {
  const top = snapshotPath(folder, id);
  if (keys === 'none') return new Map();
  if (keys === 'plain') {
    const names = readdirSync(join(top, KEY_FOLDER));
    return new Map(names.map((name) => [name, readFileSync(join(top, KEY_FOLDER, name))]));
  }
  if (passphrase === undefined) throw new Error('the keys of this snapshot are sealed; --passphrase-file opens them');
  const opened = openSealedKeys(readFileSync(join(top, SEALED_KEYS)), passphrase);
  for (const name of opened.keys()) if (basename(name) !== name) throw new Error(`the sealed keys name the file ${JSON.stringify(name)}`);
  return opened;
}

/** Refuses whatever is no empty folder and no restore of the same snapshot that was cut off, and other keys than the snapshot's. */
async function prepare({ paths, requireEmpty }: RestoreParts, { id }: Snapshot, keys: KeyFiles): Promise<void> {
  const { root, restoring } = paths;
  for (const [name, bytes] of keys) {
    const path = join(paths.keys, name);
    if (existsSync(path) && !readFileSync(path).equals(bytes)) throw new Error(`${path} is another key than that of the snapshot`);
  }
  mkdirSync(root, { recursive: true, mode: 0o700 });
  const begun = existsSync(restoring) ? readFileSync(restoring, 'utf8').trim() : undefined;
  if (begun === id) return;
  if (begun !== undefined) throw new Error(`${root} is being restored from snapshot ${begun}; empty it first`);
  if (readdirSync(root).some((name) => name !== 'lost+found')) throw new Error(`${root} is not empty; a restore never overwrites`);
  await requireEmpty();
  writeDurably(restoring, `${id}\n`);
}

function placeKeys(folder: string, keys: KeyFiles): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  for (const [name, bytes] of keys) createFileOnce(join(folder, name), bytes);
}

/** Copies a file into place, durably, so that it is there whole or not at all. */
export function placeFile(from: string, to: string): void {
  copyFileSync(from, `${to}.restoring`);
  chmodSync(`${to}.restoring`, 0o600);
  syncPath(`${to}.restoring`);
  renameSync(`${to}.restoring`, to);
  syncPath(dirname(to));
}
