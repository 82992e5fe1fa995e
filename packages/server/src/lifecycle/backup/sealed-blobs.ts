import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseDigest } from '@entrepot/oci';
import {
  type Companions,
  companionOf,
  companionText,
  findSealedKey,
  HEADER_BYTES,
  keyIdIn,
  openFileCompanions,
  type SealedKey,
} from '../../content/commands.ts';
import { type BlobReader, type BlobStore, ClosedBlob, type StoredBlob } from '../../content/index.ts';
import { type Database, newId } from '../../platform/index.ts';
import { chunksOf, examine, UNPACED } from '../scrub/index.ts';
import { type Copied, unlessOutage } from './copy.ts';
import { writeDurably } from './files.ts';
import { blobsFolder } from './format.ts';

// Encrypted blobs are backed up as they lie, so a backup is encrypted too. What their digest says can be seen only with the
// keys; a sum of the sealed bytes beside them says whether they are as they were copied. Their wrapped keys lie beside them
// also, as a blob that was pushed again since an older snapshot has another key than that snapshot's database knows.

/** Of a sealed blob in a backup. */
export interface Sum {
  readonly sha256: string;
  readonly bytes: number;
  /** Its first bytes in hex: they name its key. */
  readonly header: string;
}

function sumFile(folder: string, digest: string): string {
  const { algorithm, hex } = parseDigest(digest) ?? { algorithm: '', hex: '' };
  return join(blobsFolder(folder), 'sums', algorithm, hex.slice(0, 2), hex);
}

function keysBeside(folder: string): Companions {
  return openFileCompanions(join(blobsFolder(folder), 'encryption'));
}

/** The sum of a blob of a backup; undefined where it lies there in the clear. */
export function sumOf(folder: string, digest: string): Sum | undefined {
  const path = sumFile(folder, digest);
  if (!existsSync(path)) return undefined;
  const [sha256 = '', bytes = '', header = ''] = readFileSync(path, 'utf8').trim().split(' ');
  return { sha256, bytes: Number(bytes), header };
}

/** A blob's first bytes, by which it is known whether it is sealed, and under which key. */
export async function headerOf(reader: BlobReader): Promise<Buffer> {
  const header = Buffer.alloc(Math.min(HEADER_BYTES, reader.size));
  for (let at = 0; at < header.length; ) {
    const length = await reader.read(header.subarray(at), header.length - at, at);
    if (length === 0) break;
    at += length;
  }
  return header;
}

/** Keeps wrapped keys beside the blobs of a backup. */
export async function keepKeys(folder: string, keys: Iterable<SealedKey>): Promise<void> {
  const beside = keysBeside(folder);
  for (const key of keys) {
    const text = companionText(key);
    const known = await beside.read(companionOf(key.id));
    if (!known || !text.equals(known)) await beside.write(companionOf(key.id), text);
  }
}

/**
 * Copies a blob into a backup as it lies, after it was opened and hashed by its store; undefined where it lies in the clear,
 * and is to be copied as such.
 */
export async function backUpSealed(
  { database, bare, blobs, target, folder }: { database: Database; bare: BlobStore; blobs: BlobStore; target: BlobStore; folder: string },
  blob: StoredBlob,
  signal: AbortSignal,
): Promise<Copied | undefined> {
  const { digest } = blob;
  const reader = await bare.open(digest).catch(unlessOutage);
  if (!reader) return 'damaged';
  try {
    const header = await headerOf(reader);
    if (keyIdIn(header) === undefined) return undefined;
    const sum = sumOf(folder, digest);
    if (sum?.header === header.toString('hex') && sum.bytes === reader.size) {
      const known = await target.open(digest);
      const isSame = known?.size === reader.size && (await headerOf(known)).equals(header);
      await known?.close();
      if (isSame) return 'there';
    }
    // What only the key of a project opens, which is out of reach, is copied unseen: it is whole as far as anybody can say.
    if (await examine(blobs, blob, { pace: UNPACED, signal }).catch(unlessClosed)) return 'damaged';
    const sha256 = await copyBytes(reader, target, digest, signal);
    // One that was pushed again since the snapshot has a key that its database does not know.
    const key = await findSealedKey(database, keyIdIn(header) ?? '');
    if (key) await keepKeys(folder, [key]);
    const path = sumFile(folder, digest);
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeDurably(path, `${sha256} ${reader.size} ${header.toString('hex')}\n`);
    return 'copied';
  } finally {
    await reader.close();
  }
}

