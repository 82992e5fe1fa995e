import { randomBytes } from 'node:crypto';
import { digestOf } from '@entrepot/oci';
import { afterEach, describe, expect, it } from 'vitest';
import type { BlobReader, BlobStore } from '../blob-store.ts';
import { readContent } from '../encryption/testing.ts';
import { type TestTiers, tieredFiles } from './testing.ts';

/** Machines that run much beside. */
const SOON = { timeout: 20_000 };
const none = new AbortController().signal;
const MIB = 1 << 20;
const bytes = randomBytes(4 * MIB);
const digest = digestOf(bytes);
const PULLED = { pulled: true };

/** A cold tier that gives bytes up to a gate, and counts who asks for which. */
function gated() {
  let open = Number.POSITIVE_INFINITY;
  let failing: Error | undefined;
  let waiting: (() => void)[] = [];
  const reads: { position: number; length: number }[] = [];
  let readers = 0;
  return {
    reads,
    get readers() {
      return readers;
    },
    upTo(position: number) {
      open = position;
      for (const each of waiting) each();
      waiting = [];
    },
    fail(error: Error | undefined) {
      failing = error;
    },
    around: (base: BlobStore): BlobStore => ({
      ...base,
      async open(wanted) {
        const reader = await base.open(wanted);
        if (!reader) return undefined;
        readers++;
        const { descriptor: _, ...rest } = reader;
        return {
          ...rest,
          async read(buffer, length, position) {
            if (failing) throw failing;
            while (position + length > open && position >= open) await new Promise<void>((resolve) => waiting.push(resolve));
            reads.push({ position, length });
            return await reader.read(buffer, Math.min(length, Math.max(1, open - position)), position);
          },
        } satisfies BlobReader;
      },
    }),
  };
}

/** What never comes, until it is released: then it fails, also for who asks only then. */
function standstill(): { readonly still: Promise<never>; release(): void } {
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => undefined);
  return { still: promise, release: () => reject(new Error('enough')) };
}

