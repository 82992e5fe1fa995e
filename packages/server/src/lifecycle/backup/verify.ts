import { createPublicKey, verify } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { openFileStore, openReadOnlyStore } from '../../content/index.ts';
import { examine, UNPACED } from '../scrub/index.ts';
import { forEachOf } from './copy.ts';
import { blobsFolder, blobsOf, DATABASE_FILE, type SignedSnapshot, sha256Of, snapshotPath, snapshotText } from './format.ts';
import { sealedFault, sumOf } from './sealed-blobs.ts';
import { openSnapshotDatabase } from './snapshot-db.ts';

interface Options {
  /** false: of blobs only whether they are there and have the right size. */
  readonly deep: boolean;
  /** PEM of the audit key of the installation that was backed up; undefined: the signature is not looked at. */
  readonly publicKey: string | undefined;
  /** Takes damaged blobs out of the backup, so that the next run copies them anew. */
  readonly discard: boolean;
  readonly signal: AbortSignal;
  progress(blobs: number): void;
}

export interface Verified {
  readonly blobs: number;
  readonly problems: readonly string[];
}

/** Verifies one snapshot: its files by their hashes, its database, and that all of its blobs are there and what they should be. */
export async function verifySnapshot(folder: string, signed: SignedSnapshot, options: Options): Promise<Verified> {
  const { snapshot } = signed;
  const problems: string[] = [];
  if (options.publicKey !== undefined && !isSignedBy(options.publicKey, signed)) problems.push('the signature is not of that key');
  for (const [name, { bytes, sha256 }] of Object.entries(snapshot.files)) {
    const path = join(snapshotPath(folder, snapshot.id), name);
    const found = existsSync(path) ? await sha256Of(path) : undefined;
    if (found?.sha256 !== sha256 || found.bytes !== bytes) problems.push(`${name} is ${found ? 'not what was written' : 'missing'}`);
  }
  if (problems.length > 0) return { blobs: 0, problems };
  problems.push(...databaseProblems(join(snapshotPath(folder, snapshot.id), DATABASE_FILE)));
  if (snapshot.blobs.left) return { blobs: 0, problems };
  const store = openReadOnlyStore(blobsFolder(folder)); // it may be mounted so
  const missing = new Set(snapshot.blobs.missing);
  let blobs = 0;
  await forEachOf(blobsOf(folder, snapshot.id), async (blob) => {
    options.signal.throwIfAborted();
    options.progress(++blobs);
    const sum = sumOf(folder, blob.digest);
    const fault = sum
      ? await sealedFault(store, blob.digest, sum, options)
      : options.deep
        ? await examine(store, blob, { pace: UNPACED, signal: options.signal })
        : await sizeFault(store, blob);
    if (fault === undefined || missing.has(blob.digest)) return;
    problems.push(`blob ${blob.digest} ${fault.detail}`);
    if (options.discard && fault.problem !== 'missing') await openFileStore(blobsFolder(folder)).remove(blob.digest);
  });
  return { blobs, problems };
}

function isSignedBy(pem: string, { snapshot, signature }: SignedSnapshot): boolean {
  if (signature === null) return false;
  return verify(null, Buffer.from(snapshotText(snapshot)), createPublicKey(pem), Buffer.from(signature, 'base64'));
}

function databaseProblems(path: string): string[] {
  const database = openSnapshotDatabase(path);
  try {
    return database.problems().map((problem) => `the database: ${problem}`);
  } finally {
    database.close();
  }
}

async function sizeFault(
  store: ReturnType<typeof openReadOnlyStore>,
  { digest, size }: { digest: string; size: number },
): Promise<{ problem: string; detail: string } | undefined> {
  const reader = await store.open(digest);
  if (!reader) return { problem: 'missing', detail: 'is not in the backup' };
  await reader.close();
  return reader.size === size ? undefined : { problem: 'size', detail: `has ${reader.size} bytes, not ${size}` };
}
