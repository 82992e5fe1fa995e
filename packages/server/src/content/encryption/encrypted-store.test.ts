import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digestOf } from '@entrepot/oci';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BlobReader, BlobStore } from '../blob-store.ts';
import { blobStoreContract } from '../contract.ts';
import { SlabPool } from '../slabs.ts';
import { CipherThreads } from './cipher-threads.ts';
import { HEADER_BYTES, RECORD_BYTES, SEALED_BYTES } from './format.ts';
import { runRecords } from './records.ts';
import { appendAll, encryptedFiles, readContent, storedPath, type TestEncryption } from './testing.ts';

blobStoreContract('encrypted files', async () => {
  const first = await encryptedFiles();
  const all: TestEncryption[] = [];
  return {
    async open() {
      const next = await first.another();
      all.push(next);
      return next.store;
    },
    damage: (digest, bytes) => writeFile(storedPath(first.root, digest), bytes),
    age: first.age,
    async remove() {
      for (const { threads } of all) await threads.close();
      await first.remove();
    },
  };
});

/** Bytes asked of the store below. */
let asked = 0;
/** What it was told that it would be asked of next. */
const announced: number[] = [];

function counting(base: BlobStore): BlobStore {
  return {
    ...base,
    async open(digest) {
      const reader = await base.open(digest);
      const read: BlobReader['read'] = async (buffer, length, position) => {
        asked += length;
        return (await reader?.read(buffer, length, position)) ?? 0;
      };
      const announce = (...range: [number, number]) => void announced.splice(0, 2, ...range);
      return reader && { size: reader.size, announce, read, close: reader.close };
    },
  };
}

let at: TestEncryption;
beforeEach(async () => {
  at = await encryptedFiles({ around: counting, maxSegments: 5 });
});
afterEach(() => at.remove());

/** All that lies on disk: store, companions, keys, database. */
function everythingUnder(folder: string): Buffer {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Buffer.concat(files.map((entry) => readFileSync(join(entry.parentPath, entry.name))));
}

describe('encrypted content', () => {
  const sizes = [0, 1, 15, 16, RECORD_BYTES - 1, RECORD_BYTES, RECORD_BYTES + 1, 3 * RECORD_BYTES, 9 * RECORD_BYTES + 17];

  it.each(sizes)('of %i bytes is what it was, put and uploaded, read in pieces of any length', async (size) => {
    const bytes = randomBytes(size);
    const digest = digestOf(bytes);
    await at.store.put(digest, bytes);
    for (const piece of [1 << 20, RECORD_BYTES, 50_000, 100_000]) {
      expect((await readContent(await at.store.open(digest), piece)).equals(bytes)).toBe(true);
    }
    await appendAll(at.store, `upload-${size}`, bytes);
    await at.store.commit(`upload-${size}`, digest, size);
    const reader = await at.store.open(digest);
    expect(reader?.size).toBe(size);
    expect(reader?.descriptor).toBeUndefined(); // the kernel would send what is stored
    expect((await readContent(reader)).equals(bytes)).toBe(true);
  });

  it('is sealed and opened by threads as on this one', async () => {
    const bytes = randomBytes(20 * RECORD_BYTES + 5);
    const digest = digestOf(bytes);
    const pool = new SlabPool(4);
    const writer = await at.store.openUpload('threads', { fence: false });
    for (let position = 0; position < bytes.length; ) {
      const slab = pool.take();
      const length = Math.min(slab.length, bytes.length - position);
      slab.set(bytes.subarray(position, position + length));
      await writer.write(slab, length, position);
      position += length;
      pool.give(slab);
    }
    await writer.close();
    await at.store.commit('threads', digest, bytes.length);
    expect((await readContent(await at.store.open(digest))).equals(bytes)).toBe(true);
    const reader = await at.store.open(digest);
    const slab = pool.take();
    expect(await reader?.read(slab, slab.length, RECORD_BYTES)).toBe(slab.length);
    expect(Buffer.from(slab).equals(bytes.subarray(RECORD_BYTES, RECORD_BYTES + slab.length))).toBe(true);
    await reader?.close();
  });

  it('is read in part without the rest', async () => {
    const bytes = randomBytes(20 * RECORD_BYTES + 100);
    const digest = digestOf(bytes);
    await at.store.put(digest, bytes);
    for (const [start, length] of [
      [0, 10],
      [RECORD_BYTES - 1, 1],
      [RECORD_BYTES, 1],
      [RECORD_BYTES - 5, 10],
      [10 * RECORD_BYTES, RECORD_BYTES],
      [bytes.length - 1, 1],
      [bytes.length - 101, 101],
      [bytes.length, 10],
    ] as const) {
      const reader = await at.store.open(digest);
      asked = 0;
      const buffer = Buffer.alloc(length);
      const count = (await reader?.read(buffer, length, start)) ?? -1;
      expect(buffer.subarray(0, count).equals(bytes.subarray(start, start + length))).toBe(true);
      expect(asked).toBeLessThanOrEqual(2 * SEALED_BYTES);
      await reader?.close();
    }
  });

  it('is announced to the store below as the records it lies in', async () => {
    const bytes = randomBytes(3 * RECORD_BYTES + 100);
    await at.store.put(digestOf(bytes), bytes);
    const reader = await at.store.open(digestOf(bytes));
    const ranges: [number, number, number[]][] = [
      [0, 0, [HEADER_BYTES, HEADER_BYTES + SEALED_BYTES - 1]],
      [RECORD_BYTES - 1, RECORD_BYTES, [HEADER_BYTES, HEADER_BYTES + 2 * SEALED_BYTES - 1]],
      [0, bytes.length - 1, [HEADER_BYTES, HEADER_BYTES + 3 * SEALED_BYTES - 1]],
      [3 * RECORD_BYTES, bytes.length - 1, []],
    ];
    for (const [start, end, expected] of ranges) {
      announced.splice(0);
      reader?.announce?.(start, end);
      expect(announced).toEqual(expected);
    }
    await reader?.close();
  });

  it('is not opened with another key file', async () => {
    const bytes = randomBytes(1000);
    await at.store.put(digestOf(bytes), bytes);
    const other = await at.another(); // without the keys that are kept in memory
    const text = readFileSync(at.keyFile, 'utf8');
    writeFileSync(at.keyFile, text.replace(/^1 .*$/m, `1 ${randomBytes(32).toString('base64url')}`));
    await expect(other.store.open(digestOf(bytes))).rejects.toThrow('cannot be read');
    writeFileSync(at.keyFile, text);
    expect((await readContent(await other.store.open(digestOf(bytes)))).equals(bytes)).toBe(true);
    await other.threads.close();
  });

  it('of an upload in very many pieces is sealed anew as one', async () => {
    const pieces = Array.from({ length: 8 }, () => randomBytes(RECORD_BYTES + 3));
    const whole = Buffer.concat(pieces);
    await appendAll(at.store, 'pieces', ...pieces);
    await at.store.commit('pieces', digestOf(whole), whole.length);
    expect((await readContent(await at.store.open(digestOf(whole)))).equals(whole)).toBe(true);
    const ending = readFileSync(storedPath(at.root, digestOf(whole))).subarray(-40);
    expect(ending.readUInt32BE(0)).toBe(1);
    expect(await at.store.uploadSize('pieces')).toBe(0);
    expect(readdirSync(join(at.root, 'store', 'uploads'))).toEqual([]);
  });

  it('that lies in the clear from before is read as it is, and can be sent by the kernel', async () => {
    const bytes = randomBytes(200_000);
    await at.base.put(digestOf(bytes), bytes);
    const reader = await at.store.open(digestOf(bytes));
    expect((await readContent(reader)).equals(bytes)).toBe(true);
    await at.base.put(digestOf('short'), Buffer.from('short'));
    expect((await readContent(await at.store.open(digestOf('short')))).toString()).toBe('short');
  });

  it('of an upload begun in the clear starts over', async () => {
    await appendAll(at.base, 'clear', randomBytes(200_000));
    expect(await at.store.uploadSize('clear')).toBe(0);
    await expect(at.store.openUploadForReading('clear')).rejects.toThrow();
    await expect(at.store.commit('clear', digestOf('x'), 200_000)).rejects.toThrow('has 0 bytes');
    const bytes = randomBytes(100);
    await appendAll(at.store, 'clear', bytes);
    await at.store.commit('clear', digestOf(bytes), bytes.length);
    expect((await readContent(await at.store.open(digestOf(bytes)))).equals(bytes)).toBe(true);
  });
});

