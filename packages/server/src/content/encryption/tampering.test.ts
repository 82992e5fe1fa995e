import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { digestOf } from '@entrepot/oci';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HEADER_BYTES, RECORD_BYTES, SEALED_BYTES, sealedAt } from './format.ts';
import { setPlaced } from './rotation-rows.ts';
import { appendAll, encryptedFiles, readContent, storedPath, type TestEncryption } from './testing.ts';

// Whoever can write to the storage but has no key may destroy; what he cannot do is have other bytes pass for a blob.

let at: TestEncryption;
beforeEach(async () => {
  at = await encryptedFiles();
});
afterEach(() => at.remove());

const content = randomBytes(4 * RECORD_BYTES + 1000);
const digest = digestOf(content);

async function stored(how: 'put' | 'upload', bytes = content): Promise<Buffer> {
  if (how === 'put') await at.store.put(digestOf(bytes), bytes);
  else {
    const id = `upload-${digestOf(bytes).slice(-8)}`;
    await appendAll(at.store, id, bytes.subarray(0, 100_000), bytes.subarray(100_000, 200_001), bytes.subarray(200_001));
    await at.store.commit(id, digestOf(bytes), bytes.length);
  }
  return readFileSync(storedPath(at.root, digestOf(bytes)));
}

/** Reads all of a blob, and gives what came before it failed, if it did. */
async function read(of = digest): Promise<{ failed: boolean; bytes: Buffer }> {
  const bytes: Buffer[] = [];
  try {
    const reader = await at.store.open(of);
    if (!reader) return { failed: true, bytes: Buffer.alloc(0) };
    try {
      for (let position = 0; position < reader.size; ) {
        const part = Buffer.alloc(RECORD_BYTES);
        const count = await reader.read(part, part.length, position);
        bytes.push(part.subarray(0, count));
        position += count;
      }
    } finally {
      await reader.close();
    }
    return { failed: false, bytes: Buffer.concat(bytes) };
  } catch {
    return { failed: true, bytes: Buffer.concat(bytes) };
  }
}

const record = (whole: Buffer, index: number) => whole.subarray(sealedAt(index), sealedAt(index + 1));
const flipped = (whole: Buffer, index: number) => {
  const copy = Buffer.from(whole);
  copy[index] = (copy[index] ?? 0) ^ 1;
  return copy;
};

const CHANGES: [string, (whole: Buffer) => Buffer][] = [
  [
    'two records swapped',
    (whole) => Buffer.concat([whole.subarray(0, sealedAt(1)), record(whole, 2), record(whole, 1), whole.subarray(sealedAt(3))]),
  ],
  ['a record twice', (whole) => Buffer.concat([whole.subarray(0, sealedAt(1)), record(whole, 0), whole.subarray(sealedAt(2))])],
  ['a record left out', (whole) => Buffer.concat([whole.subarray(0, sealedAt(1)), whole.subarray(sealedAt(2))])],
  ['a record more', (whole) => Buffer.concat([whole.subarray(0, sealedAt(1)), record(whole, 1), whole.subarray(sealedAt(1))])],
  ['cut behind its records', (whole) => whole.subarray(0, sealedAt(4))],
  ['cut by a byte', (whole) => whole.subarray(0, -1)],
  ['cut to its header', (whole) => whole.subarray(0, HEADER_BYTES)],
  ['a byte more at its end', (whole) => Buffer.concat([whole, Buffer.alloc(1)])],
  ['its own end once more', (whole) => Buffer.concat([whole, whole.subarray(sealedAt(4))])],
  ['no bytes', () => Buffer.alloc(0)],
];

