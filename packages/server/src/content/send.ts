import { ServerResponse } from 'node:http';
import type { Writable } from 'node:stream';
import type { BlobReader } from './blob-store.ts';
import { sendByKernel } from './kernel-send.ts';
import type { SlabPool } from './slabs.ts';

/** Shorter parts are through before the kernel's way has begun. */
const KERNEL_FROM = 512 * 1024;
/** What node sends itself on the kernel's way. */
const SOME_BYTES = 64 * 1024;

/**
 * Sends bytes `start` to `end` (inclusive) of a blob. Throws when the blob ends early or cannot be read, so that the
 * caller breaks the connection and no short answer passes for a whole one.
 */
export async function sendRange(reader: BlobReader, start: number, end: number, target: Writable, pool: SlabPool): Promise<void> {
  const { descriptor: file } = reader;
  let position = start;
  if (file !== undefined && end - start >= KERNEL_FROM && isResponse(target)) {
    const sendSome = async (from: number): Promise<number> => {
      const length = Math.min(SOME_BYTES, end + 1 - from);
      await sendByBuffers(reader, from, from + length - 1, target, pool);
      return length;
    };
    position = await sendByKernel({ file, start, end, response: target, sendSome });
  }
  await sendByBuffers(reader, position, end, target, pool);
}

function isResponse(target: Writable): target is ServerResponse {
  return target instanceof ServerResponse;
}

/** One read ahead of at most one write outstanding, in pooled buffers: twice as fast as streams. */
async function sendByBuffers(reader: BlobReader, start: number, end: number, target: Writable, pool: SlabPool): Promise<void> {
  let position = start;
  let writing: Promise<void> | undefined;
  reader.announce?.(start, end);
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
