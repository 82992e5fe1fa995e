import type { DigestAlgorithm } from '@entrepot/oci';
import type { BlobReader, UploadWriter } from './blob-store.ts';
import { createInlineHash, type HashThreads, type StreamHash } from './hashing.ts';
import { SLAB_BYTES, type SlabPool } from './slabs.ts';

/** Slabs of one upload on their way to disk and hash at most, the one being filled aside. */
const IN_FLIGHT = 3;
/** How much may lie unsynced before it is flushed beside the transfer. */
const FLUSH_EVERY = 16 << 20;

/** Chunks from here on have a buffer of their own; smaller ones may lie in a pool. */
const OWN_BUFFER = 16 << 10;

export interface Received {
  /** Bytes taken from this source. */
  readonly bytes: number;
  /** What ended the source early; what came before it is kept. */
  readonly interrupted: unknown;
}

interface Options {
  readonly source: AsyncIterable<Uint8Array>;
  readonly writer: UploadWriter;
  readonly position: number;
  /** undefined: bytes are not hashed as they come. */
  readonly hash: StreamHash | undefined;
  readonly pool: SlabPool;
  /** Most bytes to take; one more throws `onTooMany()`. */
  readonly limit: number;
  readonly onTooMany: () => Error;
}

/**
 * Takes a stream into an upload: small reads are gathered into slabs, each written and hashed at once, with
 * backpressure on the source when both are behind. Throws if writing or hashing fails; a source that breaks off is no
 * failure here, the caller learns of it.
 */
export async function receive({ source, writer, position, hash, pool, limit, onTooMany }: Options): Promise<Received> {
  const inFlight = new Set<Promise<void>>();
  let taken = 0;
  let sinceFlush = 0;
  let flushing: Promise<void> | undefined;
  let failure: Error | undefined;
  let written: Promise<void> = Promise.resolve();
  let hashed: Promise<void> = Promise.resolve();
  let slab: Uint8Array | undefined;
  let fill = 0;
  let at = position;

  const dispatch = (full: Uint8Array, length: number) => {
    const where = at;
    at += length;
    // In order: after a crash the file is a prefix of the upload, never one with holes.
    written = written.then(() => writer.write(full, length, where));
    if (hash) hashed = hashed.then(() => hash.update(full, length));
    // Both must be over, also when one failed: until then the other still reads the slab.
    const both = Promise.allSettled([written, hashed]).then((ends) => {
      for (const end of ends) if (end.status === 'rejected') failure ??= end.reason as Error;
      inFlight.delete(both);
      pool.give(full);
    });
    inFlight.add(both);
    sinceFlush += length;
    if (sinceFlush >= FLUSH_EVERY && flushing === undefined) {
      sinceFlush = 0;
      flushing = writer
        .flush()
        .catch((error: unknown) => {
          failure ??= error as Error;
        })
        .finally(() => {
          flushing = undefined;
        });
    }
  };

  let interrupted: unknown;
  try {
    for await (const chunk of source) {
      taken += chunk.length;
      if (taken > limit) throw onTooMany();
      for (let from = 0; from < chunk.length; ) {
        slab ??= pool.take();
        const count = Math.min(chunk.length - from, slab.length - fill);
        copy(chunk, from, count, slab, fill);
        fill += count;
        from += count;
        if (fill < slab.length) continue;
        dispatch(slab, fill);
        slab = undefined;
        fill = 0;
        while (inFlight.size >= IN_FLIGHT) await Promise.race(inFlight);
        if (failure !== undefined) throw failure;
      }
      discard(chunk);
    }
  } catch (error) {
    interrupted = error ?? new Error('the source broke off');
  }
  if (slab) {
    if (fill > 0 && failure === undefined) dispatch(slab, fill);
    else pool.give(slab);
  }
  while (inFlight.size > 0) await Promise.all(inFlight);
  await flushing;
  if (failure !== undefined) throw failure;
  return { bytes: at - position, interrupted };
}

/**
 * Copies `count` bytes into a slab. Whole arrays go into shared memory word by word, parts by memmove, which is three
 * times as fast: so the last byte goes apart.
 */
function copy(chunk: Uint8Array, from: number, count: number, slab: Uint8Array, at: number): void {
  const last = from + count - 1;
  Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).copy(slab, at, from, last);
  slab[at + count - 1] = chunk[last] ?? 0;
}

/**
 * Frees the memory of a chunk that nobody else holds at once. Left to the collector, 64 KiB for each read of the socket
 * make it run over the whole heap some thirty times for each gigabyte, which cost more than hashing did.
 */
function discard({ buffer, byteLength }: Uint8Array): void {
  if (byteLength >= OWN_BUFFER && buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}

/** Chooses where to hash: what is known to be small on this thread, all else on another. */
export function createStreamHash(algorithm: DigestAlgorithm, expected: number | undefined, threads: HashThreads): StreamHash {
  return expected !== undefined && expected <= SLAB_BYTES ? createInlineHash(algorithm) : threads.create(algorithm);
}

/** Feeds all bytes of a reader to a hash. */
export async function hashReader(reader: BlobReader, hash: StreamHash, pool: SlabPool): Promise<void> {
  const slab = pool.take();
  reader.announce?.(0, reader.size - 1);
  try {
    for (let at = 0; ; ) {
      const length = await reader.read(slab, slab.length, at);
      if (length === 0) return;
      await hash.update(slab, length);
      at += length;
    }
  } finally {
    pool.give(slab);
  }
}
