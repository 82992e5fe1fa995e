import { parseDigest } from '@entrepot/oci';
import type { BlobReader, UploadWriter } from '../blob-store.ts';
import type { HashThreads, StreamHash } from '../hashing.ts';
import type { SlabPool } from '../slabs.ts';

/** Bytes at each end by which two copies of one digest are told apart: a header, and the salts of an ending. */
const END_BYTES = 4096;
/** Written bytes after which their way to the disk is begun, so that the last sync is short. */
const FLUSH_EVERY = 16 << 20;

/** What bytes add up to. */
export interface Sums {
  readonly bytes: number;
  /** SHA-256, in hex. */
  readonly sha256: string;
  /** By the algorithm of the digest that is expected. */
  readonly digest: string;
}

interface Reading {
  /** The digest of the content, which tells the algorithm. */
  readonly digest: string;
  readonly threads: HashThreads;
  readonly pool: SlabPool;
  readonly signal: AbortSignal;
}

/** Reads a blob from its first byte to its last, as it lies, and gives what it adds up to. Throws where it ends early. */
export async function sumsOf(reader: BlobReader, reading: Reading): Promise<Sums> {
  return await pass(reader, reading, async () => undefined);
}

/** The same, and writes it to an upload; `onArrived` hears how many bytes are there. Closes the upload. */
export async function copyTo(
  reader: BlobReader,
  writer: UploadWriter,
  reading: Reading,
  onArrived: (bytes: number) => void = () => undefined,
): Promise<Sums> {
  let closed = false;
  let unflushed = 0;
  try {
    const sums = await pass(reader, reading, async (part, at) => {
      await writer.write(part, part.length, at);
      onArrived(at + part.length);
      unflushed += part.length;
      if (unflushed < FLUSH_EVERY) return;
      unflushed = 0;
      await writer.flush();
    });
    closed = true;
    await writer.close();
    return sums;
  } finally {
    if (!closed) await writer.close().catch(() => undefined); // what failed before is what matters
  }
}

async function pass(reader: BlobReader, reading: Reading, take: (part: Uint8Array, at: number) => Promise<void>): Promise<Sums> {
  const { digest, threads, pool, signal } = reading;
  const { algorithm } = parseDigest(digest) ?? { algorithm: 'sha256' };
  const plain = threads.create('sha256');
  const hashes: StreamHash[] = algorithm === 'sha256' ? [plain] : [plain, threads.create(algorithm)];
  const slab = pool.take();
  reader.announce?.(0, reader.size - 1);
  try {
    for (let at = 0; at < reader.size; ) {
      signal.throwIfAborted();
      const length = await reader.read(slab, Math.min(slab.length, reader.size - at), at);
      if (length === 0) throw new Error(`the bytes of ${digest} end at ${at}, before ${reader.size}`);
      const part = slab.subarray(0, length);
      const ends = await Promise.allSettled([take(part, at), ...hashes.map((hash) => hash.update(slab, length))]);
      for (const end of ends) if (end.status === 'rejected') throw end.reason;
      at += length;
    }
    signal.throwIfAborted();
    const [sha256 = '', other] = await Promise.all(hashes.map((hash) => hash.digest()));
    return { bytes: reader.size, sha256: sha256.slice('sha256:'.length), digest: other ?? sha256 };
  } finally {
    pool.give(slab);
    for (const hash of hashes) hash.dispose();
  }
}

/** Whether two copies of a digest are one sealing of it, or one in the clear: compares their sizes and both ends. */
export async function isSameCopy(one: BlobReader, other: BlobReader): Promise<boolean> {
  if (one.size !== other.size) return false;
  const length = Math.min(END_BYTES, one.size);
  for (const at of new Set([0, one.size - length])) {
    const [here, there] = [await readPart(one, at, length), await readPart(other, at, length)];
    if (!here.equals(there)) return false;
  }
  return true;
}

async function readPart(reader: BlobReader, from: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; ) {
    const count = await reader.read(bytes.subarray(at), length - at, from + at);
    if (count === 0) throw new Error(`a blob ends at ${from + at}, before ${from + length}`);
    at += count;
  }
  return bytes;
}
