import { randomBytes } from 'node:crypto';
import { PassThrough, Writable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BlobReader } from './blob-store.ts';
import { sendRange } from './send.ts';
import { SLAB_BYTES, SlabPool } from './slabs.ts';

const bytes = randomBytes(2 * SLAB_BYTES + 1000);

function readerOf(content: Uint8Array, before: (count: number) => unknown = () => undefined): BlobReader & { reads: number } {
  const reader = {
    size: content.length,
    reads: 0,
    async read(buffer: Uint8Array, length: number, position: number) {
      await before(++reader.reads);
      const part = content.subarray(position, position + length);
      buffer.set(part);
      return part.length;
    },
    close: async () => undefined,
  };
  return reader;
}

/** A target that takes each piece once `take` allows it. */
function targetThat(take: () => Promise<unknown>): Writable & { readonly received: () => Buffer } {
  const pieces: Buffer[] = [];
  const target = new Writable({
    write(piece: Buffer, _, done) {
      take().then(
        () => {
          pieces.push(Buffer.from(piece)); // only now, as a socket reads the memory late
          done();
        },
        (error: Error) => done(error),
      );
    },
  });
  target.on('error', () => undefined);
  return Object.assign(target, { received: () => Buffer.concat(pieces) });
}

let pool: SlabPool;
const unhandled: unknown[] = [];
const note = (reason: unknown) => void unhandled.push(reason);
beforeEach(() => {
  pool = new SlabPool(8);
  unhandled.length = 0;
  process.on('unhandledRejection', note);
});
afterEach(async () => {
  await nextTurn();
  process.off('unhandledRejection', note);
  expect(unhandled).toEqual([]); // one would end the server
});

const allReturned = () => expect.poll(() => pool.used).toBe(0);

describe('sendRange', () => {
  it('sends any range, to a fast and to a slow target, in large and in small slabs', async () => {
    const range = fc.tuple(fc.nat(bytes.length - 1), fc.nat(bytes.length - 1)).map((ends) => ends.sort((a, b) => a - b));
    await fc.assert(
      fc.asyncProperty(range, fc.boolean(), fc.boolean(), async ([start = 0, end = 0], slow, small) => {
        const own = new SlabPool(small ? 0 : 2);
        const target = targetThat(async () => (slow ? await nextTurn() : undefined));
        await sendRange(readerOf(bytes), start, end, target, own);
        expect(target.received().equals(bytes.subarray(start, end + 1))).toBe(true);
        expect(own.used).toBe(0);
      }),
      { numRuns: 50 },
    );
  });

  it('sends nothing of an empty blob', async () => {
    const target = targetThat(async () => undefined);
    const reader = readerOf(Buffer.alloc(0));
    await sendRange(reader, 0, -1, target, pool);
    expect(target.received()).toHaveLength(0);
    expect(reader.reads).toBe(0);
  });

  it('goes on where the store gives less than it is asked for', async () => {
    const whole = readerOf(bytes);
    const reader: BlobReader = { ...whole, read: (buffer, length, position) => whole.read(buffer, Math.min(length, 100_001), position) };
    const target = targetThat(async () => undefined);
    await sendRange(reader, 5, bytes.length - 1, target, pool);
    expect(target.received().equals(bytes.subarray(5))).toBe(true);
  });

  it('reads at most one piece ahead of a target that is slow', async () => {
    let go = () => {};
    const held = new Promise<void>((resolve) => (go = resolve));
    const reader = readerOf(randomBytes(20 * SLAB_BYTES));
    const target = targetThat(() => held);
    const sending = sendRange(reader, 0, reader.size - 1, target, pool);
    for (let turn = 0; turn < 100; turn++) await nextTurn();
    expect(reader.reads).toBe(2);
    expect(pool.used).toBe(2);
    go();
    await sending;
    expect(target.received()).toHaveLength(reader.size);
    await allReturned();
  });

  it('resolves only once the target has taken all', async () => {
    let go = () => {};
    const held = new Promise<void>((resolve) => (go = resolve));
    let over = false;
    const sending = sendRange(
      readerOf(bytes),
      0,
      99,
      targetThat(() => held),
      pool,
    ).then(() => (over = true));
    for (let turn = 0; turn < 20; turn++) await nextTurn();
    expect(over).toBe(false);
    go();
    await sending;
  });

  it('rejects when the blob ends early', async () => {
    const target = new PassThrough().resume();
    const last = bytes.length + 10;
    await expect(sendRange(readerOf(bytes), 0, last, target, pool)).rejects.toThrow(`the blob ends at ${bytes.length}, before ${last + 1}`);
    await allReturned();
  });

  it.each([1, 2, 3])('rejects when read %i fails', async (which) => {
    const failure = new Error('i/o error');
    const reader = readerOf(bytes, (count) => (count === which ? Promise.reject(failure) : undefined));
    await expect(sendRange(reader, 0, bytes.length - 1, targetThat(nextTurn), pool)).rejects.toBe(failure);
    await allReturned();
  });

  it('rejects when the target fails', async () => {
    const failure = new Error('broken pipe');
    const target = targetThat(() => nextTurn().then(() => Promise.reject(failure)));
    await expect(sendRange(readerOf(bytes), 0, bytes.length - 1, target, pool)).rejects.toThrow();
    await allReturned();
  });

  it('rejects when the target was gone before', async () => {
    const target = targetThat(async () => undefined);
    target.destroy();
    await expect(sendRange(readerOf(bytes), 0, bytes.length - 1, target, pool)).rejects.toThrow('the client went away');
    await allReturned();
  });

  it('rejects when the target goes away while it takes a piece', async () => {
    const never = new Promise<void>(() => undefined);
    const target = targetThat(() => never);
    const sending = sendRange(readerOf(bytes), 0, bytes.length - 1, target, pool);
    sending.catch(() => undefined);
    for (let turn = 0; turn < 5; turn++) await nextTurn();
    target.destroy();
    await expect(sending).rejects.toThrow('the client went away');
    await allReturned();
  });

  it('rejects when the target goes away while the store is slow, and brings nobody else down', async () => {
    let go = () => {};
    const held = new Promise<void>((resolve) => (go = resolve));
    const never = new Promise<void>(() => undefined);
    const target = targetThat(() => never);
    const reader = readerOf(bytes, (count) => (count === 2 ? held : undefined));
    const sending = sendRange(reader, 0, bytes.length - 1, target, pool);
    sending.catch(() => undefined);
    await expect.poll(() => reader.reads).toBe(2);
    target.destroy();
    for (let turn = 0; turn < 5; turn++) await nextTurn();
    go();
    await expect(sending).rejects.toThrow('the client went away');
    await allReturned();
  });

  it('leaves no listener on a target that is used again', async () => {
    const target = new PassThrough().resume();
    const before = target.listenerCount('close');
    for (let i = 0; i < 20; i++) await sendRange(readerOf(bytes), 0, bytes.length - 1, target, pool);
    expect(target.listenerCount('close')).toBe(before);
  });
});
