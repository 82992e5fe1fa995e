import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { begin, Client, errorOf, imageManifest, must, sha256, sha512 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { startServer, type TestServer } from '../harness/server.ts';

const name = 'demo/app';

describe('blobs', () => {
  let server: TestServer;
  let client: Client;
  beforeAll(async () => {
    server = await startServer();
    client = new Client(server.url);
  });
  afterAll(async () => {
    expect(await server.stop()).toBe(0);
    await checkInvariants(server.dataDir);
  });

  // The first is kept in memory once read, the second is read from its file.
  describe.each([1000, 700_000])('of %i bytes', (size) => {
    const bytes = randomBytes(size);
    const digest = sha256(bytes);
    const url = `/v2/${name}/blobs/${digest}`;
    const etag = `"${digest}"`;
    beforeAll(async () => void (await client.pushBlob(name, bytes)));

    const get = (headers: Record<string, string> = {}) => client.request('GET', url, { headers });

    test('GET and HEAD tell the same, GET again and again', async () => {
      for (const method of ['HEAD', 'GET', 'GET', 'HEAD']) {
        const answer = await must(client, [200], method, url);
        expect(Object.fromEntries(answer.headers)).toMatchObject({
          'content-length': String(size),
          'content-type': 'application/octet-stream',
          'docker-content-digest': digest,
          'docker-distribution-api-version': 'registry/2.0',
          'accept-ranges': 'bytes',
          etag,
        });
        expect(answer.bytes.equals(method === 'GET' ? bytes : Buffer.alloc(0))).toBe(true);
      }
    });

    test.each<[string, number, number]>([
      ['bytes=0-0', 0, 0],
      ['bytes=0-99', 0, 99],
      ['bytes=100-199', 100, 199],
      ['bytes=990-', 990, size - 1],
      ['bytes=0-', 0, size - 1],
      ['bytes=-10', size - 10, size - 1],
      [`bytes=-${size}`, 0, size - 1],
      [`bytes=-${size + 5}`, 0, size - 1],
      ['bytes=500-99999999999', 500, size - 1],
      [`bytes=${size - 1}-${size - 1}`, size - 1, size - 1],
      ['bytes= 3-4 ', 3, 4],
      ['BYTES=3-4', 3, 4],
      [`bytes=${size}-,3-4`, 3, 4],
    ])('Range: %s', async (range, start, end) => {
      const answer = await get({ Range: range });
      expect(answer.status).toBe(206);
      expect(answer.headers.get('content-range')).toBe(`bytes ${start}-${end}/${size}`);
      expect(answer.headers.get('content-length')).toBe(String(end - start + 1));
      expect(answer.headers.get('docker-content-digest')).toBe(digest);
      expect(answer.bytes.equals(bytes.subarray(start, end + 1))).toBe(true);
    });

    test.each([`bytes=${size}-`, `bytes=${size}-${size + 9}`, 'bytes=-0', 'bytes=5-4', `bytes=${size + 1}-,${size + 7}-`])(
      'Range: %s cannot be met: 416 with the size',
      async (range) => {
        const answer = await get({ Range: range });
        expect(answer.status).toBe(416);
        expect(answer.headers.get('content-range')).toBe(`bytes */${size}`);
        expect(errorOf(answer).code).toBe('RANGE_INVALID');
      },
    );

    test.each([
      'bytes',
      'bytes=',
      'bytes=-',
      'bytes=a-b',
      'bytes=1',
      'bytes=1-2-3',
      'bytes=0x1-2',
      'lines=1-2',
      '1-2',
      'bytes=1-2;3-4',
      'bytes=1-2,x',
    ])('Range: %s says nothing: all of it', async (range) => {
      const answer = await get({ Range: range });
      expect(answer.status).toBe(200);
      expect(answer.bytes.equals(bytes)).toBe(true);
    });

    test.each<[string, [number, number][]]>([
      [
        'bytes=0-9,20-29',
        [
          [0, 9],
          [20, 29],
        ],
      ],
      [
        'bytes=20-29, 0-9 ,5-7,-1',
        [
          [20, 29],
          [0, 9],
          [5, 7],
          [size - 1, size - 1],
        ],
      ],
      [
        'bytes=0-499,500-',
        [
          [0, 499],
          [500, size - 1],
        ],
      ],
    ])('Range: %s comes in parts, to the byte', async (range, parts) => {
      const answer = await get({ Range: range });
      expect(answer.status).toBe(206);
      const [, boundary = ''] = /^multipart\/byteranges; boundary=([0-9a-f]+)$/.exec(answer.headers.get('content-type') ?? '') ?? [];
      const pieces = parts.flatMap(([start, end]) => [
        Buffer.from(`\r\n--${boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes ${start}-${end}/${size}\r\n\r\n`),
        bytes.subarray(start, end + 1),
      ]);
      const expected = Buffer.concat([...pieces, Buffer.from(`\r\n--${boundary}--\r\n`)]);
      expect(answer.bytes.equals(expected)).toBe(true);
      expect(answer.headers.get('content-length')).toBe(String(expected.length));
      expect(answer.headers.get('content-range')).toBeNull();
    });

    test('many parts, or more than the whole in parts: all of it, once', async () => {
      for (const range of [`bytes=${Array(1000).fill('0-0').join()}`, 'bytes=0-,0-', `bytes=0-${size - 2},3-9`]) {
        const answer = await get({ Range: range });
        expect(answer.status).toBe(200);
        expect(answer.bytes.equals(bytes)).toBe(true);
      }
    });

    test('If-Range: a part where it still is the same, else all of it', async () => {
      const part = await get({ Range: 'bytes=1-2', 'If-Range': etag });
      expect(part.status).toBe(206);
      for (const other of [`W/${etag}`, `"${sha256('other')}"`, digest, new Date().toUTCString(), '*']) {
        const whole = await get({ Range: 'bytes=1-2', 'If-Range': other });
        expect(whole.status).toBe(200);
        expect(whole.bytes.equals(bytes)).toBe(true);
      }
      // A range that cannot be met does not matter then.
      expect((await get({ Range: `bytes=${size}-`, 'If-Range': '"other"' })).status).toBe(200);
    });

    test('If-None-Match: 304 without a body where the client has it', async () => {
      for (const method of ['GET', 'HEAD']) {
        for (const given of [etag, `W/${etag}`, `"a", ${etag}`, '*']) {
          const answer = await client.request(method, url, { headers: { 'If-None-Match': given, Range: 'bytes=0-1' } });
          expect({ given, status: answer.status }).toEqual({ given, status: 304 });
          expect(answer.headers.get('etag')).toBe(etag);
          // A length here would be that of the blob (RFC 9110 section 8.6).
          expect(answer.headers.get('content-length')).toBeNull();
        }
        for (const given of ['"a"', digest, `"${digest.slice(0, -1)}"`])
          await must(client, [200], method, url, { headers: { 'If-None-Match': given } });
      }
    });

    test('deleted: gone at once in every way, while another repository keeps it; pushed again: there at once', async () => {
      await client.pushBlob('demo/keeper', bytes);
      for (let round = 0; round < 2; round++) {
        await must(client, [200], 'GET', url);
        const deleted = await must(client, [202], 'DELETE', url);
        expect(deleted.bytes.length).toBe(0);
        for (const headers of [{}, { Range: 'bytes=0-1' }, { 'If-None-Match': etag }]) {
          expect(errorOf(await must(client, [404], 'GET', url, { headers })).code).toBe('BLOB_UNKNOWN');
        }
        await must(client, [404], 'HEAD', url);
        expect(errorOf(await must(client, [404], 'DELETE', url)).code).toBe('BLOB_UNKNOWN');
        await must(client, [200], 'GET', `/v2/demo/keeper/blobs/${digest}`);
        await client.pushBlob(name, bytes);
        expect((await must(client, [200], 'GET', url)).bytes.equals(bytes)).toBe(true);
      }
    });
  });

  test('of no bytes have no range that could be met', async () => {
    const digest = sha256('');
    await must(client, [201], 'PUT', `${await begin(client, name)}?digest=${digest}`);
    for (const range of ['bytes=0-', 'bytes=0-0', 'bytes=-1']) {
      const answer = await must(client, [416], 'GET', `/v2/${name}/blobs/${digest}`, { headers: { Range: range } });
      expect(answer.headers.get('content-range')).toBe('bytes */0');
    }
  });

  test('known by sha512 are not known by sha256', async () => {
    const bytes = randomBytes(100);
    await must(client, [201], 'POST', `/v2/${name}/blobs/uploads/?digest=${sha512(bytes)}`, { body: bytes });
    const answer = await must(client, [200], 'GET', `/v2/${name}/blobs/${sha512(bytes)}`);
    expect(answer.headers.get('docker-content-digest')).toBe(sha512(bytes));
    expect(answer.headers.get('etag')).toBe(`"${sha512(bytes)}"`);
    await must(client, [404], 'GET', `/v2/${name}/blobs/${sha256(bytes)}`);
  });

  test('that a manifest needs are not deleted, and the answer says which manifest', async () => {
    const config = randomBytes(50);
    const layer = randomBytes(60);
    const image = await client.pushImage(name, 'needs', [layer]);
    await client.pushBlob(name, config);
    const other = await client.pushManifest(name, 'needs-too', imageManifest(config, [layer]));
    for (const digest of [sha256(layer), sha256(config)]) {
      const answer = await must(client, [405], 'DELETE', `/v2/${name}/blobs/${digest}`);
      const { code, message } = errorOf(answer);
      expect(code).toBe('UNSUPPORTED');
      expect([image.digest, other.digest].some((needing) => message.includes(needing))).toBe(true);
      await must(client, [200], 'GET', `/v2/${name}/blobs/${digest}`);
    }
    await must(client, [202], 'DELETE', `/v2/${name}/manifests/${image.digest}`);
    await must(client, [405], 'DELETE', `/v2/${name}/blobs/${sha256(layer)}`);
    await must(client, [202], 'DELETE', `/v2/${name}/manifests/${other.digest}`);
    await must(client, [202], 'DELETE', `/v2/${name}/blobs/${sha256(layer)}`);
    await must(client, [202], 'DELETE', `/v2/${name}/blobs/${sha256(config)}`);
  });
});
