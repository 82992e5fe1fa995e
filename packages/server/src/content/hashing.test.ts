import { randomBytes } from 'node:crypto';
import { DIGEST_ALGORITHMS, type DigestAlgorithm, digestOf } from '@entrepot/oci';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { createInlineHash, HashThreads } from './hashing.ts';
import { SLAB_BYTES, SlabPool } from './slabs.ts';

const running: HashThreads[] = [];
afterEach(() => Promise.all(running.splice(0).map((threads) => threads.close())));

function threadsOf(count: number): HashThreads {
  const threads = new HashThreads(count);
  running.push(threads);
  return threads;
}

/** An algorithm that no thread knows: asking for it is a way to end one. */
const DEADLY = 'none' as DigestAlgorithm;

describe('hashes', () => {
  it('agree, inline and on threads, at every point of any content', async () => {
    const threads = threadsOf(2);
    const piece = fc.record({ bytes: fc.uint8Array({ maxLength: 200 }), more: fc.nat(50), ask: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 8 }), fc.constantFrom(...DIGEST_ALGORITHMS), async (pieces, algorithm) => {
        const hashes = [createInlineHash(algorithm), threads.create(algorithm)];
        let whole = Buffer.alloc(0);
        for (const { bytes, more, ask } of pieces) {
          const buffer = Buffer.concat([bytes, randomBytes(more)]);
          for (const hash of hashes) await hash.update(buffer, bytes.length);
          whole = Buffer.concat([whole, bytes]);
          if (!ask) continue;
          for (const hash of hashes) expect(await hash.digest()).toBe(digestOf(whole, algorithm));
        }
        for (const hash of hashes) {
          expect(hash.algorithm).toBe(algorithm);
          expect(await hash.digest()).toBe(digestOf(whole, algorithm));
          hash.dispose();
        }
      }),
    );
  });

  it('take slabs that are used again and again, on every thread', async () => {
    const threads = threadsOf(2);
    const pool = new SlabPool(2);
    const contents = Array.from({ length: 4 }, () => randomBytes(3 * SLAB_BYTES + 7));
    const digests = await Promise.all(
      contents.map(async (bytes) => {
        const hash = threads.create('sha256');
        for (let at = 0; at < bytes.length; ) {
          const slab = pool.take();
          const count = Math.min(slab.length, bytes.length - at);
          slab.set(bytes.subarray(at, at + count));
          await hash.update(slab, count);
          slab.fill(0); // was read before that resolved
          pool.give(slab);
          at += count;
        }
        return await hash.digest();
      }),
    );
    expect(digests).toEqual(contents.map((bytes) => digestOf(bytes)));
  });

  it('many at once do not mix', async () => {
    const threads = threadsOf(2);
    const contents = Array.from({ length: 200 }, (_, index) => Buffer.from(`content ${index}`));
    const hashes = contents.map(() => threads.create('sha256'));
    for (const part of [0, 1]) {
      await Promise.all(hashes.map((hash, index) => hash.update((contents[index] ?? Buffer.alloc(0)).subarray(part * 4, part * 4 + 4), 4)));
    }
    expect(await Promise.all(hashes.map((hash) => hash.digest()))).toEqual(contents.map((bytes) => digestOf(bytes.subarray(0, 8))));
  });

  it('cannot be used once they are disposed of, and harm no other', async () => {
    const threads = threadsOf(1);
    const [gone, other] = [threads.create('sha256'), threads.create('sha256')];
    await other.update(Buffer.from('a'), 1);
    gone.dispose();
    await expect(gone.update(Buffer.from('a'), 1)).rejects.toThrow('after its end');
    await expect(gone.digest()).rejects.toThrow('after its end');
    gone.dispose();
    expect(await other.digest()).toBe(digestOf('a'));
  });
});

describe('when a hash thread ends', () => {
  it('what waits for it is told, hashes of before cannot go on, and new ones have a new thread', async () => {
    const threads = threadsOf(1);
    const slab = new Uint8Array(new SharedArrayBuffer(SLAB_BYTES));
    const [waiting, idle] = [threads.create('sha256'), threads.create('sha256')];
    await waiting.update(slab, slab.length);
    await idle.update(slab, 1);
    const deadly = threads.create(DEADLY);
    const ends = await Promise.allSettled([waiting.update(slab, slab.length), deadly.digest()]);
    const ended = { status: 'rejected', reason: expect.objectContaining({ message: 'a hash thread ended' }) };
    expect(ends).toEqual([ended, ended]);
    await expect(idle.digest()).rejects.toThrow('a hash thread ended');
    await expect(waiting.update(slab, 1)).rejects.toThrow('a hash thread ended');
    idle.dispose();

    const fresh = threads.create('sha256');
    await fresh.update(slab, slab.length); // the new thread has never seen this slab
    expect(await fresh.digest()).toBe(digestOf(slab));
  });

  it('those on other threads go on', async () => {
    const threads = threadsOf(2);
    const hashes = [threads.create('sha256'), threads.create('sha256')];
    for (const hash of hashes) await hash.update(Buffer.from('a'), 1);
    const deadly = threads.create(DEADLY);
    await expect(deadly.digest()).rejects.toThrow('a hash thread ended');
    const ends = await Promise.allSettled(hashes.map((hash) => hash.digest()));
    expect(ends.map((end) => (end.status === 'fulfilled' ? end.value : 'ended')).sort()).toEqual(['ended', digestOf('a')]);
  });
});
