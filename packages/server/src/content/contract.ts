import { randomBytes } from 'node:crypto';
import { type DigestAlgorithm, digestOf } from '@entrepot/oci';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BlobReader, BlobStore } from './blob-store.ts';

/** One storage, and what a test must be able to do to it behind the store's back. */
export interface TestStorage {
  /** Each call opens another store on the same storage, as another process would. */
  open(): BlobStore | Promise<BlobStore>;
  /** Replaces a blob's bytes, as a failing disk does. */
  damage(digest: string, bytes: Uint8Array): Promise<void>;
  /** Makes an upload look as if its last byte came at a time (milliseconds since 1970). */
  age(id: string, time: number): Promise<void>;
  remove(): Promise<void>;
}

/** What rooms rely on, whatever holds the bytes. */
export function blobStoreContract(name: string, storage: () => TestStorage | Promise<TestStorage>): void {
  describe(`blob store contract on ${name}`, () => {
    let at: TestStorage;
    let store: BlobStore;
    let other: BlobStore;
    let uploads = 0;
    const newUpload = () => `upload-${++uploads}`;

    beforeEach(async () => {
      at = await storage();
      store = await at.open();
      other = await at.open();
    });
    afterEach(() => at.remove());

    const text = (value: string) => Buffer.from(value);

    /** Writes pieces to an upload, each by a writer of its own that continues at the end. */
    async function append(id: string, ...pieces: Uint8Array[]): Promise<void> {
      for (const piece of pieces) {
        const position = await store.uploadSize(id);
        const writer = await store.openUpload(id, { fence: false });
        await writer.write(piece, piece.length, position);
        await writer.close();
      }
    }

    async function content(from: BlobStore, digest: string): Promise<Buffer | undefined> {
      const reader = await from.open(digest);
      return reader && (await readAll(reader));
    }

    async function stale(before: number): Promise<string[]> {
      const found: string[] = [];
      for await (const id of store.staleUploads(before)) found.push(id);
      return found.sort();
    }

    describe('a blob', () => {
      it('is not there before it is stored', async () => {
        expect(await store.open(digestOf('nothing'))).toBeUndefined();
      });

      it('is gone in all stores once removed, and comes back when stored again', async () => {
        const bytes = randomBytes(1000);
        const digest = digestOf(bytes);
        await store.remove(digest);
        await store.put(digest, bytes);
        await other.remove(digest);
        expect(await content(store, digest)).toBeUndefined();
        await store.put(digest, bytes);
        expect(await content(other, digest)).toEqual(bytes);
      });

      it('that is damaged is replaced by a commit that is told so, whatever its size', async () => {
        const bytes = randomBytes(300_000);
        const digest = digestOf(bytes);
        const id = newUpload();
        await append(id, bytes);
        await store.commit(id, digest, bytes.length);
        await at.damage(digest, randomBytes(bytes.length));
        const again = newUpload();
        await append(again, bytes);
        await other.commit(again, digest, bytes.length, { replace: true });
        expect(await content(store, digest)).toEqual(bytes);
      });

      it('is listed with its size, and no other thing is', async () => {
        const found = async () => {
          const all: string[] = [];
          for await (const { digest, size } of other.blobs()) all.push(`${digest} ${size}`);
          return all.sort();
        };
        expect(await found()).toEqual([]);
        const blobs = [text(''), text('one'), randomBytes(100_000)].map((bytes) => ({ digest: digestOf(bytes), bytes }));
        const long = { digest: digestOf('long', 'sha512'), bytes: text('long') };
        for (const { digest, bytes } of [...blobs, long]) await store.put(digest, bytes);
        await append(newUpload(), text('not yet a blob'));
        await store.remove(digestOf('one'));
        const left = [...blobs, long].filter(({ digest }) => digest !== digestOf('one'));
        expect(await found()).toEqual(left.map(({ digest, bytes }) => `${digest} ${bytes.length}`).sort());
      });

      it.each<[string, DigestAlgorithm, Buffer]>([
        ['of some bytes', 'sha256', randomBytes(1000)],
        ['under its sha512 digest', 'sha512', randomBytes(1000)],
        ['of no bytes', 'sha256', Buffer.alloc(0)],
        ['of no bytes under its sha512 digest', 'sha512', Buffer.alloc(0)],
        ['of several megabytes', 'sha256', randomBytes(3_000_001)],
      ])('%s is the same in all stores, put or committed', async (_, algorithm, bytes) => {
        const digest = digestOf(bytes, algorithm);
        await store.put(digest, bytes);
        expect(await content(store, digest)).toEqual(bytes);
        expect(await content(other, digest)).toEqual(bytes);

        const second = Buffer.concat([bytes, text('more')]);
        const id = newUpload();
        await append(id, bytes, text('more'));
        await store.commit(id, digestOf(second, algorithm), second.length);
        expect(await content(other, digestOf(second, algorithm))).toEqual(second);
      });

      it('is not the same under another algorithm', async () => {
        const bytes = randomBytes(100);
        await store.put(digestOf(bytes), bytes);
        expect(await store.open(digestOf(bytes, 'sha512'))).toBeUndefined();
      });

      it('has a size, and gives any part of it', async () => {
        const bytes = randomBytes(5000);
        await store.put(digestOf(bytes), bytes);
        const reader = await opened(store, digestOf(bytes));
        expect(reader.size).toBe(bytes.length);
        await fc.assert(
          fc.asyncProperty(fc.nat(6000), fc.integer({ min: 1, max: 6000 }), async (position, length) => {
            const buffer = Buffer.alloc(6000);
            const count = await reader.read(buffer, length, position);
            const wanted = bytes.subarray(position, position + length);
            expect(count).toBe(wanted.length); // a reader may give less, but not of so little
            expect(buffer.subarray(0, count).equals(wanted)).toBe(true);
            expect(buffer.subarray(length).every((byte) => byte === 0)).toBe(true);
          }),
        );
        await reader.close();
      });

      it('can be stored again, also from both sides at once', async () => {
        const bytes = randomBytes(200_000);
        const digest = digestOf(bytes);
        const ids = Array.from({ length: 8 }, newUpload);
        for (const id of ids) await append(id, bytes);
        await Promise.all([
          ...ids.map((id, index) => (index % 2 === 0 ? store : other).commit(id, digest, bytes.length)),
          ...Array.from({ length: 4 }, (_, index) => (index % 2 === 0 ? store : other).put(digest, bytes)),
        ]);
        expect(await content(store, digest)).toEqual(bytes);
        for (const id of ids) expect(await store.uploadSize(id)).toBe(0);
        expect(await stale(Number.MAX_SAFE_INTEGER)).toEqual([]);
      });

      it('stays whole for who reads it while it is stored again', async () => {
        const bytes = randomBytes(100_000);
        const digest = digestOf(bytes);
        await store.put(digest, bytes);
        const reader = await opened(store, digest);
        const first = Buffer.alloc(50_000);
        await reader.read(first, first.length, 0);
        await other.put(digest, bytes);
        const rest = Buffer.alloc(50_000);
        expect(await reader.read(rest, rest.length, 50_000)).toBe(50_000);
        expect(Buffer.concat([first, rest]).equals(bytes)).toBe(true);
        await reader.close();
      });

      it.each(['put', 'commit'] as const)('that was damaged is mended by a %s of the same digest', async (how) => {
        const bytes = randomBytes(1000);
        const digest = digestOf(bytes);
        await store.put(digest, bytes);
        await at.damage(digest, text('other bytes'));
        expect((await opened(store, digest).then(readAll)).equals(bytes)).toBe(false);
        if (how === 'put') await store.put(digest, bytes);
        else {
          const id = newUpload();
          await append(id, bytes);
          await store.commit(id, digest, bytes.length);
        }
        expect(await content(other, digest)).toEqual(bytes);
      });

      it('of many at once is each what it should be', async () => {
        const all = Array.from({ length: 40 }, (_, index) => randomBytes(index * 100));
        await Promise.all(all.map((bytes, index) => (index % 2 === 0 ? store : other).put(digestOf(bytes), bytes)));
        for (const bytes of all) expect(await content(store, digestOf(bytes))).toEqual(bytes);
      });

      it('outside the grammar is never looked for', async () => {
        for (const digest of ['', 'sha256:..', `sha256:${'A'.repeat(64)}`, `md5:${'a'.repeat(32)}`, `sha256:../${'a'.repeat(61)}`]) {
          await expect(store.open(digest)).rejects.toThrow();
          await expect(store.put(digest, text('x'))).rejects.toThrow();
        }
        expect(await stale(Number.MAX_SAFE_INTEGER)).toEqual([]);
      });
    });

    describe('an upload', () => {
      it('has no bytes before it has any', async () => {
        expect(await store.uploadSize(newUpload())).toBe(0);
      });

      it('is continued at its end, by any store, and can be read meanwhile', async () => {
        await fc.assert(
          fc.asyncProperty(
            fc.array(fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 300 }), fc.boolean()), { maxLength: 5 }),
            async (pieces) => {
              const id = newUpload();
              let whole = Buffer.alloc(0);
              for (const [piece, here] of pieces) {
                const side = here ? store : other;
                expect(await side.uploadSize(id)).toBe(whole.length);
                const writer = await side.openUpload(id, { fence: false });
                await writer.write(piece, piece.length, whole.length);
                if (here) await writer.flush();
                await writer.close();
                whole = Buffer.concat([whole, piece]);
                expect(await readAll(await side.openUploadForReading(id))).toEqual(whole);
              }
              await other.commit(id, digestOf(whole), whole.length);
              expect(await content(store, digestOf(whole))).toEqual(whole);
              expect(await store.uploadSize(id)).toBe(0);
            },
          ),
          { numRuns: 25 },
        );
      });

      it('is no blob before it is committed', async () => {
        const bytes = randomBytes(100);
        const id = newUpload();
        await append(id, bytes);
        expect(await store.open(digestOf(bytes))).toBeUndefined();
      });

      it('keeps a beginning of what a writer wrote that never closed, and goes on from there', async () => {
        const [id, bytes] = [newUpload(), randomBytes(1000)];
        await append(id, bytes.subarray(0, 500));
        const writer = await store.openUpload(id, { fence: false });
        await writer.write(bytes.subarray(500, 900), 400, 500);
        const kept = await other.uploadSize(id);
        expect(kept).toBeGreaterThanOrEqual(500);
        const next = await other.openUpload(id, { fence: true });
        await next.write(bytes.subarray(kept), 1000 - kept, kept);
        await next.close();
        await writer.close();
        await other.commit(id, digestOf(bytes), 1000);
        expect(await content(store, digestOf(bytes))).toEqual(bytes);
      });

      it('takes the first bytes of a larger buffer', async () => {
        const id = newUpload();
        const writer = await store.openUpload(id, { fence: false });
        await writer.write(text('some and more'), 4, 0);
        await writer.write(text('thing else'), 5, 4);
        await writer.close();
        expect(await readAll(await store.openUploadForReading(id))).toEqual(text('something'));
      });

      it('that another may still hold open is fenced: what comes late reaches nobody', async () => {
        const id = newUpload();
        await append(id, text('first '));
        const late = await store.openUpload(id, { fence: false });
        await late.write(text('late'), 4, 6);
        const kept = await other.uploadSize(id);
        const writer = await other.openUpload(id, { fence: true });
        const refused = () => undefined; // it may also be told that it comes late
        await late.write(text('xxxxxxxxxxxx'), 12, 0).catch(refused);
        await writer.write(text('second'), 6, kept);
        await late.write(text('yyyyyyyyyyyy'), 12, 12).catch(refused);
        await late.rewind(0).catch(refused);
        await late.close().catch(refused);
        await writer.close();
        const whole = Buffer.concat([text('first late').subarray(0, kept), text('second')]);
        expect(await store.uploadSize(id)).toBe(whole.length);
        await store.commit(id, digestOf(whole), whole.length);
        expect(await content(store, digestOf(whole))).toEqual(whole);
        expect(await stale(Number.MAX_SAFE_INTEGER)).toEqual([]);
      });

      it('is not committed with another size than was verified, least of all over a good blob', async () => {
        const digest = digestOf('bytes');
        await store.put(digest, text('bytes'));
        const [short, gone] = [newUpload(), newUpload()];
        await append(short, text('byte'));
        await expect(store.commit(short, digest, 5)).rejects.toThrow();
        await expect(store.commit(gone, digest, 5)).rejects.toThrow();
        expect(await content(other, digest)).toEqual(text('bytes'));
        await append(short, text('s'));
        await store.commit(short, digest, 5);
        expect(await content(other, digest)).toEqual(text('bytes'));
      });

      it('can be fenced before it has a byte', async () => {
        const id = newUpload();
        const writer = await store.openUpload(id, { fence: true });
        await writer.write(text('bytes'), 5, 0);
        await writer.close();
        expect(await readAll(await store.openUploadForReading(id))).toEqual(text('bytes'));
      });

      it('is taken back to a length, and goes on from there', async () => {
        const id = newUpload();
        await append(id, text('kept, '));
        const writer = await store.openUpload(id, { fence: false });
        await writer.write(text('not kept at all'), 15, 6);
        await writer.rewind(6);
        expect(await store.uploadSize(id)).toBe(6);
        await writer.close();
        await append(id, text('new'));
        expect(await readAll(await store.openUploadForReading(id))).toEqual(text('kept, new'));
      });

      it('is gone once it is removed, and removing it again is no mistake', async () => {
        const id = newUpload();
        await append(id, text('bytes'));
        await other.removeUpload(id);
        expect(await store.uploadSize(id)).toBe(0);
        await expect(store.openUploadForReading(id)).rejects.toThrow();
        await store.removeUpload(id);
        await append(id, text('anew'));
        expect(await readAll(await store.openUploadForReading(id))).toEqual(text('anew'));
      });

      it('is stale when its last byte came before a time', async () => {
        const [old, young] = [newUpload(), newUpload()];
        await append(old, text('bytes'));
        await append(young, text('bytes'));
        const hour = 3_600_000;
        await at.age(old, Date.now() - 2 * hour);
        expect(await stale(Date.now() - hour)).toEqual([old]);
        expect(await stale(Date.now() - 3 * hour)).toEqual([]);
        await append(old, text('more'));
        expect(await stale(Date.now() - hour)).toEqual([]);
        await store.commit(young, digestOf('bytes'), 5);
        expect(await stale(Date.now() + hour)).toEqual([old]);
      });

      it('may end while stale ones are looked for', async () => {
        const ids = Array.from({ length: 300 }, newUpload);
        await Promise.all(ids.map((id) => append(id, text('x'))));
        const found: string[] = [];
        for await (const id of store.staleUploads(Number.MAX_SAFE_INTEGER)) {
          if (found.length === 0) await Promise.all(ids.map((each) => other.removeUpload(each)));
          found.push(id);
        }
        expect(found.length).toBeGreaterThan(0);
        expect(new Set(found).size).toBe(found.length);
      });
    });

    it('says that it can be written to, and leaves nothing behind', async () => {
      await store.ping();
      expect(await stale(Number.MAX_SAFE_INTEGER)).toEqual([]);
    });

    it('keeps everything for a store that is opened later', async () => {
      const id = newUpload();
      await append(id, text('half'));
      await store.put(digestOf('blob'), text('blob'));
      const later = await at.open();
      expect(await content(later, digestOf('blob'))).toEqual(text('blob'));
      expect(await later.uploadSize(id)).toBe(4);
    });
  });
}

async function opened(store: BlobStore, digest: string): Promise<BlobReader> {
  const reader = await store.open(digest);
  if (!reader) throw new Error(`${digest} is not there`);
  return reader;
}

/** All bytes of a reader, read in pieces of odd sizes; closes it. */
async function readAll(reader: BlobReader): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let position = 0;
  reader.announce?.(0, reader.size - 1);
  for (;;) {
    const piece = Buffer.alloc(65_537);
    const count = await reader.read(piece, piece.length, position);
    if (count === 0) break;
    pieces.push(piece.subarray(0, count));
    position += count;
  }
  await reader.close();
  if (position !== reader.size) throw new Error(`a reader gave ${position} bytes, it says ${reader.size}`);
  return Buffer.concat(pieces);
}
