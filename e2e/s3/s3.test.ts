import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type FaultProxy, startFaultProxy } from '../../packages/server/src/content/s3/testing-fault-proxy.ts';
import { BUCKET, describeOnS3, KEYS, startS3, type TestS3 } from '../../packages/server/src/content/s3/testing-server.ts';
import { randomImage, writeLayout } from '../clients/images.ts';
import { workbench } from '../clients/workbench.ts';
import { Client, must, sha256 } from '../harness/client.ts';
import { head, openRaw, until } from '../harness/raw.ts';
import { startServer, type TestServer, temporaryFolder } from '../harness/server.ts';
import { has } from '../harness/tools.ts';

const name = 'demo/app';
const MIB = 1 << 20;

describeOnS3('a registry on an S3 bucket', () => {
  let s3: TestS3;
  let proxy: FaultProxy;
  let folder: string;
  let server: TestServer;
  let client: Client;

  beforeAll(async () => {
    s3 = await startS3();
    proxy = await startFaultProxy(s3.endpoint);
    folder = temporaryFolder();
    writeFileSync(join(folder, 'secret'), `${KEYS.secret}\n`, { mode: 0o600 });
    await start();
  });
  afterEach(() => proxy.inject());
  afterAll(async () => {
    await server.stop('SIGKILL');
    await proxy.close();
    await s3.close();
  });

  const options = (redirect: boolean) => ({
    storage: 's3',
    's3-bucket': BUCKET,
    's3-endpoint': proxy.endpoint,
    's3-prefix': 'registry/test',
    's3-access-key-id': KEYS.id,
    's3-secret-key-file': join(folder, 'secret'),
    's3-redirect': String(redirect),
  });
  const start = async (dataDir?: string, redirect = false) => {
    server = await startServer({ ...(dataDir ? { dataDir } : {}), options: options(redirect) });
    client = new Client(server.url);
  };
  const restart = async (signal: NodeJS.Signals, redirect = false) => {
    await server.stop(signal);
    await start(server.dataDir, redirect);
  };
  const begin = async () => (await must(client, [202], 'POST', `/v2/${name}/blobs/uploads/`)).headers.get('location') ?? '';
  const blobAt = (digest: string) => `/v2/${name}/blobs/${digest}`;
  /** How far an upload is, as its status says. */
  const offset = async (location: string) => {
    const range = (await must(client, [204], 'GET', location)).headers.get('range') ?? '';
    return range === '0-0' ? 0 : Number(range.split('-')[1]) + 1;
  };
  const expectBlob = async (bytes: Buffer) =>
    expect((await must(client, [200], 'GET', blobAt(sha256(bytes)))).bytes.equals(bytes)).toBe(true);

  test('keeps blobs at the keys of distribution, and nothing of them on the disk of the server', async () => {
    const bytes = randomBytes(3 * MIB);
    const digest = await client.pushBlob(name, bytes);
    const hex = digest.slice(7);
    const path = join(s3.folder, 'registry/test/docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex, 'data');
    expect(readFileSync(path).equals(bytes)).toBe(true);
    expect(readdirSync(server.dataDir)).not.toContain('storage');
    await expectBlob(bytes);
    const part = await must(client, [206], 'GET', blobAt(digest), { headers: { Range: 'bytes=1000000-2999999' } });
    expect(part.bytes.equals(bytes.subarray(1_000_000, 3_000_000))).toBe(true);
  });

  test.runIf(has('skopeo')).each([false, true])('skopeo pushes and pulls, with redirects: %s', async (redirect) => {
    await restart('SIGTERM', redirect);
    const bench = workbench();
    await bench.login(server);
    const image = randomImage(3, 5_000_000);
    writeLayout(join(bench.folder, 'image'), image, 'v1');
    const reference = `docker://${server.address}/demo/image-${redirect}:v1`;
    await bench.skopeo('copy', '--dest-tls-verify=false', `oci:${join(bench.folder, 'image')}:v1`, reference);
    proxy.seen.length = 0;
    await bench.skopeo('copy', '--src-tls-verify=false', reference, `dir:${join(bench.folder, 'pulled')}`);
    for (const blob of image.blobs) {
      expect(readFileSync(join(bench.folder, 'pulled', sha256(blob).slice(7))).equals(blob)).toBe(true);
    }
    const agents = proxy.seen.filter(({ operation }) => operation === 'GetObject').map(({ headers }) => headers['user-agent'] ?? '');
    expect(agents.some((agent) => agent.startsWith('skopeo'))).toBe(redirect);
  });

  test('with redirects, a larger blob is fetched from the bucket, by an address that needs no key and is of no use elsewhere', async () => {
    await restart('SIGTERM', true);
    const bytes = randomBytes(MIB);
    const [large, small] = [await client.pushBlob(name, bytes), await client.pushBlob(name, Buffer.from('small'))];
    expect((await must(client, [200], 'HEAD', blobAt(large))).headers.get('content-length')).toBe(String(MIB));
    expect((await must(client, [200], 'GET', blobAt(small))).bytes.toString()).toBe('small');
    const answer = await must(client, [307], 'GET', blobAt(large));
    expect(answer.headers.get('docker-content-digest')).toBe(large);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    const location = answer.headers.get('location') ?? '';
    expect(location.startsWith(`${proxy.endpoint}/${BUCKET}/registry/test/`)).toBe(true);
    const fetched = await fetch(location);
    expect(fetched.headers.get('content-disposition')).toBe('attachment');
    expect(Buffer.from(await fetched.arrayBuffer()).equals(bytes)).toBe(true);
    expect((await fetch(location, { headers: { Range: 'bytes=10-19' } })).headers.get('content-range')).toBe(`bytes 10-19/${MIB}`);
    for (const method of ['PUT', 'DELETE']) expect((await fetch(location, { method })).status).toBe(403);
    expect((await fetch(location.replace(large.slice(7), 'f'.repeat(64)))).status).toBe(403);
    await must(client, [416], 'GET', blobAt(large), { headers: { Range: 'bytes=99999999-' } });
    const several = await must(client, [206], 'GET', blobAt(large), { headers: { Range: 'bytes=0-9,100-109' } });
    expect(several.headers.get('content-type')).toContain('multipart/byteranges');
    await must(Client.anonymous(server.url), [401], 'GET', blobAt(large));
    await restart('SIGTERM');
  });

  describe('an upload', () => {
    const bytes = randomBytes(12 * MIB);

    test.each<NodeJS.Signals>(['SIGTERM', 'SIGKILL'])('goes on after %s, in chunks of any size', async (signal) => {
      const own = Buffer.concat([Buffer.from(signal), bytes]);
      const location = await begin();
      let at = 0;
      for (const size of [MIB, 100_000, 9 * MIB]) {
        await must(client, [202], 'PATCH', location, { body: own.subarray(at, at + size) });
        at += size;
        if (at !== MIB) await restart(signal);
        expect(await offset(location)).toBe(at);
      }
      await must(client, [201], 'PUT', `${location}?digest=${sha256(own)}`, { body: own.subarray(at) });
      await expectBlob(own);
    });

    test('that a kill hit in the midst of a chunk goes on from where its status says', async () => {
      const own = Buffer.concat([Buffer.from('killed'), bytes]);
      const location = await begin();
      await must(client, [202], 'PATCH', location, { body: own.subarray(0, MIB) });
      const connection = await openRaw(server);
      proxy.seen.length = 0;
      connection.send(head('PATCH', location, { 'Content-Length': own.length - MIB }));
      connection.send(own.subarray(MIB, 11 * MIB));
      await until('a part is sent', () => proxy.seen.some(({ operation }) => operation === 'UploadPart'));
      await restart('SIGKILL');
      connection.socket.destroy();
      const have = await offset(location);
      expect(have).toBeGreaterThanOrEqual(MIB);
      await must(client, [202], 'PATCH', location, { body: own.subarray(have) });
      await must(client, [201], 'PUT', `${location}?digest=${sha256(own)}`);
      await expectBlob(own);
    });

    test('that a cut connection broke off keeps what arrived', async () => {
      const own = Buffer.concat([Buffer.from('cut'), bytes]);
      const location = await begin();
      const connection = await openRaw(server);
      proxy.seen.length = 0;
      connection.send(head('PATCH', location, { 'Content-Length': own.length }));
      connection.send(own.subarray(0, 10 * MIB));
      await until('a part is sent', () => proxy.seen.some(({ operation }) => operation === 'UploadPart'));
      connection.socket.destroy();
      await until('the rest is stored', async () => (await offset(location)) > 8 * MIB);
      const have = await offset(location);
      await must(client, [201], 'PUT', `${location}?digest=${sha256(own)}`, { body: own.subarray(have) });
      await expectBlob(own);
    });
  });

  test('F: a bucket that fails is told as 503 with Retry-After, never as success, and all is well afterwards', async () => {
    const [stored, small, large] = [randomBytes(MIB), randomBytes(1000), randomBytes(10 * MIB)];
    await client.pushBlob(name, stored);
    const body = '<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>';
    proxy.inject(() => ({ kind: 'answer', status: 503, body }));
    const location = await begin();
    for (const bytes of [small, large]) {
      const refused = await client.request('PUT', `${await begin()}?digest=${sha256(bytes)}`, { body: bytes });
      expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '2']);
      expect(refused.bytes.toString()).toContain('UNAVAILABLE');
    }
    expect((await client.request('GET', blobAt(sha256(stored)))).status).toBe(503);
    expect((await client.request('PATCH', location, { body: large })).status).toBe(503);
    await until('it is not ready', async () => (await fetch(`${server.url}/readyz`)).status === 503);
    expect((await fetch(`${server.url}/livez`)).status).toBe(200);
    proxy.inject();
    await until('it is ready', async () => (await fetch(`${server.url}/readyz`)).status === 200);
    for (const bytes of [small, large]) await must(client, [404], 'HEAD', blobAt(sha256(bytes)));
    const have = await offset(location);
    await must(client, [201], 'PUT', `${location}?digest=${sha256(large)}`, { body: large.subarray(have) });
    await client.pushBlob(name, small);
    for (const bytes of [stored, small, large]) await expectBlob(bytes);
  });

  test('F: a blob that the bucket does not give whole breaks the connection off', async () => {
    const bytes = randomBytes(3 * MIB);
    const digest = await client.pushBlob(name, bytes);
    let answers = 0;
    proxy.inject(({ operation }) => (operation === 'GetObject' ? { kind: 'truncate', bytes: answers++ === 0 ? MIB : 0 } : undefined));
    await expect(client.request('GET', blobAt(digest))).rejects.toThrow();
    proxy.inject();
    await expectBlob(bytes);
  });

  test('shows its secret nowhere', async () => {
    const flags = Object.entries(options(false)).flatMap(([key, value]) => [`--${key}`, value]);
    expect(await server.command('config', 'print', ...flags)).not.toContain(KEYS.secret);
    expect(server.output()).not.toContain(KEYS.secret);
  });

  test('does not start with a secret that cannot be read, and says why', async () => {
    const broken = { ...options(false), 's3-secret-key-file': join(folder, 'none') };
    await expect(startServer({ options: broken })).rejects.toThrow(/s3SecretKeyFile: .*none/);
  });
});
