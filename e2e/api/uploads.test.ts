import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { begin, Client, errorOf, must, sha256, sha512 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { startServer, type TestServer } from '../harness/server.ts';
import { WAYS } from './ways.ts';

const name = 'demo/app';
const DIGESTS = { sha256, sha512 };
const algorithms = Object.keys(DIGESTS) as (keyof typeof DIGESTS)[];

describe('uploads', () => {
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

  const files = () => readdirSync(join(server.dataDir, 'storage'), { recursive: true }).sort();
  const forms = algorithms.flatMap((algorithm) => Object.entries(WAYS).map(([way, upload]) => [algorithm, way, upload] as const));
  // A buffer holds the first, the second is known to be small, the last passes through a file in several pieces.
  const SIZES = [8, 70_000, 2_600_000];

  test.each(forms)('%s by %s', async (algorithm, _, upload) => {
    for (const size of SIZES) {
      const bytes = randomBytes(size);
      const digest = DIGESTS[algorithm](bytes);
      const { answer, location } = await upload(client, name, bytes, digest);
      expect(answer.status, answer.bytes.toString()).toBe(201);
      expect(answer.headers.get('docker-content-digest')).toBe(digest);
      expect(answer.headers.get('location')).toBe(`/v2/${name}/blobs/${digest}`);
      const stored = await must(client, [200], 'GET', answer.headers.get('location') ?? '');
      expect(stored.bytes.equals(bytes)).toBe(true);
      if (location) expect(errorOf(await client.request('GET', location)).code).toBe('BLOB_UPLOAD_UNKNOWN');
    }
  });

  test.each(forms)('a wrong %s by %s: 400, nothing is stored and the session is over', async (algorithm, _, upload) => {
    const before = files();
    for (const size of SIZES) {
      const bytes = randomBytes(size);
      const claimed = DIGESTS[algorithm](randomBytes(size));
      const { answer, location } = await upload(client, name, bytes, claimed);
      expect(answer.status).toBe(400);
      expect(errorOf(answer).code).toBe('DIGEST_INVALID');
      for (const digest of [claimed, DIGESTS[algorithm](bytes)]) {
        expect(errorOf(await must(client, [404], 'GET', `/v2/${name}/blobs/${digest}`)).code).toMatch(/^(BLOB|NAME)_UNKNOWN$/);
      }
      if (location) await must(client, [404], 'GET', location);
    }
    expect(files()).toEqual(before);
  });

  test.each(algorithms)('the empty blob (%s), with and without a session', async (algorithm) => {
    const digest = DIGESTS[algorithm]('');
    const url = `/v2/${name}/blobs/${digest}`;
    const endings = [
      async () => must(client, [201], 'PUT', `${await begin(client, name)}?digest=${digest}`),
      async () => must(client, [201], 'POST', `/v2/${name}/blobs/uploads/?digest=${digest}`, { body: '' }),
    ];
    for (const end of endings) {
      await end();
      const stored = await must(client, [200], 'GET', url);
      expect(stored.bytes.length).toBe(0);
      expect(stored.headers.get('content-length')).toBe('0');
      expect((await must(client, [200], 'HEAD', url)).headers.get('content-length')).toBe('0');
      await must(client, [202], 'DELETE', url);
      await must(client, [404], 'GET', url);
    }
  });

  test('a session says where it is and how far it came, from its beginning on', async () => {
    const begun = await must(client, [202], 'POST', `/v2/${name}/blobs/uploads/`);
    const location = begun.headers.get('location') ?? '';
    const id = begun.headers.get('docker-upload-uuid') ?? '';
    expect(id).toMatch(/^[A-Za-z0-9._-]{36,}$/);
    expect(location.startsWith(`/v2/${name}/blobs/uploads/${id}`)).toBe(true);
    const state = ({ headers }: { headers: Headers }) => ({
      location: headers.get('location'),
      range: headers.get('range'),
      id: headers.get('docker-upload-uuid'),
      length: headers.get('content-length'),
    });
    const at = (range: string, length: string | null) => ({ location, range, id, length });
    expect(state(begun)).toEqual(at('0-0', '0'));
    expect(state(await must(client, [204], 'GET', location))).toEqual(at('0-0', null));
    expect(state(await must(client, [202], 'PATCH', location, { body: randomBytes(500) }))).toEqual(at('0-499', '0'));
    expect(state(await must(client, [204], 'GET', location))).toEqual(at('0-499', null));
    expect(state(await must(client, [202], 'PATCH', location, { body: randomBytes(700_000) }))).toEqual(at('0-700499', '0'));
    expect(state(await must(client, [204], 'GET', location))).toEqual(at('0-700499', null));
  });

  test('cancelled, it is gone for every method', async () => {
    for (const body of [undefined, randomBytes(1000)]) {
      const location = await begin(client, name);
      if (body) await must(client, [202], 'PATCH', location, { body });
      const cancelled = await must(client, [204], 'DELETE', location);
      expect(cancelled.bytes.length).toBe(0);
      const bytes = Buffer.from('x');
      for (const [method, path] of [
        ['GET', location],
        ['PATCH', location],
        ['PUT', `${location}?digest=${sha256(bytes)}`],
        ['DELETE', location],
      ] as const) {
        const answer = await must(client, [404], method, path, method === 'GET' || method === 'DELETE' ? {} : { body: bytes });
        expect(errorOf(answer).code).toBe('BLOB_UPLOAD_UNKNOWN');
      }
    }
  });

  test('more in the query than the digest does no harm', async () => {
    const bytes = randomBytes(100);
    const location = await begin(client, name, '?origin=elsewhere');
    await must(client, [202], 'PATCH', `${location}?_state=a%2Bb%26c`, { body: bytes });
    await must(client, [201], 'PUT', `${location}?_state=a%2Bb%26c&digest=${encodeURIComponent(sha256(bytes))}&x`);
    await must(client, [200], 'HEAD', `/v2/${name}/blobs/${sha256(bytes)}`);
  });

  test.each(['md5', 'SHA256', 'sha256:', 'sha-256', ''])('digest-algorithm=%s is refused', async (algorithm) => {
    const answer = await must(client, [400], 'POST', `/v2/${name}/blobs/uploads/?digest-algorithm=${algorithm}`);
    expect(errorOf(answer).code).toBe('DIGEST_INVALID');
  });

  test.each([
    `sha256:${'0'.repeat(63)}`,
    `sha256:${'0'.repeat(65)}`,
    `sha256:${'A'.repeat(64)}`,
    `sha512:${'0'.repeat(64)}`,
    `sha384:${'0'.repeat(96)}`,
    `SHA256:${'0'.repeat(64)}`,
    '0'.repeat(64),
    'sha256',
    '',
  ])('the digest "%s" is refused wherever one is named, and a session outlives it', async (digest) => {
    const location = await begin(client, name);
    for (const [method, path] of [
      ['PUT', `${location}?digest=${digest}`],
      ['POST', `/v2/${name}/blobs/uploads/?digest=${digest}`],
      ['POST', `/v2/${name}/blobs/uploads/?mount=${digest}&from=demo/other`],
      ['GET', `/v2/${name}/referrers/${digest}`],
    ] as const) {
      const answer = await client.request(method, path, method === 'GET' ? {} : { body: 'x' });
      expect({ path, status: answer.status, code: errorOf(answer).code }).toEqual({ path, status: 400, code: 'DIGEST_INVALID' });
    }
    await must(client, [204], 'GET', location);
  });

  test('PUT without any digest: 400, and the session goes on', async () => {
    const bytes = randomBytes(2000);
    const location = await begin(client, name);
    await must(client, [202], 'PATCH', location, { body: bytes });
    expect(errorOf(await must(client, [400], 'PUT', location)).code).toBe('DIGEST_INVALID');
    await must(client, [201], 'PUT', `${location}?digest=${sha256(bytes)}`);
  });

  test('the same blob again is welcome, whichever way', async () => {
    const bytes = randomBytes(5000);
    for (const upload of Object.values(WAYS)) expect((await upload(client, name, bytes, sha256(bytes))).answer.status).toBe(201);
    expect((await must(client, [200], 'GET', `/v2/${name}/blobs/${sha256(bytes)}`)).bytes.equals(bytes)).toBe(true);
  });
});
