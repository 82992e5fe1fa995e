import { randomBytes } from 'node:crypto';
import { digestOf } from '@entrepot/oci';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { AppError } from '../../platform/index.ts';
import type { BlobStore } from '../blob-store.ts';
import { readSmall } from '../read-small.ts';
import { type Bucket, openBucket } from './bucket.ts';
import { createS3Store } from './s3-store.ts';
import { type Fault, type FaultProxy, type Seen, startFaultProxy } from './testing-fault-proxy.ts';
import { describeOnS3, settingsOf, startS3, type TestS3 } from './testing-server.ts';

const MIB = 1 << 20;
const ERROR = '<?xml version="1.0"?><Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>';
/** Chunks that take a multipart upload, a small object, one that is read again, and copies in the end. */
const CHUNKS = [9 * MIB, MIB, 100_000];
const random = randomBytes(CHUNKS.reduce((sum, size) => sum + size, 0));

describeOnS3('F: the S3 store, with faults before the server', () => {
  let server: TestS3;
  let proxy: FaultProxy;
  let faulty: Bucket;
  let sound: Bucket;
  let store: BlobStore;
  let witness: BlobStore;
  let prefix: string;
  let runs = 0;

  beforeAll(async () => {
    server = await startS3();
    proxy = await startFaultProxy(server.endpoint);
    faulty = await openBucket(settingsOf(proxy.endpoint), { patience: 0.1 });
    sound = await openBucket(settingsOf(server.endpoint));
  });
  afterAll(async () => {
    faulty.close();
    sound.close();
    await proxy.close();
    await server.close();
  });
  beforeEach(() => {
    proxy.inject();
    proxy.seen.length = 0;
    prefix = `faults-${++runs}/`;
    store = createS3Store(faulty, { prefix, redirect: false });
    witness = createS3Store(sound, { prefix, redirect: false });
  });

  /** Content that no other test has, of the chunks' sizes. */
  function content(): Buffer {
    const bytes = Buffer.from(random);
    bytes.write(`${runs}`);
    return bytes;
  }

  /** Brings an upload from where it is to a blob, as clients do: in chunks, each from where the last one came to. */
  async function upload(to: BlobStore, id: string, bytes: Buffer): Promise<void> {
    let position = await to.uploadSize(id);
    expect(position).toBeLessThanOrEqual(bytes.length);
    for (const size of CHUNKS) {
      const piece = bytes.subarray(position, position + size);
      if (piece.length === 0) break;
      const writer = await to.openUpload(id, { fence: false });
      try {
        await writer.write(piece, piece.length, position);
      } finally {
        await writer.close();
      }
      position += piece.length;
      expect(await to.uploadSize(id)).toBe(position);
    }
    while (position < bytes.length) {
      const writer = await to.openUpload(id, { fence: false });
      await writer.write(bytes.subarray(position), bytes.length - position, position);
      await writer.close();
      position = bytes.length;
    }
    await to.commit(id, digestOf(bytes), bytes.length);
  }

  async function expectWhole(bytes: Buffer): Promise<void> {
    const found = await readSmall(witness, digestOf(bytes), bytes.length);
    expect(found !== undefined && bytes.equals(found)).toBe(true);
  }

  /** What was told as failed is not there, or whole; then it can be brought to its end, and nothing is left over. */
  async function expectHealed(id: string, bytes: Buffer): Promise<void> {
    proxy.inject();
    if (await witness.open(digestOf(bytes))) await expectWhole(bytes);
    await upload(witness, id, bytes);
    await expectWhole(bytes);
    await witness.removeUpload(id);
    const left: string[] = [];
    for await (const { key } of sound.list(`${prefix}docker/registry/v2/uploads/`)) left.push(key);
    for await (const { key } of sound.openParts(prefix)) left.push(key);
    expect(left).toEqual([]);
  }

  /** The upload as it goes with faults: told truthfully, in the registry's own errors, in bounded time. */
  async function tried(work: Promise<void>, bytes: Buffer): Promise<'stored' | number> {
    const started = performance.now();
    const outcome = await work.then(
      () => 'stored' as const,
      (error: unknown) => {
        if (!(error instanceof AppError)) throw error;
        expect(error.headers).toHaveProperty('Retry-After');
        return error.status;
      },
    );
    expect(performance.now() - started).toBeLessThan(30_000);
    proxy.inject();
    if (outcome === 'stored') await expectWhole(bytes);
    return outcome;
  }

  const once = (operation: string, fault: Fault) => {
    let left = 1;
    return (request: Seen) => (request.operation === operation && left-- > 0 ? fault : undefined);
  };
  const always = (operation: string, fault: Fault) => (request: Seen) => (request.operation === operation ? fault : undefined);

  const NEEDED = [
    'ListObjectsV2',
    'CreateMultipartUpload',
    'UploadPart',
    'CompleteMultipartUpload',
    'PutObject',
    'GetObject',
    'UploadPartCopy',
    'HeadObject',
  ];
  const LOST: readonly (readonly [string, Fault])[] = [
    ['500', { kind: 'answer', status: 500, body: ERROR }],
    ['a connection that breaks off', { kind: 'cut' }],
    ['an answer that is lost', { kind: 'cut', after: true }],
  ];

  it('takes the upload of these tests by every operation', async () => {
    const bytes = content();
    await upload(store, 'one', bytes);
    expect(new Set(proxy.seen.map(({ operation }) => operation))).toEqual(new Set([...NEEDED, 'DeleteObject']));
    await expectWhole(bytes);
  });

  describe.each(NEEDED)('%s', (operation) => {
    it.each(LOST)('once with %s: the upload goes through', async (_, fault) => {
      const bytes = content();
      proxy.inject(once(operation, fault));
      expect(await tried(upload(store, 'one', bytes), bytes)).toBe('stored');
      await expectHealed('one', bytes);
    });

    it('with 503 for a while: nothing is acknowledged, and afterwards all is well', async () => {
      const bytes = content();
      proxy.inject(always(operation, { kind: 'answer', status: 503, body: ERROR.replace('InternalError', 'SlowDown') }));
      expect(await tried(upload(store, 'one', bytes), bytes)).toBe(503);
      await expectHealed('one', bytes);
    });
  });

  it.each(['CompleteMultipartUpload', 'CopyObject', 'UploadPartCopy'])('%s: an error in an answer 200 is an error', async (operation) => {
    const bytes = operation === 'CopyObject' ? content().subarray(0, 1000) : content();
    for (const body of [ERROR, '']) {
      proxy.inject(always(operation, { kind: 'answer', status: 200, body }));
      expect(await tried(upload(store, 'one', bytes), bytes)).toBe(503);
      expect(await witness.open(digestOf(bytes))).toBeUndefined();
    }
    await expectHealed('one', bytes);
  });

  it.each(['PutObject', 'UploadPart', 'CopyObject'])('%s: a success that was none is not believed', async (operation) => {
    const bytes = operation === 'UploadPart' ? content() : content().subarray(0, 1000);
    proxy.inject(always(operation, { kind: 'answer', status: 200, body: '<html>Welcome to the hotel</html>' }));
    expect(await tried(upload(store, 'one', bytes), bytes)).toBe(503);
    await expectHealed('one', bytes);
  });

  it('a copy that is said to be done and is not there is not acknowledged', async () => {
    const bytes = content().subarray(0, 1000);
    const body = '<CopyObjectResult><ETag>"0123456789abcdef0123456789abcdef"</ETag></CopyObjectResult>';
    proxy.inject(always('CopyObject', { kind: 'answer', status: 200, body }));
    expect(await tried(upload(store, 'one', bytes), bytes)).toBe(503);
    await expectHealed('one', bytes);
  });

  it('a server that is silent costs bounded time', async () => {
    const bytes = content();
    for (const operation of ['PutObject', 'UploadPart', 'CompleteMultipartUpload']) {
      proxy.inject(always(operation, { kind: 'silent', after: true }));
      expect(['stored', 503]).toContain(await tried(upload(store, operation, bytes), bytes));
      await expectHealed(operation, bytes);
    }
  });

  it('a server without room is told as that', async () => {
    const bytes = content();
    proxy.inject(always('UploadPart', { kind: 'answer', status: 507, body: ERROR.replace('InternalError', 'InsufficientStorage') }));
    expect(await tried(upload(store, 'one', bytes), bytes)).toBe(507);
    await expectHealed('one', bytes);
  });

  it('a server without conditional writes is written to all the same, one that has them is asked', async () => {
    const bytes = content();
    proxy.inject(({ headers }) =>
      headers['if-none-match'] === undefined
        ? undefined
        : { kind: 'answer', status: 501, body: ERROR.replace('InternalError', 'NotImplemented') },
    );
    const bucket = await openBucket(settingsOf(proxy.endpoint));
    const other = createS3Store(bucket, { prefix, redirect: false });
    await upload(other, 'one', bytes);
    await expectWhole(bytes);
    const asked = () => proxy.seen.filter(({ headers }) => headers['if-none-match'] === '*').length;
    expect(asked()).toBe(1);
    const second = content().subarray(1);
    await upload(other, 'two', second);
    await expectWhole(second);
    expect(asked()).toBe(1); // it is not asked again
    bucket.close();
  });

  it('another who stores the same blob meanwhile is no failure', async () => {
    const bytes = content();
    let meanwhile: Promise<void> | undefined;
    proxy.inject((request) => {
      if (request.headers['if-none-match'] === undefined || meanwhile) return undefined;
      meanwhile = witness.put(digestOf(bytes), bytes);
      return { kind: 'answer', status: 409, body: ERROR.replace('InternalError', 'ConditionalRequestConflict') };
    });
    expect(await tried(upload(store, 'one', bytes), bytes)).toBe('stored');
    await meanwhile;
    await expectHealed('one', bytes);
  });

  it('multipart uploads of blobs that nobody goes on with are aborted after a day', async () => {
    const key = `${prefix}docker/registry/v2/blobs/sha256/ab/abc/data`;
    const [old, young] = [await sound.beginParts(key, { copied: true }), await sound.beginParts(key, { copied: true })];
    const upload = (id: string, begun: number) =>
      `<Upload><Key>${key}</Key><UploadId>${id}</UploadId><Initiated>${new Date(begun).toISOString()}</Initiated></Upload>`;
    const hour = 3_600_000;
    const body = `<ListMultipartUploadsResult>${upload(old, Date.now() - 25 * hour)}${upload(young, Date.now() - 23 * hour)}</ListMultipartUploadsResult>`;
    proxy.inject(always('ListMultipartUploads', { kind: 'answer', status: 200, body }));
    for await (const id of store.staleUploads(Number.MAX_SAFE_INTEGER)) expect(id).toBe('none');
    const left: string[] = [];
    for await (const { uploadId } of sound.openParts(prefix)) left.push(uploadId);
    expect(left).toEqual([young]);
  });

  it('is led nowhere else by a redirect', async () => {
    const trap = await startFaultProxy(server.endpoint);
    for (const status of [301, 307, 308]) {
      proxy.inject(() => ({
        kind: 'answer',
        status,
        headers: { Location: `${trap.endpoint}/elsewhere`, 'x-amz-bucket-region': 'eu-west-1' },
      }));
      await expect(store.put(digestOf('x'), Buffer.from('x'))).rejects.toMatchObject({ status: 503 });
      await expect(store.open(digestOf('x'))).rejects.toMatchObject({ status: 503 });
    }
    expect(trap.seen).toEqual([]);
    await trap.close();
  });

  describe('reading', () => {
    let bytes: Buffer;
    beforeEach(async () => {
      bytes = content().subarray(0, 3 * MIB);
      await witness.put(digestOf(bytes), bytes);
    });

    const read = async () => await readSmall(store, digestOf(bytes), bytes.length);

    it.each<[string, Fault]>([
      ['breaks off', { kind: 'truncate', bytes: 0 }],
      ['is shorter than was asked for', { kind: 'short', bytes: MIB }],
      ['is empty', { kind: 'short', bytes: 0 }],
      ['is an error', { kind: 'answer', status: 500, body: ERROR }],
      ['is of another kind', { kind: 'answer', status: 200, body: 'x'.repeat(3 * MIB), headers: { 'Content-Range': 'bytes 1-3/4' } }],
    ])('an answer that %s never passes for the whole', async (_, fault) => {
      proxy.inject(always('GetObject', fault));
      expect(
        await read().then(
          () => 'whole',
          (error: unknown) => (error as AppError).status,
        ),
      ).toBe(503);
      proxy.inject();
      expect(bytes.equals((await read()) ?? Buffer.alloc(0))).toBe(true);
    });

    it('goes on from where an answer broke off', async () => {
      proxy.inject(once('GetObject', { kind: 'truncate', bytes: MIB }));
      expect(bytes.equals((await read()) ?? Buffer.alloc(0))).toBe(true);
      const ranges = proxy.seen.filter(({ operation }) => operation === 'GetObject').map(({ headers }) => headers.range);
      expect(ranges).toHaveLength(2);
      expect(ranges[1]).not.toBe(ranges[0]);
    });

    it('asks once for what is announced, however small the reads', async () => {
      const reader = await store.open(digestOf(bytes));
      if (!reader) throw new Error('the blob is not there');
      reader.announce?.(1000, 2 * MIB);
      const part = Buffer.alloc(50_000);
      for (let at = 1000; at < MIB; at += part.length) {
        expect(await reader.read(part, part.length, at)).toBe(part.length);
        expect(part.equals(bytes.subarray(at, at + part.length))).toBe(true);
      }
      expect(proxy.seen.filter(({ operation }) => operation === 'GetObject')).toHaveLength(1);
      await reader.close();
    });
  });
});
