import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { parseDigest } from '@entrepot/oci';
import type { Damage } from '../../catalog/index.ts';
import type { BlobReader, BlobStore, StoredBlob } from '../../content/index.ts';
import { AppError } from '../../platform/index.ts';
import type { Pace } from './pace.ts';

/** As much of a store as it takes to look at blobs. */
export type Readable = Pick<BlobStore, 'open' | 'ping'>;

const CHUNK_BYTES = 256 * 1024;
const TRIES = 3;
const RETRY_MS = 500;

/** What is wrong with a blob, in a word and in words. */
export interface Fault {
  readonly problem: Damage;
  readonly detail: string;
}

export interface Examination {
  readonly pace: Pace;
  readonly signal: AbortSignal;
  /** Between tries to read what cannot be read; milliseconds. */
  readonly retryMs?: number;
}

/**
 * Reads a blob from its first byte to its last and gives what is wrong with it. What cannot be read in three tries from a
 * store that is otherwise well is damage; a store that is not, or whose keys are out of reach, is an error of the examination.
 */
export async function examine(blobs: Readable, blob: StoredBlob, examination: Examination): Promise<Fault | undefined> {
  const { signal, retryMs = RETRY_MS } = examination;
  for (let tries = 1; ; tries++) {
    try {
      return await readThrough(blobs, blob, examination);
    } catch (error) {
      signal.throwIfAborted();
      const sealed = sealedDamage(error);
      if (sealed !== undefined) return { problem: 'hash', detail: `is not what was sealed: ${sealed}` };
      if (error instanceof AppError) throw error;
      if (tries < TRIES) {
        await delay(retryMs * tries, undefined, { signal });
        continue;
      }
      await blobs.ping();
      return { problem: 'unreadable', detail: `cannot be read: ${wordsOf(error)}` };
    }
  }
}

async function readThrough(blobs: Readable, { digest, size }: StoredBlob, examination: Examination): Promise<Fault | undefined> {
  const reader = await blobs.open(digest);
  if (!reader) return { problem: 'missing', detail: 'is not in the store' };
  try {
    if (reader.size !== size) return { problem: 'size', detail: `has ${reader.size} bytes, not ${size}` };
    const found = await hashOf(reader, digest, examination);
    return found === digest ? undefined : { problem: 'hash', detail: `has other bytes: their digest is ${found}` };
  } finally {
    await reader.close();
  }
}

/** What an encrypted store finds wrong with its own bytes; it tells clients only that they cannot be read at the moment. */
function sealedDamage(error: unknown): string | undefined {
  const found = [error, (error as { cause?: unknown }).cause].find((one) => (one as Error | undefined)?.name === 'DamagedBlob');
  return (found as Error | undefined)?.message;
}

/** Digest of a reader's bytes, of the algorithm of the one that is expected. */
export async function hashOf(reader: BlobReader, expected: string, { pace, signal }: Examination): Promise<string> {
  const { algorithm } = parseDigest(expected) ?? { algorithm: 'sha256' };
  const hash = createHash(algorithm);
  for await (const chunk of chunksOf(reader, { pace, signal })) hash.update(chunk);
  return `${algorithm}:${hash.digest('hex')}`;
}

/** A reader's bytes in order; each piece is overwritten by the next. */
export async function* chunksOf(reader: BlobReader, { pace, signal }: Examination): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.allocUnsafeSlow(Math.max(1, Math.min(CHUNK_BYTES, reader.size)));
  for (let at = 0; at < reader.size; ) {
    signal.throwIfAborted();
    const begun = performance.now();
    const length = await reader.read(buffer, Math.min(buffer.length, reader.size - at), at);
    if (length === 0) return; // it ends early: its digest will say so
    yield buffer.subarray(0, length);
    at += length;
    await pace.after(length, performance.now() - begun);
  }
}

/** Of an error its code, where it has one: messages of the system name paths. */
export function wordsOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return (code ?? message).slice(0, 200);
}