describe('no readable byte is on disk', () => {
  const canary = 'a canary that must not be read on any disk ';
  const text = (bytes: number) => Buffer.from(canary.repeat(Math.ceil(bytes / canary.length)).slice(0, bytes));

  function expectNoCanary(): void {
    const bytes = everythingUnder(at.root);
    expect(bytes.length).toBeGreaterThan(0);
    expect(bytes.includes(canary.slice(0, 16))).toBe(false);
  }

  it('of blobs, and of uploads while they come, fail and are taken back', async () => {
    const small = text(5000);
    await at.store.put(digestOf(small), small);
    expectNoCanary();
    const writer = await at.store.openUpload('canary', { fence: false });
    const first = text(3 * RECORD_BYTES + 1000);
    await writer.write(first, first.length, 0);
    expectNoCanary();
    await writer.flush();
    await writer.rewind(RECORD_BYTES + 7);
    await writer.close();
    expectNoCanary();
    expect(await at.store.uploadSize('canary')).toBe(RECORD_BYTES + 7);
    await appendAll(at.store, 'canary', text(10), text(200_000), text(10));
    expectNoCanary();
    const whole = await readContent(await at.store.openUploadForReading('canary'));
    await at.store.commit('canary', digestOf(whole), whole.length);
    expectNoCanary();
    expect((await readContent(await at.store.open(digestOf(whole)))).equals(whole)).toBe(true);
  });

  it('which a test of the clear would find', async () => {
    await at.base.put(digestOf(text(500)), text(500));
    expect(everythingUnder(at.root).includes(canary.slice(0, 16))).toBe(true);
  });
});

describe('threads', () => {
  it('that end fail what they had, and the next one does it', async () => {
    const threads = new CipherThreads(1);
    const [from, to] = [new Uint8Array(new SharedArrayBuffer(1 << 20)), new Uint8Array(new SharedArrayBuffer(1 << 20))];
    const job = { op: 'seal', key: randomBytes(32), header: Buffer.alloc(HEADER_BYTES), first: 0, count: 8 } as const;
    const running = threads.run(job, from, to);
    await threads.close();
    await expect(running).rejects.toThrow('ended');
    await threads.run(job, from, to);
    const here = new Uint8Array(1 << 20);
    runRecords(job, from, here);
    expect(Buffer.from(to).equals(here)).toBe(true);
    await threads.close();
  });

  it('lend no more buffers than they have', async () => {
    const threads = new CipherThreads(1);
    const taken = await Promise.all(Array.from({ length: 16 }, () => threads.take()));
    let late: Uint8Array | undefined;
    const waiting = threads.take().then((buffer) => (late = buffer));
    await new Promise((resolve) => setImmediate(resolve));
    expect(late).toBeUndefined();
    const [first = new Uint8Array()] = taken;
    threads.give(first);
    await waiting;
    expect(late).toBe(first);
  });
});
