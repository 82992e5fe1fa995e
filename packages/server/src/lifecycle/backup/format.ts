import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import canonicalize from 'canonicalize';

// A backup is a folder: `storage/docker/registry/v2` has the blobs of all its snapshots, at the paths of the file store;
// `snapshots/<id>` has the database and all else of one snapshot. `snapshot.json` is written last: without it there is none.

export const SNAPSHOT_FORMAT = 1;
const SNAPSHOT_FILE = 'snapshot.json';
/** Files of a snapshot. */
export const DATABASE_FILE = 'entrepot.db';
export const BLOB_LIST = 'blobs.txt';
export const CHECKPOINT_FILE = 'checkpoints.ndjson';
export const SEALED_KEYS = 'keys.sealed';
export const KEY_FOLDER = 'keys';

/** What is kept of the keys: nothing, the files as they are, or sealed by a passphrase. */
export type KeptKeys = 'none' | 'plain' | 'sealed';

export interface Snapshot {
  readonly format: typeof SNAPSHOT_FORMAT;
  readonly id: string;
  /** When the database was as it is in here, RFC 3339. */
  readonly takenAt: string;
  readonly finishedAt: string;
  /** Migrations of the database. */
  readonly migrations: readonly string[];
  readonly keys: KeptKeys;
  /** Every file of the snapshot, by its path within it. */
  readonly files: Readonly<Record<string, { readonly bytes: number; readonly sha256: string }>>;
  readonly blobs: {
    readonly count: number;
    readonly bytes: number;
    /** Those that were damaged or missing already, and so are not in the backup. */
    readonly missing: readonly string[];
    /** They are not in the backup, but where they were, and only looked at. */
    readonly left?: true;
  };
}

/** A snapshot and the Ed25519 signature of the installation's audit key over it in canonical JSON; null where there was no key. */
export interface SignedSnapshot {
  readonly snapshot: Snapshot;
  readonly signature: string | null;
}

export function snapshotsFolder(folder: string): string {
  return join(folder, 'snapshots');
}

/** Root of the file store that has a backup's blobs. */
export function blobsFolder(folder: string): string {
  return join(folder, 'storage/docker/registry/v2');
}

export function snapshotText(snapshot: Snapshot): string {
  return canonicalize(snapshot) ?? '';
}

export function snapshotPath(folder: string, id: string): string {
  return join(snapshotsFolder(folder), id);
}

export function snapshotFile(folder: string, id: string): string {
  return join(snapshotPath(folder, id), SNAPSHOT_FILE);
}

/** Ids of the snapshots that are whole, oldest first. */
export function listSnapshots(folder: string): string[] {
  const top = snapshotsFolder(folder);
  if (!existsSync(top)) return [];
  return readdirSync(top)
    .filter((id) => existsSync(snapshotFile(folder, id)))
    .sort();
}

/** Reads a snapshot's description. Throws where it is none of this format. */
export function readSnapshot(folder: string, id: string): SignedSnapshot {
  const signed = JSON.parse(readFileSync(snapshotFile(folder, id), 'utf8')) as Partial<SignedSnapshot>;
  const { snapshot } = signed;
  if (snapshot?.format !== SNAPSHOT_FORMAT) throw new Error(`snapshot ${id} has a format that this version does not read`);
  if (snapshot.id !== id) throw new Error(`snapshot ${id} says that it is ${snapshot.id}`);
  for (const name of Object.keys(snapshot.files)) {
    if (!/^(keys\/)?[a-z0-9][a-z0-9.-]*$/.test(name)) throw new Error(`snapshot ${id} names the file ${JSON.stringify(name)}`);
  }
  return { snapshot, signature: signed.signature ?? null };
}

/** The snapshot that is asked for, or the newest. Throws where there is none. */
export function chooseSnapshot(folder: string, id: string | undefined): SignedSnapshot {
  const known = listSnapshots(folder);
  const chosen = id ?? known.at(-1);
  if (chosen === undefined) throw new Error(`there is no snapshot in ${folder}`);
  if (!known.includes(chosen)) throw new Error(`there is no snapshot ${chosen} in ${folder}; it has ${known.join(', ') || 'none'}`);
  return readSnapshot(folder, chosen);
}

export async function sha256Of(path: string): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  await pipeline(createReadStream(path), async (source: AsyncIterable<Buffer>) => {
    for await (const chunk of source) {
      hash.update(chunk);
      bytes += chunk.length;
    }
  });
  return { bytes, sha256: hash.digest('hex') };
}

/** Blobs of a snapshot, a line each: digest and size. */
export async function* blobsOf(folder: string, id: string): AsyncGenerator<{ digest: string; size: number }> {
  let rest = '';
  for await (const chunk of createReadStream(join(snapshotPath(folder, id), BLOB_LIST), 'utf8') as AsyncIterable<string>) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const [digest = '', size = ''] = line.split(' ');
      if (!/^[0-9]+$/.test(size)) throw new Error(`the list of blobs of snapshot ${id} is damaged`);
      yield { digest, size: Number(size) };
    }
  }
  if (rest !== '') throw new Error(`the list of blobs of snapshot ${id} is cut off`);
}
