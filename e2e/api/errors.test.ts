import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { basic, begin, Client, errorOf, imageManifest, must, sha256 } from '../harness/client.ts';
import { type People, populate } from '../harness/people.ts';
import { ask } from '../harness/raw.ts';
import { ADMIN, startServer, type TestServer } from '../harness/server.ts';

const name = 'demo/app';
const none = sha256('none');
const noUpload = `/v2/${name}/blobs/uploads/00000000-0000-4000-8000-000000000000`;

describe('errors', () => {
  let server: TestServer;
  let client: Client;
  let people: People;
  const config = randomBytes(20);
  beforeAll(async () => {
    server = await startServer();
    client = new Client(server.url);
    people = await populate(server, { users: ['alice', 'bob'], projects: { demo: { members: { alice: 'guest' } } } });
    await client.pushBlob(name, config);
    await client.pushManifest(name, '1', imageManifest(config, []));
  });
  afterAll(async () => expect(await server.stop()).toBe(0));

  test.each<[string, string, number, string]>([
    ['GET', `/v2/${name}/manifests/none`, 404, 'MANIFEST_UNKNOWN'],
    ['GET', `/v2/${name}/manifests/${none}`, 404, 'MANIFEST_UNKNOWN'],
    ['DELETE', `/v2/${name}/manifests/none`, 404, 'MANIFEST_UNKNOWN'],
    ['DELETE', `/v2/${name}/manifests/${none}`, 404, 'MANIFEST_UNKNOWN'],
    ['GET', '/v2/demo/none/manifests/1', 404, 'NAME_UNKNOWN'],
    ['GET', '/v2/none/none/manifests/1', 404, 'NAME_UNKNOWN'],
    ['DELETE', '/v2/demo/none/manifests/1', 404, 'NAME_UNKNOWN'],
    ['GET', `/v2/${name}/manifests/sha256:abc`, 400, 'DIGEST_INVALID'],
    ['GET', `/v2/${name}/manifests/.tag`, 400, 'TAG_INVALID'],
    ['PUT', `/v2/${name}/manifests/.tag`, 400, 'TAG_INVALID'],
    ['PUT', `/v2/${name}/manifests/1`, 400, 'MANIFEST_INVALID'],
    ['GET', `/v2/${name}/blobs/${none}`, 404, 'BLOB_UNKNOWN'],
    ['DELETE', `/v2/${name}/blobs/${none}`, 404, 'BLOB_UNKNOWN'],
    ['GET', `/v2/demo/none/blobs/${none}`, 404, 'NAME_UNKNOWN'],
    ['GET', `/v2/${name}/blobs/1`, 400, 'DIGEST_INVALID'],
    ['DELETE', `/v2/${name}/blobs/sha256:`, 400, 'DIGEST_INVALID'],
    ['GET', noUpload, 404, 'BLOB_UPLOAD_UNKNOWN'],
    ['PATCH', noUpload, 404, 'BLOB_UPLOAD_UNKNOWN'],
    ['PUT', `${noUpload}?digest=${none}`, 404, 'BLOB_UPLOAD_UNKNOWN'],
    ['DELETE', noUpload, 404, 'BLOB_UPLOAD_UNKNOWN'],
    ['PATCH', `/v2/${name}/blobs/uploads/x`, 404, 'BLOB_UPLOAD_UNKNOWN'],
    ['POST', '/v2/Demo/app/blobs/uploads/', 400, 'NAME_INVALID'],
    ['POST', `/v2/${'a'.repeat(256)}/blobs/uploads/`, 400, 'NAME_INVALID'],
    ['GET', '/v2/demo/none/tags/list', 404, 'NAME_UNKNOWN'],
    ['GET', `/v2/${name}/tags/list?n=x`, 400, 'PAGINATION_NUMBER_INVALID'],
    ['GET', `/v2/${name}/referrers/1`, 400, 'DIGEST_INVALID'],
    ['GET', '/v2/%ff/tags/list', 400, 'NAME_INVALID'],
  ])('%s %s: %i %s', async (method, path, status, code) => {
    const answer = await client.request(method, path, method === 'PUT' || method === 'PATCH' ? { body: 'x' } : {});
    expect([answer.status, errorOf(answer).code]).toEqual([status, code]);
    expect(answer.headers.get('docker-distribution-api-version')).toBe('registry/2.0');
    expect(answer.headers.get('content-length')).toBe(String(answer.bytes.length));
  });

  test.each([
    [`/v2/${name}/manifests/none`, 404],
    [`/v2/${name}/manifests/.x`, 400],
    [`/v2/${name}/blobs/${none}`, 404],
    [`/v2/${name}/blobs/x`, 400],
    ['/v2/Demo/manifests/1', 400],
    ['/v2/none', 404],
  ])('HEAD %s: %i without a body, and the connection goes on', async (path, status) => {
    const answer = await client.request('HEAD', path);
    expect([answer.status, answer.bytes.length]).toEqual([status, 0]);
    await must(client, [200], 'GET', '/v2/');
  });

  test('HEAD without credentials: 401 with the challenge and without a body', async () => {
    for (const path of ['/v2/', `/v2/${name}/manifests/1`, `/v2/${name}/blobs/${none}`]) {
      const answer = await Client.anonymous(server.url).request('HEAD', path);
      expect([answer.status, answer.bytes.length]).toEqual([401, 0]);
      expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer realm="/);
    }
  });

  test.each<[string, string]>([
    ['/v2/', 'GET, HEAD'],
    ['/v2/_catalog', 'GET'],
    [`/v2/${name}/manifests/1`, 'GET, HEAD, PUT, DELETE'],
    [`/v2/${name}/blobs/${none}`, 'GET, HEAD, DELETE'],
    [`/v2/${name}/blobs/uploads/`, 'POST'],
    [noUpload, 'PATCH, PUT, GET, DELETE'],
    [`/v2/${name}/tags/list`, 'GET'],
    [`/v2/${name}/referrers/${none}`, 'GET'],
  ])('%s allows %s and no other method', async (path, allowed) => {
    for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND', 'PURGE'].filter(
      (m) => !allowed.split(', ').includes(m),
    )) {
      const answer = await client.request(method, path);
      expect({ method, status: answer.status, allow: answer.headers.get('allow') }).toEqual({ method, status: 405, allow: allowed });
      if (method !== 'HEAD') expect(errorOf(answer).code).toBe('UNSUPPORTED');
    }
  });

  test.each([
    `/v2/${name}/tags/list/`,
    `/v2/${name}/tags/`,
    `/v2/${name}/tags`,
    `/v2/${name}/tags/List`,
    `/v2/${name}/Tags/list`,
    `/v2/${name}/manifests/1/`,
    `/v2/${name}/Manifests/1`,
    `/v2/${name}/manifests`,
    `/v2/${name}/manifests/`,
    `/v2/${name}/blobs/`,
    `/v2/${name}/blobs/${none}/`,
    `/v2/${name}/uploads/`,
    `/v2/${name}`,
    '/v2/manifests/1',
    '/v2/tags/list',
    '/v2//manifests/1',
    '/v2/_catalog/',
    '/v2/_Catalog',
    '/v2/_oci/ext/discover',
    '/v2//',
    '/v2x',
    '/v2.0/',
    '/V2/',
    '/v1/search?q=x',
    '/v1/_ping',
    '/',
    '/token/',
    '/Token',
  ])('there is nothing at %s', async (path) => {
    const answer = await client.request('GET', path);
    expect([400, 404]).toContain(answer.status);
    expect(errorOf(answer).code).toMatch(/^(UNSUPPORTED|NAME_INVALID|TAG_INVALID|DIGEST_INVALID)$/);
  });

  test('a whole address instead of a path is that path, and its host the one that counts', async () => {
    const get = (target: string, headers = '') => ask(server, `GET ${target} HTTP/1.1\r\nHost: a\r\n${headers}Connection: close\r\n\r\n`);
    for (const target of [
      'http://registry.example:5000/v2/',
      'HTTPS://registry.example:5000/v2/',
      'http://user:word@registry.example:5000/v2/',
      `http://registry.example:5000/v2/${name}/tags/list?n=1`,
    ]) {
      const answer = await get(target);
      expect(answer).toMatch(/^HTTP\/1\.1 401 /);
      expect(answer).toContain('realm="http://registry.example:5000/token"');
    }
    const authorization = `Authorization: ${basic(ADMIN.user, ADMIN.password)}\r\n`;
    expect(await get(`http://x/v2/${name}/tags/list?n=1`, authorization)).toContain('{"name":"demo/app","tags":["1"]}');
    expect(await get('http://x', authorization)).toMatch(/^HTTP\/1\.1 404 /);
    expect(await get('http://x/livez')).toMatch(/^HTTP\/1\.1 200 /);
    expect(await get('http://x?/v2/', authorization)).toMatch(/^HTTP\/1\.1 404 /);
  });

  test('what a user may not do is denied, before anything is looked at', async () => {
    const [guest, stranger] = [people.client('alice'), people.client('bob')];
    const location = await begin(client, name);
    const changes: [string, string][] = [
      ['POST', `/v2/${name}/blobs/uploads/`],
      ['PATCH', location],
      ['PUT', `${location}?digest=${none}`],
      ['GET', location],
      ['DELETE', location],
      ['PUT', `/v2/${name}/manifests/1`],
      ['DELETE', `/v2/${name}/manifests/1`],
      ['DELETE', `/v2/${name}/blobs/${none}`],
    ];
    const reads: [string, string][] = [
      ['GET', `/v2/${name}/manifests/1`],
      ['GET', `/v2/${name}/blobs/${sha256(config)}`],
      ['GET', `/v2/${name}/tags/list`],
      ['GET', `/v2/${name}/referrers/${none}`],
    ];
    for (const [by, asked] of [
      [guest, changes],
      [stranger, [...changes, ...reads]],
    ] as const) {
      for (const [method, path] of asked) {
        const answer = await by.request(method, path, method === 'PUT' || method === 'PATCH' ? { body: 'x' } : {});
        expect([method, path, answer.status, errorOf(answer).code]).toEqual([method, path, 403, 'DENIED']);
      }
    }
    for (const [method, path] of reads) await must(guest, [200], method, path);
    await must(client, [204], 'DELETE', location);
  });

  test('an error in the middle of a body leaves the connection in use', async () => {
    const wrong = new Client(server.url, basic('admin', 'wrong-password-here'));
    for (let round = 0; round < 3; round++) {
      expect(errorOf(await must(wrong, [401], 'PUT', `/v2/${name}/manifests/1`, { body: randomBytes(3_000_000) })).code).toBe(
        'UNAUTHORIZED',
      );
      expect(errorOf(await must(client, [404], 'PATCH', noUpload, { body: randomBytes(3_000_000) })).code).toBe('BLOB_UPLOAD_UNKNOWN');
      await must(client, [200], 'GET', `/v2/${name}/manifests/1`);
    }
  });
});
