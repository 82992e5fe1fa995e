import { randomBytes } from 'node:crypto';
import { digestOf } from '@entrepot/oci';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { ArchivedBlob } from '../archived.ts';
import { blobStoreContract } from '../contract.ts';
import { readContent } from '../encryption/testing.ts';
import { type Bucket, openBucket } from '../s3/bucket.ts';
import { createS3Store } from '../s3/s3-store.ts';
import { type FaultProxy, type Seen, startFaultProxy } from '../s3/testing-fault-proxy.ts';
import { describeOnS3, settingsOf, startS3, type TestS3 } from '../s3/testing-server.ts';
import { cooling, type TestTiers, tieredFiles } from './testing.ts';

/** Machines that run much beside. */
const SOON = { timeout: 20_000 };
const none = new AbortController().signal;
const PULLED = { pulled: true };

describeOnS3('a cold tier in a bucket of versitygw', () => {
  let server: TestS3;
  let proxy: FaultProxy;
  let sound: Bucket;
  let faulty: Bucket;
  let runs = 0;
  let at: TestTiers | undefined;
  beforeAll(async () => {
    server = await startS3();
    proxy = await startFaultProxy(server.endpoint);
    sound = await openBucket(settingsOf(server.endpoint));
    faulty = await openBucket(settingsOf(proxy.endpoint), { patience: 0.1 });
  });
  afterEach(async () => {
    proxy.inject();
    await at?.remove();
    at = undefined;
  });
  afterAll(async () => {
    faulty.close();
    sound.close();
    await proxy.close();
    await server.close();
  });

  const keep = { close: () => Promise.resolve() }; // the bucket is used by the next test too
  const storeAt = (bucket: Bucket, prefix: string) => ({ ...createS3Store(bucket, { prefix, redirect: false }), ...keep });

  blobStoreContract('files before a bucket, all of it cold', async () => {
    const prefix = `run-${++runs}/`;
    const first = await tieredFiles({ bases: { cold: () => storeAt(sound, prefix) } });
    return {
      async open() {
        const { store, tiers } = await first.another();
        return cooling(store, tiers);
      },
      damage: async (digest, bytes) => first.cold.put(digest, bytes),
      age: first.age,
      remove: first.remove,
    };
  });

  const bytes = randomBytes(7_000_000);
  const digest = digestOf(bytes);

  async function coldIn(bucket: Bucket, options: Parameters<typeof tieredFiles>[0] = {}): Promise<TestTiers> {
    const prefix = `run-${++runs}/`;
    at = await tieredFiles({ bases: { cold: () => storeAt(bucket, prefix) }, ...options });
    await at.store.put(digest, bytes);
    expect(await at.tiers.demote(digest, none)).toBe('moved');
    await at.run('tiers.sweep');
    expect(await at.copies(digest)).toEqual(['cold']);
    proxy.seen.length = 0;
    return at;
  }

  it('moves blobs between two buckets, and tells no address of what is cold', async () => {
    const prefix = `run-${++runs}/`;
    at = await tieredFiles({
      bases: {
        hot: () => ({ ...createS3Store(sound, { prefix: `${prefix}hot/`, redirect: true }), ...keep }),
        cold: () => storeAt(sound, `${prefix}cold/`),
      },
    });
    const tiers = at;
    await tiers.store.put(digest, bytes);
    expect(await tiers.store.addressOf?.(digest)).toContain('/hot/');
    expect(await tiers.tiers.demote(digest, none)).toBe('moved');
    const reader = await tiers.store.open(digest);
    await tiers.run('tiers.sweep');
    expect(await tiers.copies(digest)).toEqual(['cold']);
    expect(await tiers.store.addressOf?.(digest)).toBeUndefined();
    await reader?.close();
    const pulled = await tiers.store.open(digest, PULLED);
    expect((await readContent(pulled)).equals(bytes)).toBe(true);
    await expect.poll(() => tiers.row(digest), SOON).toMatchObject({ tier: 'hot' });
    await tiers.run('tiers.sweep');
    expect(await tiers.copies(digest)).toEqual(['hot']);
    expect(await tiers.store.addressOf?.(digest)).toContain('/hot/');
  });

  it('a reader goes on in the hot tier where its object is taken away under it', async () => {
    const tiers = await coldIn(sound);
    const reader = await tiers.store.open(digest);
    const first = Buffer.alloc(1000);
    await reader?.read(first, 1000, 0);
    await tiers.tiers.promote(digest, none);
    await tiers.run('tiers.sweep');
    expect(await tiers.copies(digest)).toEqual(['hot']);
    expect((await readContent(reader)).equals(bytes)).toBe(true);
  });

  it('F: an answer that is cut off, an error of the server, a wrong answer: the blob stays where it was, and moves later', async () => {
    at = await tieredFiles({ bases: { cold: () => storeAt(faulty, `run-${++runs}/`) } });
    const tiers = at;
    await tiers.store.put(digest, bytes);
    const failing = (operation: string, status: number) => (seen: Seen) =>
      seen.operation === operation ? ({ kind: 'answer', status, body: '' } as const) : undefined;
    for (const operation of ['PutObject', 'CopyObject', 'HeadObject']) {
      proxy.inject(failing(operation, 500));
      await expect(tiers.tiers.demote(digest, none)).rejects.toMatchObject({ status: 503 });
      proxy.inject();
      expect(await tiers.copies(digest)).toContain('hot');
      expect((await readContent(await tiers.store.open(digest))).equals(bytes)).toBe(true);
    }
    // What is read back is not what was sent.
    proxy.inject(({ operation }) =>
      operation === 'GetObject' ? { kind: 'answer', status: 206, headers: { 'content-length': 3 }, body: 'bad' } : undefined,
    );
    await expect(tiers.tiers.demote(digest, none)).rejects.toMatchObject({ status: 503 });
    proxy.inject();
    expect(await tiers.tiers.demote(digest, none)).toBe('moved');
    await tiers.run('tiers.sweep');
    expect(await tiers.copies(digest)).toEqual(['cold']);
    expect((await readContent(await tiers.store.open(digest))).equals(bytes)).toBe(true);
  });

  // versitygw has no archive: what AWS says of archived objects is said by the proxy before it.
  it('what is archived is restored once for all who pull it, and told to be asked for again', async () => {
    const tiers = await coldIn(faulty);
    let state = 'archived';
    proxy.inject(({ operation }) => {
      const restore = state === 'restoring' ? { 'x-amz-restore': 'ongoing-request="true"' } : {};
      const restored = { 'x-amz-restore': 'ongoing-request="false", expiry-date="Fri, 21 Dec 2040 00:00:00 GMT"' };
      if (operation === 'HeadObject') {
        const headers = {
          'x-amz-storage-class': 'DEEP_ARCHIVE',
          'content-length': bytes.length,
          ...(state === 'restored' ? restored : restore),
        };
        return { kind: 'answer', status: 200, headers };
      }
      if (operation === 'RestoreObject') {
        if (state === 'restoring') return { kind: 'answer', status: 409, body: '<Error><Code>RestoreAlreadyInProgress</Code></Error>' };
        state = 'restoring';
        return { kind: 'answer', status: 202 };
      }
      if (operation === 'GetObject' && state !== 'restored')
        return { kind: 'answer', status: 403, body: '<Error><Code>InvalidObjectState</Code></Error>' };
      return undefined;
    });
    const seen: string[] = [];
    tiers.tiers.use({ admits: () => true, onRead: (_, tier) => seen.push(tier) });
    const other = await tiers.another();
    // Who looks without pulling learns its size, and asks for nothing.
    const quiet = await tiers.store.open(digest);
    expect(quiet?.size).toBe(bytes.length);
    await expect(quiet?.read(Buffer.alloc(10), 10, 0)).rejects.toThrow(ArchivedBlob);
    await quiet?.close();
    const asked = await Promise.allSettled(
      Array.from({ length: 10 }, (_, nth) => (nth % 2 === 0 ? tiers : other).store.open(digest, PULLED)),
    );
    for (const each of asked) {
      if (each.status === 'fulfilled') throw new Error('it was opened');
      expect(each.reason).toMatchObject({ status: 503, headers: { 'Retry-After': '900' } });
    }
    expect(proxy.seen.filter(({ operation }) => operation === 'RestoreObject')).toHaveLength(1);
    expect(await tiers.row(digest)).toMatchObject({ tier: 'archived', leftover: null });
    expect((await tiers.row(digest))?.restoreAt).not.toBeNull();
    expect((await tiers.tiers.totals(tiers.database))[1]).toEqual({ tier: 'archived', blobs: 1, bytes: bytes.length });
    expect(await tiers.tiers.restore(digest)).toBe('restoring');
    expect(await tiers.tiers.promote(digest, none)).toBe('archived');
    expect(seen[0]).toBe('archived');

    state = 'restored';
    expect(await tiers.tiers.restore(digest)).toBe('readable');
    expect(await tiers.row(digest)).toMatchObject({ tier: 'cold', restoreAt: null });
    expect((await readContent(await tiers.store.open(digest, PULLED))).equals(bytes)).toBe(true);
    await expect.poll(() => tiers.row(digest), SOON).toMatchObject({ tier: 'hot' });
  });

  it('a restore that could not be asked for is asked for again', async () => {
    const tiers = await coldIn(faulty);
    let asked = 0;
    proxy.inject(({ operation }) => {
      if (operation === 'HeadObject')
        return { kind: 'answer', status: 200, headers: { 'x-amz-storage-class': 'GLACIER', 'content-length': bytes.length } };
      if (operation === 'RestoreObject') return { kind: 'answer', status: ++asked <= 3 ? 503 : 202 };
      return undefined;
    });
    await expect(tiers.store.open(digest, PULLED)).rejects.toMatchObject({ status: 503, headers: { 'Retry-After': '2' } });
    await expect(tiers.store.open(digest, PULLED)).rejects.toThrow(ArchivedBlob);
    await expect(tiers.store.open(digest, PULLED)).rejects.toThrow(ArchivedBlob);
    expect(asked).toBe(4);
  });
});
