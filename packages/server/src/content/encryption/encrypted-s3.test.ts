import { readdirSync, readFileSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { digestOf } from '@entrepot/oci';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { blobStoreContract } from '../contract.ts';
import { type Bucket, openBucket } from '../s3/bucket.ts';
import { createS3Store } from '../s3/s3-store.ts';
import { describeOnS3, settingsOf, startS3, type TestS3 } from '../s3/testing-server.ts';
import { appendAll, encryptedFiles, readContent, type TestEncryption } from './testing.ts';

describeOnS3('encryption on the S3 store of versitygw', () => {
  let server: TestS3;
  let bucket: Bucket;
  let runs = 0;
  beforeAll(async () => {
    server = await startS3();
    bucket = await openBucket(settingsOf(server.endpoint));
  });
  afterAll(async () => {
    bucket.close();
    await server.close();
  });

  /** The bucket in place of the files; a prefix of its own for each run. */
  async function encryptedBucket(): Promise<{ first: TestEncryption; folder: string; prefix: string }> {
    const prefix = `run-${++runs}/`;
    const first = await encryptedFiles({ around: () => createS3Store(bucket, { prefix, redirect: false }) });
    return { first, prefix, folder: join(server.folder, prefix, 'docker/registry/v2') };
  }

  blobStoreContract('encrypted S3', async () => {
    const { first, folder, prefix } = await encryptedBucket();
    const all: TestEncryption[] = [];
    return {
      async open() {
        const next = await first.another();
        all.push(next);
        return next.store;
      },
      damage: (digest, bytes) => {
        const [algorithm, hex = ''] = digest.split(':');
        return bucket.put(`${prefix}docker/registry/v2/blobs/${algorithm}/${hex.slice(0, 2)}/${hex}/data`, bytes);
      },
      async age(id, time) {
        const uploads = join(folder, 'uploads', id);
        for (const name of readdirSync(uploads)) utimesSync(join(uploads, name), time / 1000, time / 1000);
        await first.ageRow(id, time);
      },
      async remove() {
        for (const { threads } of all) await threads.close();
        await first.remove();
      },
    };
  });

  let first: TestEncryption;
  beforeEach(async () => {
    ({ first } = await encryptedBucket());
  });
  afterEach(() => first.remove());

  it('no readable byte is in the bucket, while an upload comes in pieces and after', async () => {
    const canary = 'a canary that must not be read in any bucket ';
    const text = (bytes: number) => Buffer.from(canary.repeat(Math.ceil(bytes / canary.length)).slice(0, bytes));
    const expectNone = () => {
      const files = readdirSync(server.folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
      expect(files.length).toBeGreaterThan(0);
      for (const { parentPath, name } of files) expect(readFileSync(join(parentPath, name)).includes(canary.slice(0, 16))).toBe(false);
    };
    const pieces = [text(100), text(6_000_000), text(70_000), text(3)];
    for (const piece of pieces) {
      await appendAll(first.store, 'canary', piece);
      expectNone();
    }
    const whole = Buffer.concat(pieces);
    await first.store.commit('canary', digestOf(whole), whole.length);
    await first.store.put(digestOf(text(5000)), text(5000));
    expectNone();
    expect((await readContent(await first.store.open(digestOf(whole)))).equals(whole)).toBe(true);
  });

  it('a writer that never closed takes nothing of what was acknowledged with it', async () => {
    const bytes = Buffer.alloc(8_000_000, 'acknowledged');
    await appendAll(first.store, 'lost', bytes.subarray(0, 100));
    const lost = await first.store.openUpload('lost', { fence: false });
    await lost.write(bytes.subarray(100, 7_000_107), 7_000_007, 100);
    expect(await first.store.uploadSize('lost')).toBeGreaterThanOrEqual(100);
    const size = await first.store.uploadSize('lost');
    const next = await first.store.openUpload('lost', { fence: true });
    await next.write(bytes.subarray(size), bytes.length - size, size);
    await next.close();
    await lost.close().catch(() => undefined);
    await first.store.commit('lost', digestOf(bytes), bytes.length);
    expect((await readContent(await first.store.open(digestOf(bytes)))).equals(bytes)).toBe(true);
  });
});