function unlessClosed(error: unknown): undefined {
  if (!(error instanceof ClosedBlob)) throw error;
  return undefined;
}

/** Copies a sealed blob of a backup into a store below encryption, and its wrapped key beside it. */
export async function restoreSealed(
  { source, target, companions, folder }: { source: Pick<BlobStore, 'open'>; target: BlobStore; companions: Companions; folder: string },
  digest: string,
  sum: Sum,
  signal: AbortSignal,
): Promise<Copied> {
  const reader = await source.open(digest).catch(unlessOutage);
  if (!reader) return 'damaged';
  try {
    if (reader.size !== sum.bytes) return 'damaged';
    const known = await target.open(digest);
    const isThere = known?.size === sum.bytes && (await headerOf(known)).toString('hex') === sum.header;
    await known?.close();
    if (!isThere && (await copyBytes(reader, target, digest, signal, sum.sha256)) !== sum.sha256) return 'damaged';
    const keyId = keyIdIn(Buffer.from(sum.header, 'hex'));
    const key = keyId === undefined ? undefined : await keysBeside(folder).read(companionOf(keyId));
    if (keyId !== undefined && key) await companions.write(companionOf(keyId), key);
    return isThere ? 'there' : 'copied';
  } finally {
    await reader.close();
  }
}

/** Copies bytes as they are and gives their SHA-256; where they are not as expected, nothing arrives. */
export async function copyBytes(
  reader: BlobReader,
  target: BlobStore,
  digest: string,
  signal: AbortSignal,
  expected?: string,
): Promise<string> {
  const id = `copy-${newId()}`;
  const hash = createHash('sha256');
  try {
    const writer = await target.openUpload(id, { fence: false });
    let position = 0;
    try {
      for await (const chunk of chunksOf(reader, { pace: UNPACED, signal })) {
        hash.update(chunk);
        await writer.write(chunk, chunk.length, position);
        position += chunk.length;
      }
    } finally {
      await writer.close();
    }
    if (position !== reader.size) throw new Error(`${digest} ends before its end`);
    const sha256 = hash.digest('hex');
    if (expected === undefined || expected === sha256) await target.commit(id, digest, position, { replace: true });
    return sha256;
  } finally {
    await target.removeUpload(id);
  }
}

/** What is wrong with a sealed blob of a backup, as far as that can be said without keys. */
export async function sealedFault(
  store: Pick<BlobStore, 'open'>,
  digest: string,
  { sha256, bytes }: Sum,
  { deep, signal }: { deep: boolean; signal: AbortSignal },
): Promise<{ problem: 'missing' | 'size' | 'hash'; detail: string } | undefined> {
  const reader = await store.open(digest);
  if (!reader) return { problem: 'missing', detail: 'is not in the backup' };
  try {
    if (reader.size !== bytes) return { problem: 'size', detail: `has ${reader.size} bytes, not ${bytes}` };
    if (!deep) return undefined;
    const hash = createHash('sha256');
    for await (const chunk of chunksOf(reader, { pace: UNPACED, signal })) hash.update(chunk);
    return hash.digest('hex') === sha256 ? undefined : { problem: 'hash', detail: 'has other bytes than were copied' };
  } finally {
    await reader.close();
  }
}

/** Forgets what lies beside a blob of a backup that is removed. */
export async function forgetSealed(folder: string, digest: string): Promise<void> {
  const sum = sumOf(folder, digest);
  if (!sum) return;
  const keyId = keyIdIn(Buffer.from(sum.header, 'hex'));
  if (keyId !== undefined) await keysBeside(folder).remove(companionOf(keyId));
  rmSync(sumFile(folder, digest), { force: true });
}
