import { randomBytes } from 'node:crypto';
import { readdirSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { digestOf } from '@entrepot/oci';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { BlobStore, UploadWriter } from '../blob-store.ts';
import { blobStoreContract } from '../contract.ts';
import { readSmall } from '../read-small.ts';
import { type Bucket, openBucket } from './bucket.ts';
import { compose } from './compose.ts';
import { PartPool } from './part-pool.ts';
import { createPieceReader } from './reader.ts';
import { createS3Store } from './s3-store.ts';
import { describeOnS3, settingsOf, startS3, type TestS3 } from './testing-server.ts';

describeOnS3('the S3 store on versitygw', () => {
  let server: TestS3;
  let buckets: Bucket[];
  let runs = 0;
  beforeAll(async () => {
    server = await startS3();
    buckets = [await openBucket(settingsOf(server.endpoint)), await openBucket(settingsOf(server.endpoint, { checksums: false }))];
  });
  afterAll(async () => {
    for (const bucket of buckets) bucket.close();
    await server.close();
  });

  const bucket = (which: number) => {
    const found = buckets[which % buckets.length];
    if (!found) throw new Error('no bucket');
    return found;
  };

  // Instances with other settings of checksums share a bucket too.
  blobStoreContract('S3', () => {
    const prefix = `run-${++runs}/`;
    const root = `${prefix}docker/registry/v2`;
    let opened = 0;
    return {
      open: () => createS3Store(bucket(opened++), { prefix, redirect: false }),
      damage: (digest, bytes) => {
        const [algorithm, hex = ''] = digest.split(':');
        return bucket(0).put(`${root}/blobs/${algorithm}/${hex.slice(0, 2)}/${hex}/data`, bytes);
      },
      async age(id, time) {
        const folder = join(server.folder, root, 'uploads', id);
        for (const name of readdirSync(folder)) utimesSync(join(folder, name), time / 1000, time / 1000);
      },
      remove: async () => undefined,
    };
  });

  describe('uploads', () => {
    const MIB = 1 << 20;
    const bytes = randomBytes(21 * MIB);
    const named = (name: string) => Buffer.concat([Buffer.from(name), bytes]);
    let prefix: string;
    beforeEach(() => {
      prefix = `run-${++runs}/`;
    });

    const write = async (writer: UploadWriter, from: Buffer, start: number, end: number) => {
      for (let at = start; at < end; at += MIB) {
        const piece = from.subarray(at, Math.min(at + MIB, end));
        await writer.write(piece, piece.length, at);
      }
    };
    const expectBlob = async (store: BlobStore, content: Buffer) => {
      const found = await readSmall(store, digestOf(content), content.length);
      expect(found !== undefined && content.equals(found)).toBe(true);
    };
    const segments = async (id: string) => {
      const keys: string[] = [];
      for await (const { key } of bucket(0).list(`${prefix}docker/registry/v2/uploads/${id}/`)) keys.push(key);
      return keys.length;
    };

    it('that stand still give their memory up to one that goes on, and go on later', async () => {
      const pool = new PartPool({ parts: 2, idleMs: 40, holdMs: 200 });
      const store = createS3Store(bucket(0), { prefix, redirect: false, pool });
      const slow = ['one', 'two', 'three', 'four', 'five', 'six'];
      const writers = await Promise.all(slow.map((id) => store.openUpload(id, { fence: false })));
      await Promise.all(writers.map((writer, index) => write(writer, named(slow[index] ?? ''), 0, MIB)));
      const fast = await store.openUpload('fast', { fence: false });
      await write(fast, bytes, 0, bytes.length);
      expect(pool.used).toBeLessThanOrEqual(2);
      await fast.close();
      await store.commit('fast', digestOf(bytes), bytes.length);
      await expectBlob(store, bytes);
      await Promise.all(
        slow.map(async (id, index) => {
          const content = named(id);
          const writer = writers[index];
          if (writer) await write(writer, content, MIB, content.length);
          await writer?.close();
          await store.commit(id, digestOf(content), content.length);
          await expectBlob(store, content);
        }),
      );
      expect(pool.used).toBe(0);
    });

    it('of many segments lose no more than the last one in a crash, and become one blob', async () => {
      const store = createS3Store(bucket(0), { prefix, redirect: false, segmentBytes: 8 * MIB });
      const crashed = await store.openUpload('one', { fence: false });
      await write(crashed, bytes, 0, 20 * MIB);
      const other = createS3Store(bucket(1), { prefix, redirect: false, segmentBytes: 8 * MIB });
      await expect.poll(() => other.uploadSize('one')).toBe(16 * MIB);
      const writer = await other.openUpload('one', { fence: true });
      await write(writer, bytes, 16 * MIB, bytes.length);
      await writer.close();
      expect(await segments('one')).toBe(4); // with the fence
      await other.commit('one', digestOf(bytes), bytes.length);
      await expectBlob(store, bytes);
      expect(await segments('one')).toBe(0);
      await crashed.close(); // it knows of nothing
      await expectBlob(store, bytes);
    });

    it('are taken back into what is stored already', async () => {
      const store = createS3Store(bucket(0), { prefix, redirect: false, segmentBytes: 8 * MIB });
      const writer = await store.openUpload('one', { fence: false });
      await write(writer, bytes, 0, 20 * MIB);
      await writer.rewind(10 * MIB);
      expect(await store.uploadSize('one')).toBe(10 * MIB);
      await write(writer, bytes, 10 * MIB, bytes.length);
      await writer.close();
      await store.commit('one', digestOf(bytes), bytes.length);
      await expectBlob(store, bytes);
    });

    it('are copied in pieces of like size, none too small', async () => {
      const key = `${prefix}whole`;
      await bucket(0).put(`${prefix}source`, bytes);
      const pieces = [
        { key: `${prefix}source`, from: 0, start: 0, length: 13 * MIB, of: bytes.length },
        { key: `${prefix}source`, from: 13 * MIB, start: 13 * MIB, length: 8 * MIB, of: bytes.length },
      ];
      expect(await compose(bucket(0), pieces, key, { ifAbsent: true, copyBytes: 10 * MIB })).toBe(true);
      const reader = createPieceReader(bucket(1), [{ key, from: 0, start: 0, length: bytes.length, of: bytes.length }], bytes.length);
      const found = Buffer.alloc(bytes.length);
      await reader.read(found, found.length, 0);
      await reader.close();
      expect(found.equals(bytes)).toBe(true);
      expect(await compose(bucket(0), pieces, key, { ifAbsent: true, copyBytes: 10 * MIB })).toBe(false);
      const open: string[] = [];
      for await (const { uploadId } of bucket(0).openParts(prefix)) open.push(uploadId);
      expect(open).toEqual([]);
    });

    it('are fenced by one of two who try it at once, or by none', async () => {
      const [a, b] = [createS3Store(bucket(0), { prefix, redirect: false }), createS3Store(bucket(1), { prefix, redirect: false })];
      const first = await a.openUpload('one', { fence: false });
      await write(first, bytes, 0, MIB);
      await first.close();
      const both = await Promise.allSettled([a.openUpload('one', { fence: true }), b.openUpload('one', { fence: true })]);
      for (const end of both) if (end.status === 'rejected') expect(end.reason).toMatchObject({ status: 503 });
      expect(await a.uploadSize('one')).toBe(MIB);
      const last = await b.openUpload('one', { fence: true });
      await write(last, bytes, MIB, 2 * MIB);
      await last.close();
      expect(await a.uploadSize('one')).toBe(2 * MIB);
      await a.removeUpload('one');
      expect(await segments('one')).toBe(0);
    });
  });
});
