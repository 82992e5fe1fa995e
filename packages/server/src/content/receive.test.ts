import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { digestOf } from '@entrepot/oci';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BlobReader, BlobStore, UploadWriter } from './blob-store.ts';
import { openFileStore } from './file-store.ts';
import { createInlineHash, HashThreads, type StreamHash } from './hashing.ts';
import { createStreamHash, hashReader, type Received, receive } from './receive.ts';
import { SLAB_BYTES, SlabPool } from './slabs.ts';

const threads = new HashThreads(1);
let folder: string;
let store: BlobStore;
let uploads = 0;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'entrepot-receive-'));
  store = openFileStore(folder);
});
afterAll(async () => {
  await threads.close();
  rmSync(folder, { recursive: true });
});

/** A stream of fresh copies of some pieces, as reading a socket gives them: the receiver may take their memory. */
async function* streamOf(pieces: readonly Uint8Array[], end?: unknown): AsyncGenerator<Uint8Array> {
  for (const piece of pieces) yield Uint8Array.from(piece);
  if (end !== undefined) throw end === null ? undefined : end;
}

/** A writer that keeps what it is told; `before` each write. */
function memoryWriter(before: (count: number) => unknown = () => undefined): UploadWriter & { readonly bytes: Buffer; writes: number } {
  let bytes = Buffer.alloc(0);
  let writing = false;
  const writer = {
    writes: 0,
    get bytes() {
      return bytes;
    },
    async write(buffer: Uint8Array, length: number, position: number) {
      if (writing) throw new Error('two writes at once');
      if (position !== bytes.length) throw new Error(`a write at ${position} of ${bytes.length}`);
      writing = true;
      try {
        await before(++writer.writes);
        bytes = Buffer.concat([bytes, buffer.subarray(0, length)]);
      } finally {
        writing = false;
      }
    },
    flush: async () => undefined,
    rewind: async () => undefined,
    close: async () => undefined,
  };
  return writer;
}

type Options = Parameters<typeof receive>[0];

const tooMany = new Error('too many');
function take(source: AsyncIterable<Uint8Array>, writer: UploadWriter, more: Partial<Options> = {}): Promise<Received> {
  const pool = new SlabPool(8);
  return receive({ source, writer, position: 0, hash: undefined, pool, limit: 1 << 30, onTooMany: () => tooMany, ...more });
}

/** Something that stands still until it is opened. */
function gate(): { readonly passed: Promise<void>; open(): void } {
  let open = () => {};
  const passed = new Promise<void>((resolve) => (open = resolve));
  return { passed, open };
}