describe('a cold blob that is fetched while it is read', () => {
  let at: TestTiers | undefined;
  afterEach(() => at?.remove());

  async function coldBlob(options: Parameters<typeof tieredFiles>[0] = {}) {
    const gate = gated();
    at = await tieredFiles({ ...options, around: { cold: gate.around, ...options.around } });
    await at.store.put(digest, bytes);
    await at.tiers.demote(digest, none);
    await at.run('tiers.sweep');
    gate.reads.length = 0;
    return { at, gate };
  }

  const pulled = async (store: BlobStore): Promise<BlobReader> => {
    const reader = await store.open(digest, PULLED);
    if (!reader) throw new Error('the blob is not there');
    return reader;
  };
  const read = async (reader: BlobReader, position: number, length: number) => {
    const buffer = Buffer.alloc(length);
    let done = 0;
    while (done < length) {
      const count = await reader.read(buffer.subarray(done), length - done, position + done);
      if (count === 0) break;
      done += count;
    }
    return buffer.subarray(0, done);
  };

  it('gives what has arrived to all, and each byte of it comes from the cold tier once', async () => {
    const { at: tiers, gate } = await coldBlob();
    gate.upTo(MIB);
    const readers = await Promise.all(Array.from({ length: 10 }, () => pulled(tiers.store)));
    for (const reader of readers) expect((await read(reader, 0, MIB)).equals(bytes.subarray(0, MIB))).toBe(true);
    const rest = Promise.all(readers.map((reader) => read(reader, MIB, 3 * MIB)));
    gate.upTo(Number.POSITIVE_INFINITY);
    for (const each of await rest) expect(each.equals(bytes.subarray(MIB))).toBe(true);
    expect(gate.reads.reduce((sum, { length }) => sum + length, 0)).toBeLessThan(5 * MIB);
    await Promise.all(readers.map((reader) => reader.close()));
    await expect.poll(() => tiers.row(digest), SOON).toMatchObject({ tier: 'hot' });
  });

  it('goes on when the reader that began it goes away', async () => {
    const { at: tiers, gate } = await coldBlob();
    gate.upTo(MIB);
    const [first, second] = [await pulled(tiers.store), await pulled(tiers.store)];
    await read(first, 0, 1000);
    await first.close();
    gate.upTo(Number.POSITIVE_INFINITY);
    expect((await readContent(second)).equals(bytes)).toBe(true);
    await expect.poll(() => tiers.row(digest), SOON).toMatchObject({ tier: 'hot' });
  });

  it('gives a range far beyond what has arrived from the cold tier, at once', async () => {
    const { at: tiers } = await coldBlob({ limits: { nearBytes: MIB } });
    // The hot tier stands still: nothing arrives.
    const { still, release } = standstill();
    const stuck = await tiers.another({
      limits: { nearBytes: MIB },
      around: { hot: (base) => ({ ...base, openUpload: () => still }) },
    });
    const reader = await pulled(stuck.store);
    reader.announce?.(3 * MIB, 4 * MIB - 1);
    expect((await read(reader, 3 * MIB, MIB)).equals(bytes.subarray(3 * MIB))).toBe(true);
    await reader.close();
    release();
  });

  it('goes on from the cold tier where the fetch stands still', async () => {
    const { at: tiers } = await coldBlob();
    const { still, release } = standstill();
    const stuck = await tiers.another({
      limits: { patienceMs: 20 },
      around: { hot: (base) => ({ ...base, openUpload: () => still }) },
    });
    expect((await readContent(await pulled(stuck.store))).equals(bytes)).toBe(true);
    release();
  });

  it.each([
    ['is full from the start', 0],
    ['fills up on the way', 2 * MIB],
  ])('is served where the hot tier %s, and stays cold', async (_, room) => {
    const { at: tiers } = await coldBlob();
    const full = await tiers.another({
      around: {
        hot: (base) => ({
          ...base,
          async openUpload(id, options) {
            const writer = await base.openUpload(id, options);
            return {
              ...writer,
              async write(buffer, length, position) {
                if (position + length > room) throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
                await writer.write(buffer, length, position);
              },
            };
          },
        }),
      },
    });
    for (let times = 0; times < 3; times++) expect((await readContent(await pulled(full.store))).equals(bytes)).toBe(true);
    await expect.poll(async () => (await tiers.row(digest))?.task, SOON).toBeNull();
    await tiers.run('tiers.sweep');
    expect(await tiers.row(digest)).toMatchObject({ tier: 'cold', leftover: null });
    expect(await tiers.copies(digest)).toEqual(['cold']);
    expect(await Array.fromAsync(tiers.hot.staleUploads(Date.now() + 1000))).toEqual([]);
    expect(await full.tiers.promote(digest, none)).toBe('full');
  });

  it('is not fetched where too little of the disk would stay free', async () => {
    const { at: tiers } = await coldBlob();
    const small = await tiers.another({ room: () => ({ free: bytes.length + 1000, total: 100 * MIB }) });
    expect((await readContent(await pulled(small.store))).equals(bytes)).toBe(true);
    expect(await small.tiers.promote(digest, none)).toBe('full');
    expect(await tiers.copies(digest)).toEqual(['cold']);
  });

  it('is not fetched while as many are as may be at once', async () => {
    const { at: tiers, gate } = await coldBlob({ limits: { fetches: 1 } });
    const other = randomBytes(MIB);
    await tiers.store.put(digestOf(other), other);
    await tiers.tiers.demote(digestOf(other), none);
    await tiers.run('tiers.sweep');
    gate.upTo(1000);
    const first = await pulled(tiers.store);
    const second = await tiers.store.open(digestOf(other), PULLED);
    gate.upTo(Number.POSITIVE_INFINITY);
    expect((await readContent(second)).equals(other)).toBe(true);
    expect((await readContent(first)).equals(bytes)).toBe(true);
    await expect.poll(() => tiers.row(digest), SOON).toMatchObject({ tier: 'hot' });
    expect(await tiers.copies(digestOf(other))).toEqual(['cold']);
  });

  it('is fetched by one process, and served by others meanwhile', async () => {
    const { at: tiers, gate } = await coldBlob();
    const other = await tiers.another({ around: {} });
    gate.upTo(MIB);
    const first = await pulled(tiers.store);
    await read(first, 0, 1000);
    expect((await readContent(await pulled(other.store))).equals(bytes)).toBe(true);
    gate.upTo(Number.POSITIVE_INFINITY);
    expect((await readContent(first)).equals(bytes)).toBe(true);
    await expect.poll(() => tiers.row(digest), SOON).toMatchObject({ tier: 'hot' });
  });

  it('fails for its readers where the cold tier fails, and can be read when that is back', async () => {
    const { at: tiers, gate } = await coldBlob();
    const reader = await pulled(tiers.store);
    gate.fail(new Error('away'));
    await expect(readContent(await pulled(tiers.store))).rejects.toThrow('away');
    await reader.close();
    gate.fail(undefined);
    expect((await readContent(await pulled(tiers.store))).equals(bytes)).toBe(true);
  });

  it('gives way to a removal, and to a push of the same bytes', async () => {
    const { at: tiers, gate } = await coldBlob();
    gate.upTo(MIB);
    const reader = await pulled(tiers.store);
    await read(reader, 0, 1000);
    const pushed = tiers.store.put(digest, bytes);
    gate.upTo(Number.POSITIVE_INFINITY);
    await pushed;
    expect((await readContent(reader)).equals(bytes)).toBe(true);
    expect(await tiers.row(digest)).toMatchObject({ tier: 'hot', leftover: 'cold' });
    await tiers.store.remove(digest);
    expect(await tiers.copies(digest)).toEqual([]);
  });

  it('ends with the store, which waits for it', async () => {
    const { at: tiers, gate } = await coldBlob();
    const other = await tiers.another();
    gate.upTo(1000);
    const reader = await pulled(other.store);
    const closing = other.store.close?.();
    gate.upTo(Number.POSITIVE_INFINITY);
    await closing;
    await reader.close();
    expect((await tiers.row(digest))?.task).toBeNull();
    expect(await tiers.copies(digest)).toContain('cold');
  });
});
