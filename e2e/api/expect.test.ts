import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { basic, begin, Client, imageManifest, must, sha256 } from '../harness/client.ts';
import { head, openRaw, until } from '../harness/raw.ts';
import { startServer, type TestServer } from '../harness/server.ts';

const name = 'demo/app';
const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const FORM = 'application/x-www-form-urlencoded';
type Ask = readonly [method: string, path: string, headers?: Readonly<Record<string, string>>];
const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n';

/** Clients that wait to be asked for their body (RFC 9110 section 10.1.1). */
describe('Expect: 100-continue', () => {
  let server: TestServer;
  let client: Client;
  const config = Buffer.from('{}');
  beforeAll(async () => {
    server = await startServer({ options: { 'blob-max-bytes': '3000000' } });
    client = new Client(server.url);
    await client.pushBlob(name, config);
  });
  afterAll(async () => expect(await server.stop()).toBe(0));

  const waiting = ([method, path, headers]: Ask, length: number) =>
    head(method, path, { 'Content-Length': length, Expect: '100-continue', ...headers });

  const small = randomBytes(1000);
  const large = randomBytes(2_500_000);
  const manifest = Buffer.from(JSON.stringify(imageManifest(config, [])));
  const form = Buffer.from('grant_type=refresh_token&refresh_token=none');
  const uploads = `/v2/${name}/blobs/uploads/`;
  const session = () => begin(client, name);

  test.each<[string, Buffer, number, () => Promise<Ask>]>([
    ['PATCH', large, 202, async () => ['PATCH', await session()]],
    ['PUT of a small blob', small, 201, async () => ['PUT', `${await session()}?digest=${sha256(small)}`]],
    ['PUT of a large blob', large, 201, async () => ['PUT', `${await session()}?digest=${sha256(large)}`]],
    ['one POST of a small blob', small, 201, async () => ['POST', `${uploads}?digest=${sha256(small)}`]],
    ['one POST of a large blob', large, 201, async () => ['POST', `${uploads}?digest=${sha256(large)}`]],
    ['PUT of a manifest', manifest, 201, async () => ['PUT', `/v2/${name}/manifests/1`, { 'Content-Type': IMAGE }]],
    ['a form for the token service', form, 401, async () => ['POST', '/token', { 'Content-Type': FORM }]],
  ])('%s: asked for before the first byte, and the connection goes on', async (_, body, status, request) => {
    const connection = await openRaw(server);
    connection.send(waiting(await request(), body.length));
    await until('it is asked for', () => connection.received() !== '');
    expect(connection.received()).toBe(CONTINUE);
    connection.send(body);
    await until('the answer', () => connection.received().length > CONTINUE.length);
    expect(connection.received().slice(CONTINUE.length)).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    const before = connection.received().length;
    connection.send(head('GET', '/v2/'));
    await until('the next answer', () => connection.received().length > before);
    expect(connection.received().slice(before)).toContain('HTTP/1.1 200 OK\r\n');
    connection.socket.destroy();
  });

  const NOBODY = { Authorization: '' };
  const WRONG = { Authorization: basic('admin', 'not-the-password') };
  const none = `${uploads}00000000-0000-4000-8000-000000000000`;

  test.each<[string, number, () => Promise<Ask>, number?]>([
    ['nobody', 401, async () => ['POST', `${uploads}?digest=${sha256(small)}`, NOBODY]],
    ['nobody, a manifest', 401, async () => ['PUT', `/v2/${name}/manifests/1`, NOBODY]],
    ['a wrong password', 401, async () => ['PATCH', await session(), WRONG]],
    ['an unknown session', 404, async () => ['PATCH', none]],
    ['an unknown session, at the end', 404, async () => ['PUT', `${none}?digest=${sha256(small)}`]],
    ['a malformed digest', 400, async () => ['PUT', `${await session()}?digest=sha256:x`]],
    ['a malformed name', 400, async () => ['POST', `/v2/Demo/blobs/uploads/?digest=${sha256(small)}`]],
    ['a malformed tag', 400, async () => ['PUT', `/v2/${name}/manifests/.tag`]],
    ['no such method', 405, async () => ['PUT', `/v2/${name}/tags/list`]],
    ['no such route', 404, async () => ['PUT', '/v2/nothing']],
    ['a place out of order', 416, async () => ['PATCH', await session(), { 'Content-Range': '500-1499' }]],
    ['a blob too large', 413, async () => ['PATCH', await session()], 3_000_001],
    ['a blob too large, at the end', 413, async () => ['PUT', `${await session()}?digest=${sha256(small)}`], 3_000_001],
    ['a manifest too large', 413, async () => ['PUT', `/v2/${name}/manifests/1`], 64 << 20],
    ['an upload begun with a body that nobody wants', 202, async () => ['POST', uploads]],
  ])(
    '%s: answered without asking, and the connection ends, as its next bytes could be body or request',
    async (_, status, request, length = 1000) => {
      const connection = await openRaw(server);
      connection.send(waiting(await request(), length));
      await connection.closed;
      expect(connection.received()).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
      expect(connection.received()).toMatch(/\r\nConnection: close\r\n/i);
      expect(connection.received()).not.toContain('100 Continue');
    },
  );

  test('another expectation is not met: 417', async () => {
    const connection = await openRaw(server);
    connection.send(head('PATCH', await session(), { 'Content-Length': 5, Expect: 'miracles', Connection: 'close' }));
    await connection.closed;
    expect(connection.received()).toMatch(/^HTTP\/1\.1 417 /);
  });

  test('a client that does not wait after all is served too', async () => {
    const connection = await openRaw(server);
    connection.send(waiting(['PUT', `${await session()}?digest=${sha256(small)}`, { Connection: 'close' }], small.length));
    connection.send(small);
    await connection.closed;
    expect(connection.received()).toContain('HTTP/1.1 201 Created\r\n');
    await must(client, [200], 'HEAD', `/v2/${name}/blobs/${sha256(small)}`);
  });
});
