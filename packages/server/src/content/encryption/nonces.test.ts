import { randomBytes } from 'node:crypto';
import { readFileSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { digestOf } from '@entrepot/oci';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { BlobStore, UploadWriter } from '../blob-store.ts';
import { HEADER_BYTES, RECORD_BYTES, SEALED_BYTES } from './format.ts';
import { encryptedFiles, readContent, storedPath, type TestEncryption } from './testing.ts';

/** Every pair of key and nonce that anything was sealed under, with what it was: AES-GCM breaks where a pair is used for two contents. */
const sealed = vi.hoisted(() => new Map<string, string>());
const reused = vi.hoisted(() => [] as string[]);

vi.mock('node:crypto', async (original) => {
  const real = await original<typeof import('node:crypto')>();
  return {
    ...real,
    createCipheriv(algorithm: 'aes-256-gcm', key: Uint8Array, nonce: Uint8Array) {
      const cipher = real.createCipheriv(algorithm, key, nonce);
      const pair = `${Buffer.from(key).toString('hex')} ${Buffer.from(nonce).toString('hex')}`;
      const update = cipher.update.bind(cipher) as (content: Uint8Array) => Buffer;
      const content = real.createHash('sha256');
      return Object.assign(cipher, {
        update(part: Uint8Array) {
          content.update(part);
          const seen = content.copy().digest('hex');
          const before = sealed.get(pair);
          if (before !== undefined && before !== seen) reused.push(pair);
          sealed.set(pair, seen);
          return update(part);
        },
      });
    },
  };
});

/** What the disk under the encryption does next. */
const disk = { writesLeft: Number.POSITIVE_INFINITY, commitFails: false };

function unreliable(base: BlobStore): BlobStore {
  return {
    ...base,
    async openUpload(id, options) {
      const writer = await base.openUpload(id, options);
      return {
        ...writer,
        async write(buffer, length, position) {
          if (disk.writesLeft-- > 0) return await writer.write(buffer, length, position);
          // A part of it reaches the disk, as when that is full.
          await writer.write(buffer, Math.floor(length / 3), position);
          throw Object.assign(new Error('ENOSPC: simulated'), { code: 'ENOSPC' });
        },
      } satisfies UploadWriter;
    },
    async commit(id, digest, size) {
      if (disk.commitFails) throw Object.assign(new Error('EIO: simulated'), { code: 'EIO' });
      await base.commit(id, digest, size);
    },
  };
}

let at: TestEncryption;
let other: TestEncryption;
let uploads = 0;
beforeEach(async () => {
  at = await encryptedFiles({ around: unreliable });
  other = await at.another();
});
afterEach(async () => {
  await other.threads.close();
  await at.remove();
});

type Step =
  | {
      readonly do: 'write';
      readonly lengths: readonly number[];
      readonly by: 'first' | 'second';
      readonly fence: boolean;
      readonly end: 'close' | 'crash';
    }
  | { readonly do: 'fail'; readonly lengths: readonly number[]; readonly by: 'first' | 'second'; readonly after: number }
  | { readonly do: 'tear'; readonly bytes: number }
  | { readonly do: 'commit'; readonly by: 'first' | 'second' };

const lengths = fc.array(
  fc.oneof(fc.integer({ min: 1, max: 200_000 }), fc.constantFrom(1, RECORD_BYTES - 1, RECORD_BYTES, RECORD_BYTES + 1)),
  {
    minLength: 1,
    maxLength: 3,
  },
);
const by = fc.constantFrom('first' as const, 'second' as const);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('write' as const), lengths, by, fence: fc.boolean(), end: fc.constantFrom('close', 'crash') }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('fail' as const), lengths, by, after: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('tear' as const), bytes: fc.integer({ min: 1, max: 150_000 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('commit' as const), by }) },
);