describe.each(['put', 'upload'] as const)('a blob stored by %s', (how) => {
  it('is read as it was', async () => {
    await stored(how);
    expect(await read()).toEqual({ failed: false, bytes: content });
  });

  it.each(CHANGES)('with %s never passes for another or a shorter one', async (_, change) => {
    const whole = await stored(how);
    await placed(); // before that, bytes without a header could be a blob in the clear
    writeFileSync(storedPath(at.root, digest), change(whole));
    const found = await read();
    expect(found.failed).toBe(true);
    expect(content.subarray(0, found.bytes.length).equals(found.bytes)).toBe(true);
  });

  it('with any bit flipped is refused where the bit is', async () => {
    const whole = await stored(how);
    await placed();
    const places = [
      0,
      9,
      20,
      HEADER_BYTES,
      sealedAt(1) - 1,
      sealedAt(2),
      whole.length - 1,
      whole.length - 40,
      sealedAt(4),
      sealedAt(4) + 1001,
    ];
    for (const place of [...places, ...Array.from({ length: 30 }, () => Math.floor(Math.random() * whole.length))]) {
      writeFileSync(storedPath(at.root, digest), flipped(whole, place));
      const found = await read();
      expect([place, found.failed]).toEqual([place, true]);
      expect(content.subarray(0, found.bytes.length).equals(found.bytes)).toBe(true);
    }
  });

  it('gives its first records although a later one is damaged, and never that one', async () => {
    const whole = await stored(how);
    writeFileSync(storedPath(at.root, digest), flipped(whole, sealedAt(2) + 5));
    expect((await read()).bytes).toEqual(content.subarray(0, 2 * RECORD_BYTES));
  });
});

/** As the job does that looks for new blobs. */
async function placed(): Promise<void> {
  const id = readFileSync(storedPath(at.root, digest)).toString('hex', HEADER_BYTES - 16, HEADER_BYTES);
  await setPlaced(at.database, { id, placed: 1, lookAt: null });
}

describe('a blob', () => {
  it('is not taken for another one whose place it was put in', async () => {
    const other = randomBytes(content.length);
    const whole = await stored('upload');
    await stored('upload', other);
    writeFileSync(storedPath(at.root, digestOf(other)), whole);
    expect(await read(digestOf(other))).toEqual({ failed: true, bytes: Buffer.alloc(0) });
  });

  it('takes no record of another one', async () => {
    const other = randomBytes(content.length);
    const [mine, theirs] = [await stored('put'), await stored('put', other)];
    record(theirs, 1).copy(mine, sealedAt(1));
    writeFileSync(storedPath(at.root, digest), mine);
    expect((await read()).bytes).toEqual(content.subarray(0, RECORD_BYTES));
  });

  it('takes no record that its own upload had before it was taken back', async () => {
    const id = 'taken-back';
    const writer = await at.store.openUpload(id, { fence: false });
    const before = randomBytes(2 * RECORD_BYTES);
    await writer.write(before, before.length, 0);
    const old = readFileSync(`${at.root}/store/uploads/${id}`);
    await writer.rewind(0);
    await writer.write(content, content.length, 0);
    await writer.close();
    await at.store.commit(id, digest, content.length);
    const whole = readFileSync(storedPath(at.root, digest));
    record(old, 1).copy(whole, sealedAt(1));
    writeFileSync(storedPath(at.root, digest), whole);
    expect(await read()).toEqual({ failed: true, bytes: content.subarray(0, RECORD_BYTES) });
  });

  it('that was encrypted is not accepted in the clear', async () => {
    await stored('put');
    await placed();
    writeFileSync(storedPath(at.root, digest), randomBytes(5000));
    await expect(at.store.open(digest)).rejects.toThrow('lies in the clear');
  });

  it('of an unknown version is refused', async () => {
    const whole = await stored('put');
    writeFileSync(storedPath(at.root, digest), flipped(whole, 8));
    await expect(at.store.open(digest)).rejects.toThrow('no known version');
  });
});

describe('an upload', () => {
  it('whose stored records were changed is not read back', async () => {
    const id = 'changed';
    await appendAll(at.store, id, content);
    const path = `${at.root}/store/uploads/${id}`;
    writeFileSync(path, flipped(readFileSync(path), HEADER_BYTES + SEALED_BYTES + 7));
    await expect(readContent(await at.store.openUploadForReading(id))).rejects.toThrow('not what was written');
  });
});