describe('receive', () => {
  it('makes of any bytes in any pieces the same file and digest', async () => {
    const size = fc.oneof(fc.nat(100), fc.constantFrom(16_383, 16_384, 65_535, 65_536, 65_537, 200_000));
    const run = fc.record({
      sizes: fc.array(size, { maxLength: 12 }),
      before: fc.nat(1000),
      inline: fc.boolean(),
      large: fc.boolean(),
      broken: fc.option(fc.constant(new Error('cut')), { nil: undefined }),
    });
    await fc.assert(
      fc.asyncProperty(run, async ({ sizes, before, inline, large, broken }) => {
        const id = `upload-${++uploads}`;
        const pieces = sizes.map((length) => randomBytes(length));
        const [start, whole] = [randomBytes(before), Buffer.concat(pieces)];
        const pool = new SlabPool(large ? 4 : 0);
        const hash = inline ? createInlineHash('sha256') : threads.create('sha256');
        await hash.update(start, start.length);
        const writer = await store.openUpload(id, { fence: false });
        await writer.write(start, start.length, 0);
        const received = await take(streamOf(pieces, broken), writer, { position: before, hash, pool });
        await writer.close();
        const reader = await store.openUploadForReading(id);
        const found = Buffer.alloc(reader.size);
        await reader.read(found, found.length, 0);
        await reader.close();
        await store.removeUpload(id);
        expect(received).toEqual({ bytes: whole.length, interrupted: broken });
        expect(found.equals(Buffer.concat([start, whole]))).toBe(true);
        expect(await hash.digest()).toBe(digestOf(found));
        expect(pool.used).toBe(0);
        hash.dispose();
      }),
      { numRuns: 60 },
    );
  });

  it('writes in order, each byte once, and hands whole slabs on', async () => {
    const bytes = randomBytes(3 * SLAB_BYTES + 5);
    const writer = memoryWriter(nextTurn);
    const pieces = Array.from({ length: Math.ceil(bytes.length / 65_536) }, (_, i) => bytes.subarray(i * 65_536, (i + 1) * 65_536));
    await take(streamOf(pieces), writer);
    expect(writer.bytes.equals(bytes)).toBe(true);
    expect(writer.writes).toBe(4);
  });

  it('takes exactly as much as the limit allows', async () => {
    const piece = fc.uint8Array({ minLength: 1, maxLength: 50 });
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { minLength: 1, maxLength: 8 }), fc.integer({ min: -3, max: 3 }), async (pieces, off) => {
        const whole = Buffer.concat(pieces);
        const limit = Math.max(0, whole.length + off);
        const writer = memoryWriter();
        const { bytes, interrupted } = await take(streamOf(pieces), writer, { limit });
        expect(interrupted).toBe(whole.length > limit ? tooMany : undefined);
        expect(bytes).toBe(writer.bytes.length);
        expect(bytes).toBeLessThanOrEqual(limit);
        expect(writer.bytes.equals(whole.subarray(0, bytes))).toBe(true);
        if (off >= 0) expect(bytes).toBe(whole.length);
      }),
    );
  });

  it('stops reading at the limit', async () => {
    let given = 0;
    async function* endless() {
      for (;;) {
        given++;
        yield new Uint8Array(1000);
      }
    }
    expect((await take(endless(), memoryWriter(), { limit: 10_000 })).interrupted).toBe(tooMany);
    expect(given).toBe(11);
  });

  it('names something even where a source breaks off with nothing', async () => {
    const { bytes, interrupted } = await take(streamOf([randomBytes(10)], null), memoryWriter());
    expect(bytes).toBe(10);
    expect(interrupted).toBeInstanceOf(Error);
  });

  it.each([1, 2, 5])('rejects when write %i fails, writes nothing after it, lets the source go and returns every slab', async (which) => {
    const failure = new Error('no space');
    const pool = new SlabPool(8);
    let open = true;
    async function* endless() {
      try {
        for (;;) yield new Uint8Array(60_000);
      } finally {
        open = false;
      }
    }
    const writer = memoryWriter((count) => (count === which ? Promise.reject(failure) : nextTurn()));
    await expect(take(endless(), writer, { pool, hash: createInlineHash('sha256') })).rejects.toBe(failure);
    expect(writer.writes).toBe(which);
    expect(open).toBe(false);
    expect(pool.used).toBe(0);
  });

  it('rejects when the last write fails, after the source has ended', async () => {
    const failure = new Error('no space');
    const pool = new SlabPool(1);
    await expect(
      take(
        streamOf([randomBytes(10)]),
        memoryWriter(() => Promise.reject(failure)),
        { pool },
      ),
    ).rejects.toBe(failure);
    expect(pool.used).toBe(0);
  });

  it('rejects when hashing fails, and only once the write of the same bytes is over', async () => {
    const failure = new Error('a hash thread ended');
    const written = gate();
    let over = false;
    const writer = memoryWriter(() => written.passed);
    const hash: StreamHash = { ...createInlineHash('sha256'), update: () => Promise.reject(failure) };
    const pool = new SlabPool(8);
    const end = take(streamOf([randomBytes(2 * SLAB_BYTES)]), writer, { hash, pool }).finally(() => (over = true));
    end.catch(() => undefined);
    for (let turn = 0; turn < 10; turn++) await nextTurn();
    expect(over).toBe(false);
    expect(pool.used).toBeGreaterThan(0);
    written.open();
    await expect(end).rejects.toBe(failure);
    expect(pool.used).toBe(0);
  });

  it.each(['write', 'hash'] as const)('holds the source back while a slow %s is behind', async (what) => {
    const held = gate();
    const pool = new SlabPool(100);
    let given = 0;
    async function* source() {
      for (; given < 400; given++) yield new Uint8Array(65_536);
    }
    const writer = memoryWriter(() => (what === 'write' ? held.passed : undefined));
    const slow: StreamHash = { ...createInlineHash('sha256'), update: () => (what === 'hash' ? held.passed : Promise.resolve()) };
    const end = take(source(), writer, { hash: slow, pool });
    for (let turn = 0; turn < 1000; turn++) await nextTurn();
    const most = 4; // three on their way, one being filled
    expect(pool.used).toBeLessThanOrEqual(most);
    expect(given).toBeLessThanOrEqual((most * SLAB_BYTES) / 65_536);
    expect(given).toBeGreaterThan(0);
    held.open();
    expect((await end).bytes).toBe(400 * 65_536);
    expect(pool.used).toBe(0);
  });

  it('does not give a slab away that the hash still reads', async () => {
    const bytes = randomBytes(6 * SLAB_BYTES);
    const inline = createInlineHash('sha256');
    const late: StreamHash = {
      ...inline,
      update: async (slab, length) => {
        for (let turn = 0; turn < 20; turn++) await nextTurn();
        await inline.update(slab, length);
      },
    };
    await take(streamOf([bytes]), memoryWriter(), { hash: late });
    expect(await late.digest()).toBe(digestOf(bytes));
  });

  it('flushes a long transfer on its way, and rejects when that fails', async () => {
    let flushes = 0;
    const piece = randomBytes(SLAB_BYTES);
    const writer = (failure?: Error): UploadWriter => ({
      write: async () => undefined,
      flush: async () => {
        flushes++;
        if (failure) throw failure;
      },
      rewind: async () => undefined,
      close: async () => undefined,
    });
    const long = Array.from({ length: 100 }, () => piece);
    expect((await take(streamOf(long), writer())).bytes).toBe(100 * SLAB_BYTES);
    expect(flushes).toBeGreaterThan(1);
    expect(flushes).toBeLessThan(10);
    const failure = new Error('i/o error');
    await expect(take(streamOf(long), writer(failure))).rejects.toBe(failure);
  });

  it('is over only when a flush that was begun is, and fails with it', async () => {
    const flushed = gate();
    const failure = new Error('i/o error');
    const writer = (fails: boolean): UploadWriter => ({
      ...memoryWriter(),
      write: async () => undefined,
      flush: () => flushed.passed.then(() => (fails ? Promise.reject(failure) : undefined)),
    });
    const long = Array.from({ length: 40 }, () => randomBytes(SLAB_BYTES));
    let over = 0;
    const ends = [false, true].map((fails) => take(streamOf(long), writer(fails)).finally(() => over++));
    const results = Promise.allSettled(ends);
    for (let turn = 0; turn < 100; turn++) await nextTurn();
    expect(over).toBe(0);
    flushed.open();
    expect((await results).map((end) => (end.status === 'rejected' ? end.reason : end.value.bytes))).toEqual([40 * SLAB_BYTES, failure]);
  });

  it('frees the memory of large pieces that are nobody else’s, and of no other', async () => {
    const own = new Uint8Array(100_000);
    const around = new Uint8Array(100_000);
    const small = new Uint8Array(100);
    async function* source() {
      yield own;
      yield around.subarray(10, 90_000);
      yield small;
    }
    expect((await take(source(), memoryWriter())).bytes).toBe(100_000 + 89_990 + 100);
    expect([own.length, around.length, small.length]).toEqual([0, 100_000, 100]);
  });
});

describe('hashing what is stored', () => {
  it('reads all of it and returns its slab', async () => {
    const bytes = randomBytes(2 * SLAB_BYTES + 3);
    const reader: BlobReader = {
      size: bytes.length,
      // Gives less than it is asked for, as a system may.
      read: async (buffer, length, position) => bytes.copy(buffer, 0, position, position + Math.min(length, 100_000)),
      close: async () => undefined,
    };
    const pool = new SlabPool(1);
    const hash = createStreamHash('sha512', bytes.length, threads);
    await hashReader(reader, hash, pool);
    expect(await hash.digest()).toBe(digestOf(bytes, 'sha512'));
    expect(pool.used).toBe(0);
    hash.dispose();
    const broken: BlobReader = { ...reader, read: () => Promise.reject(new Error('i/o error')) };
    await expect(hashReader(broken, createInlineHash('sha256'), pool)).rejects.toThrow('i/o error');
    expect(pool.used).toBe(0);
  });
});
