import { randomBytes } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Client, errorOf, imageManifest, must, sha256 } from '../harness/client.ts';
import { metric } from '../harness/raw.ts';
import { startServer, type TestServer } from '../harness/server.ts';

const name = 'demo/app';
const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';
const DOCKER = 'application/vnd.docker.distribution.manifest.v2+json';

describe('hostile content', () => {
  let server: TestServer;
  let client: Client;
  const config = Buffer.from('{}');
  beforeAll(async () => {
    server = await startServer();
    client = new Client(server.url);
    await client.pushBlob(name, config);
  });
  afterAll(async () => expect(await server.stop()).toBe(0));

  const put = (tag: string, body: string | Uint8Array, type?: string) =>
    client.request('PUT', `/v2/${name}/manifests/${tag}`, {
      headers: type === undefined ? {} : { 'Content-Type': type },
      body: typeof body === 'string' ? Buffer.from(body) : body,
    });

  const sound = JSON.stringify(imageManifest(config, []));
  const bare = sound.replace(`"mediaType":"${IMAGE}",`, '');
  const withField = (text: string) => `${sound.slice(0, -1)},${text}}`;

  // Beyond what durability/hostile-manifests.test.ts sends: forms that one reader takes and another does not.
  test.each<[string, string | Uint8Array, string?]>([
    ['an image called an index, its own type left out', bare, INDEX],
    ['an index called an image, its own type left out', '{"schemaVersion":2,"manifests":[]}', IMAGE],
    ['index fields in a Docker image', bare.replace('{', '{"manifests":[],'), DOCKER],
    ['image fields in an index, empty', `{"schemaVersion":2,"mediaType":"${INDEX}","manifests":[],"layers":[]}`, INDEX],
    ['image fields in an index, a config alone', `{"schemaVersion":2,"mediaType":"${INDEX}","manifests":[],"config":{}}`, INDEX],
    ['schema 1 fields in an image', withField('"fsLayers":[]'), IMAGE],
    ['signatures in an image', withField('"signatures":[{}]'), IMAGE],
    ['a version as text', sound.replace('"schemaVersion":2', '"schemaVersion":"2"'), IMAGE],
    ['a version as a fraction', sound.replace('"schemaVersion":2', '"schemaVersion":2.5'), IMAGE],
    ['no version', sound.replace('"schemaVersion":2,', ''), IMAGE],
    ['a list as its type', sound.replace(`"${IMAGE}"`, `["${IMAGE}"]`), IMAGE],
    ['null as its type', sound.replace(`"${IMAGE}"`, 'null'), IMAGE],
    ['its type in other letters', sound.replace(IMAGE, IMAGE.toUpperCase()), IMAGE],
    ['its type with a parameter', sound.replace(IMAGE, `${IMAGE}; charset=utf-8`), IMAGE],
    ['UTF-16', Buffer.from(`\ufeff${sound}`, 'utf16le'), IMAGE],
    [
      'bytes that are no UTF-8',
      Buffer.concat([Buffer.from(`${sound.slice(0, -1)},"x":"`), Buffer.from([0xc0, 0xaf, 0xff]), Buffer.from('"}')]),
      IMAGE,
    ],
    ['a zero byte behind it', `${sound}\0`, IMAGE],
    ['another document behind it', `${sound}\n${sound}`, IMAGE],
    ['a comment', `/* */${sound}`, IMAGE],
    ['single quotes', sound.replaceAll('"', "'"), IMAGE],
    ['a comma too many', sound.replace(/}$/, ',}'), IMAGE],
    ['a number that is none', withField('"x":NaN'), IMAGE],
    ['a digest in capitals', sound.replace(sha256(config), sha256(config).toUpperCase()), IMAGE],
    ['a digest that is a path', sound.replace(sha256(config), 'sha256:../../../../etc/passwd'), IMAGE],
    ['a digest twice as long', sound.replace(sha256(config), sha256(config) + sha256(config).slice(7)), IMAGE],
    ['a size that overflows', sound.replace('"size":2', '"size":1e300'), IMAGE],
    ['a size of less than nothing', sound.replace('"size":2', '"size":-2'), IMAGE],
    ['a subject that is a digest alone', withField(`"subject":"${sha256('x')}"`), IMAGE],
    ['a subject that is a list', withField('"subject":[]'), IMAGE],
    ['annotations that are a list', withField('"annotations":["a"]'), IMAGE],
    ['annotations that are numbers', withField('"annotations":{"a":1}'), IMAGE],
    ['an artifact type that is an object', withField('"artifactType":{"a":1}'), IMAGE],
    ['layers that are an object', sound.replace('"layers":[]', '"layers":{"length":0}'), IMAGE],
    ['a script as its media type', '<script>alert(1)</script>', 'text/html'],
    ['a header in its media type', sound, `${IMAGE}, text/html`],
  ])('E1 %s: 400, and nothing is stored', async (_, body, type) => {
    const answer = await put('ambiguous', body, type);
    expect(answer.status, answer.bytes.toString()).toBe(400);
    expect(errorOf(answer).code).toBe('MANIFEST_INVALID');
    await must(client, [404], 'GET', `/v2/${name}/manifests/ambiguous`);
    await must(client, [404], 'GET', `/v2/${name}/manifests/${sha256(body)}`);
  });

  test.each<[string, string]>([
    ['page.html', '<!doctype html><script>alert(document.cookie)</script>'],
    ['image.svg', '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'],
    ['feed.xml', '<?xml version="1.0"?><?xml-stylesheet href="javascript:alert(1)"?><x/>'],
    ['script.js', 'alert(1)'],
    ['paper.pdf', '%PDF-1.7\n1 0 obj <</OpenAction <</S /JavaScript /JS (app.alert(1))>>>>'],
  ])('E3 %s as a blob is data to a browser, in every answer', async (_, text) => {
    for (const content of [text, text.padEnd(70_000)]) {
      const bytes = Buffer.from(content);
      const url = `/v2/${name}/blobs/${await client.pushBlob(name, bytes)}`;
      for (const [method, headers] of [
        ['GET', {}],
        ['HEAD', {}],
        ['GET', { Range: 'bytes=0-9' }],
        ['GET', { Range: 'bytes=0-1,3-4' }],
        ['GET', { Accept: 'text/html,image/svg+xml' }],
      ] as const) {
        const answer = await must(client, [200, 206], method, `${url}?x=.html`, { headers });
        expect(answer.headers.get('content-type')).toMatch(/^(application\/octet-stream|multipart\/byteranges; boundary=[0-9a-f]+)$/);
        expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
        expect(answer.headers.get('content-disposition')).toBe('attachment');
        expect(answer.headers.get('content-security-policy')).toMatch(/^sandbox; default-src 'none'/);
        expect(answer.headers.get('access-control-allow-origin')).toBeNull();
      }
    }
  });

  test('E3 a manifest of markup is JSON of its type to a browser; so is every error that repeats what was sent', async () => {
    const markup = '<img src=x onerror=alert(1)>';
    const body = withField(`"annotations":{"x":"${markup}"}`);
    expect((await put('markup', body, IMAGE)).status).toBe(201);
    const served = await must(client, [200], 'GET', `/v2/${name}/manifests/markup`, { headers: { Accept: 'text/html' } });
    expect([served.headers.get('content-type'), served.headers.get('x-content-type-options')]).toEqual([IMAGE, 'nosniff']);
    for (const answer of [
      await put('markup', sound, `text/${markup.replaceAll(/[ =]/g, '')}`),
      await put('markup', sound.replace(IMAGE, markup), IMAGE),
      await client.request('GET', `/v2/${encodeURIComponent(markup)}/tags/list`),
      await client.request('GET', `/v2/${name}/manifests/${encodeURIComponent(markup)}`),
      await client.request('GET', `/v2/${name}/tags/list?last=${encodeURIComponent(markup)}`),
      await client.request('GET', `/${encodeURIComponent(markup)}`),
      await client.request('GET', `/token?scope=${encodeURIComponent(markup)}`, { headers: { Authorization: `Basic ${markup}` } }),
    ]) {
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect([answer.headers.get('content-type'), answer.headers.get('x-content-type-options')]).toEqual(['application/json', 'nosniff']);
    }
  });

  test('E5 annotations without measure are taken or refused, but never by falling over', async () => {
    const many = (count: number, length: number) =>
      withField(`"annotations":{${Array.from({ length: count }, (_, index) => `"${index}":"${'v'.repeat(length)}"`).join()}}`);
    for (const [body, status] of [
      [many(9000, 100), 201],
      [many(100, 40_000), 201],
      [many(1, 4_000_000), 201],
      [many(20_000, 10), 400],
      [many(400, 12_000), 413],
    ] as const) {
      expect([body.length, (await put('annotated', body, IMAGE)).status]).toEqual([body.length, status]);
    }
    const layers = Array.from({ length: 20_000 }, () => ({ mediaType: 'a/b', digest: sha256(config), size: config.length }));
    expect((await put('layers', JSON.stringify({ ...imageManifest(config, []), layers }), IMAGE)).status).toBe(201);
    const absent = Array.from({ length: 20_000 }, (_, index) => ({ mediaType: 'a/b', digest: sha256(String(index)), size: 1 }));
    const refused = await put('absent', JSON.stringify({ ...imageManifest(config, []), layers: absent }), IMAGE);
    expect([refused.status, refused.bytes.length < 5000]).toEqual([404, true]);
  });

  describe('D2 addresses in content', () => {
    let elsewhere: Server;
    let asked = 0;
    beforeAll(async () => {
      elsewhere = createServer((_, response) => {
        asked++;
        response.end('x');
      });
      await new Promise<void>((resolve) => elsewhere.listen(0, '127.0.0.1', resolve));
    });
    afterAll(() => void elsewhere.close());

    test('D2 nothing is fetched from them, and no client is sent there', async () => {
      const address = `http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}/layer`;
      const layer = { mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar', digest: sha256('x'), size: 1, urls: [address] };
      const types = [layer.mediaType, 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip'];
      for (const [index, mediaType] of types.entries()) {
        const body = JSON.stringify({
          ...imageManifest(config, []),
          layers: [{ ...layer, mediaType }],
          annotations: { 'org.opencontainers.image.source': address },
        });
        expect((await put(`foreign-${index}`, body, IMAGE)).status).toBe(201);
        await must(client, [200], 'GET', `/v2/${name}/manifests/foreign-${index}`);
      }
      // An ordinary layer with an address must be here itself.
      const ordinary = { ...layer, mediaType: 'application/vnd.oci.image.layer.v1.tar' };
      expect((await put('ordinary', JSON.stringify({ ...imageManifest(config, []), layers: [ordinary] }), IMAGE)).status).toBe(404);
      await must(client, [404], 'GET', `/v2/${name}/blobs/${layer.digest}`);
      await must(client, [404], 'GET', `/v2/${name}/manifests/v1?ns=127.0.0.1`);
      await must(
        client,
        [202],
        'POST',
        `/v2/${name}/blobs/uploads/?mount=${layer.digest}&from=127.0.0.1/x&origin=${encodeURIComponent(address)}`,
      );
      expect(asked).toBe(0);
    });
  });

  test('E1 and all of it left the registry at work', async () => {
    expect(await metric(server, 'entrepot_http_responses_total')).toBeGreaterThan(50);
    const bytes = randomBytes(1000);
    const image = await client.pushImage(name, 'after', [bytes]);
    expect((await must(client, [200], 'GET', `/v2/${name}/manifests/after`)).bytes.equals(image.bytes)).toBe(true);
    expect(server.output()).not.toContain('"level":50');
  });
});