it('no pair of key and nonce is used for two contents, whatever happens to uploads; what was acknowledged is there', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 8 }), async (steps) => {
      const id = `upload-${++uploads}`;
      const path = join(at.root, 'store', 'uploads', id);
      /** What the upload may hold: nothing else was ever written at those positions last. */
      let content = Buffer.alloc(0);
      let acknowledged = 0;
      const late: UploadWriter[] = [];
      const storeOf = (side: 'first' | 'second') => (side === 'first' ? at : other).store;

      for (const each of steps) {
        disk.writesLeft = Number.POSITIVE_INFINITY;
        disk.commitFails = false;
        if (each.do === 'tear') {
          // The end of the file is lost, as with power: whoever asks is told so.
          const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
          if (size > 0) truncateSync(path, Math.max(0, size - each.bytes));
          acknowledged = 0;
        } else if (each.do === 'commit') {
          const size = await storeOf(each.by).uploadSize(id);
          disk.commitFails = true;
          if (size > 0) await expect(storeOf(each.by).commit(id, digestOf(content.subarray(0, size)), size)).rejects.toThrow('EIO');
        } else {
          const store = storeOf(each.by);
          const position = await store.uploadSize(id);
          expect(position).toBeGreaterThanOrEqual(acknowledged);
          expect(position).toBeLessThanOrEqual(content.length);
          content = content.subarray(0, position);
          const writer = await store.openUpload(id, { fence: each.do === 'write' && each.fence });
          if (each.do === 'fail') disk.writesLeft = each.after;
          try {
            for (const length of each.lengths) {
              const piece = randomBytes(length);
              const from = content.length;
              content = Buffer.concat([content, piece]);
              await writer.write(piece, length, from);
            }
            if (each.do === 'write' && each.end === 'crash') {
              late.push(writer);
            } else {
              await writer.close();
              acknowledged = content.length;
            }
          } catch (error) {
            expect((error as NodeJS.ErrnoException).code).toBe('ENOSPC');
            disk.writesLeft = Number.POSITIVE_INFINITY;
            await writer.rewind(position);
            // Some go on with the same writer, from where they were.
            const piece = randomBytes(each.lengths[0] ?? 1);
            content = Buffer.concat([content.subarray(0, position), piece]);
            await writer.write(piece, piece.length, position);
            await writer.close();
            acknowledged = content.length;
          }
        }
        const size = await at.store.uploadSize(id);
        expect(size).toBeGreaterThanOrEqual(acknowledged);
        if (size > 0) expect((await readContent(await other.store.openUploadForReading(id))).equals(content.subarray(0, size))).toBe(true);
      }

      disk.writesLeft = Number.POSITIVE_INFINITY;
      disk.commitFails = false;
      // Writers that were given up and wake up late, as those of a stopped process, change nothing.
      const size = await at.store.uploadSize(id);
      const fenced = await at.store.openUpload(id, { fence: true });
      await fenced.close();
      for (const writer of late) {
        const piece = randomBytes(RECORD_BYTES * 2);
        for (let from = 0; from <= content.length; from = from * 2 + 1)
          await writer.write(piece, piece.length, from).catch(() => undefined);
        await writer.rewind(0).catch(() => undefined);
        await writer.close().catch(() => undefined);
      }
      expect(await at.store.uploadSize(id)).toBe(size);
      const whole = content.subarray(0, size);
      await other.store.commit(id, digestOf(whole), size);
      expect((await readContent(await at.store.open(digestOf(whole)))).equals(whole)).toBe(true);
      expect(reused).toEqual([]);
    }),
    {
      numRuns: 40,
      // A rest that came back behind records written after the store had lost those it continued.
      examples: [
        [
          [
            { do: 'fail', lengths: [65_537], by: 'first', after: 0 },
            { do: 'tear', bytes: 1 },
            { do: 'write', lengths: [65_536], by: 'first', fence: false, end: 'crash' },
          ],
        ],
      ],
    },
  );
  expect(sealed.size).toBeGreaterThan(100);
}, 60_000);

it('the same content is stored as other bytes each time', async () => {
  const content = randomBytes(100_000);
  const digest = digestOf(content);
  await at.store.put(digest, content);
  const first = readFileSync(storedPath(at.root, digest));
  await at.store.put(digest, content);
  const second = readFileSync(storedPath(at.root, digest));
  const blocks = (bytes: Buffer) => new Set(bytes.toString('hex', HEADER_BYTES, HEADER_BYTES + SEALED_BYTES).match(/.{32}/g));
  expect(blocks(first).size).toBe(SEALED_BYTES / 16);
  expect(blocks(first).intersection(blocks(second)).size).toBe(0);
});
