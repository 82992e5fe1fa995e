import type { Writable } from 'node:stream';
import type { BlobReader } from './blob-store.ts';
import type { SlabPool } from './slabs.ts';

/**
 * Sends bytes `start` to `end` (inclusive) of a blob: one read ahead of at most one write outstanding, in pooled
 * buffers, which measured faster than streams and than nginx's sendfile on loopback. Throws when the blob ends early or
 * cannot be read, so that the caller breaks the connection and no short answer passes for a whole one.
 */
export async function sendRange(reader: BlobReader, start: number, end: number, target: Writable, pool: SlabPool): Promise<void> {
  let position = start;
  let writing: Promise<void> | undefined;
  while (position <= end) {
    const slab = pool.take();
    let length = 0;
    try {
      length = await reader.read(slab, Math.min(slab.length, end + 1 - position), position);
      if (length === 0) throw new Error(`the blob ends at ${position}, before ${end + 1}`);
      await writing;
      if (target.destroyed) throw new Error('the client went away');
    } catch (error) {
      pool.give(slab);
      throw error;
    }
    position += length;
    writing = writeSlab(target, slab, length, pool);
    // It may fail while the next read is under way: that is heard of below, and must not end the process before.
    writing.catch(() => undefined);
  }
  await writing;
}

/** Resolves when the kernel has taken the bytes: only then may the slab be used again. */
function writeSlab(target: Writable, slab: Uint8Array, length: number, pool: SlabPool): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    const settle = (error?: Error | null) => {
      target.off('close', onClose);
      pool.give(slab);
      if (error) reject(error);
      else resolve();
    };
    const onClose = () => settle(new Error('the client went away'));
    target.once('close', onClose);
    target.write(Buffer.from(slab.buffer, 0, length), (error) => {
      if (target.listeners('close').includes(onClose)) settle(error);
    });
  });
}
