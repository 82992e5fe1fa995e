import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Client, errorOf, imageManifest, must, sha256, sha512 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { startServer, type TestServer } from '../harness/server.ts';
import { unmeasured } from './ways.ts';

const name = 'demo/app';
const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';
const DOCKER = 'application/vnd.docker.distribution.manifest.v2+json';
const LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';
const ARTIFACT = 'application/vnd.oci.artifact.manifest.v1+json';
/** The default limit: 4 MiB, which the specification asks for, and some more. */
const MOST = 4 * 1024 * 1024 + 65_536;

describe('manifests', () => {
  let server: TestServer;
  let client: Client;
  const config = randomBytes(100);
  const layer = randomBytes(200);
  const image = imageManifest(config, [layer]);
  const child = Buffer.from(JSON.stringify(image));
  const children = [{ mediaType: IMAGE, digest: sha256(child), size: child.length, platform: { architecture: 'amd64', os: 'linux' } }];

  beforeAll(async () => {
    server = await startServer();
    client = new Client(server.url);
    await client.pushBlob(name, config);
    await client.pushBlob(name, layer);
    await client.pushManifest(name, 'child', image);
  });
  afterAll(async () => {
    expect(await server.stop()).toBe(0);
    await checkInvariants(server.dataDir);
  });

  const put = (reference: string, body: Uint8Array | string | ReadableStream<Uint8Array>, type = IMAGE) =>
    client.request('PUT', `/v2/${name}/manifests/${reference}`, { headers: { 'Content-Type': type }, body });
  const get = (reference: string, headers: Record<string, string> = {}) =>
    client.request('GET', `/v2/${name}/manifests/${reference}`, { headers });

  const { mediaType: _, ...untyped } = image as { mediaType: string };
  const KINDS: [kind: string, type: string, body: string, served?: string][] = [
    ['an OCI image', IMAGE, JSON.stringify({ ...image, annotations: { kind: 'oci' } })],
    ['an OCI image, laid out by hand', IMAGE, JSON.stringify(image, null, '\t').replaceAll('\n', '\r\n')],
    ['an OCI image with fields that nobody knows', IMAGE, JSON.stringify({ ...image, 'x-own': { a: [1, null, 'ü€😀'] } })],
    ['an OCI image that does not name its type', IMAGE, `${JSON.stringify(untyped)}\n`],
    ['a Docker image', DOCKER, JSON.stringify({ ...image, mediaType: DOCKER }, null, 3)],
    ['an OCI index', INDEX, JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests: children }, null, 2)],
    ['an OCI index of nothing', INDEX, JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests: [] })],
    ['a Docker list', LIST, JSON.stringify({ schemaVersion: 2, mediaType: LIST, manifests: children }, null, 3)],
    ['a type with parameters', `${IMAGE}; charset=utf-8`, JSON.stringify({ ...image, annotations: { kind: 'p' } }), IMAGE],
    ['an OCI artifact', ARTIFACT, JSON.stringify({ mediaType: ARTIFACT, artifactType: 'a/b', blobs: [] })],
  ];

  test.each(KINDS)('%s comes back byte for byte, whatever the client accepts', async (kind, type, body, served = type) => {
    const tag = `kind-${KINDS.findIndex(([own]) => own === kind)}`;
    const digest = sha256(body);
    const pushed = await put(tag, body, type);
    expect(pushed.status, pushed.bytes.toString()).toBe(201);
    expect(pushed.headers.get('location')).toBe(`/v2/${name}/manifests/${digest}`);
    expect(pushed.headers.get('docker-content-digest')).toBe(digest);
    expect(pushed.headers.get('warning')).toEqual(type === ARTIFACT ? expect.stringMatching(/^299 - "[^"\\]+"$/) : null);
    for (const accept of ['*/*', IMAGE, LIST, 'application/vnd.docker.distribution.manifest.v1+json', 'text/html', '']) {
      for (const reference of [tag, digest]) {
        const answer = await get(reference, { Accept: accept });
        expect(answer.status).toBe(200);
        expect(answer.bytes.equals(Buffer.from(body))).toBe(true);
        const headers = { 'content-type': served, 'docker-content-digest': digest, etag: `"${digest}"` };
        expect(Object.fromEntries(answer.headers)).toMatchObject({ ...headers, 'content-length': String(Buffer.byteLength(body)) });
        const head = await must(client, [200], 'HEAD', `/v2/${name}/manifests/${reference}`, { headers: { Accept: accept } });
        expect(Object.fromEntries(head.headers)).toMatchObject({ ...headers, 'content-length': String(Buffer.byteLength(body)) });
        expect(head.bytes.length).toBe(0);
      }
    }
  });

  test('by sha512: pushed, tagged, served and known under that digest alone', async () => {
    const body = JSON.stringify({ ...image, annotations: { by: 'sha512' } });
    const digest = sha512(body);
    const pushed = await put(`${digest}?tag=long`, body);
    expect(pushed.status).toBe(201);
    expect(pushed.headers.get('docker-content-digest')).toBe(digest);
    for (const reference of [digest, 'long']) {
      const answer = await get(reference);
      expect(answer.bytes.toString()).toBe(body);
      expect(answer.headers.get('docker-content-digest')).toBe(digest);
    }
    expect((await get(sha256(body))).status).toBe(404);
    // In an index it is named by that digest.
    const members = [{ mediaType: IMAGE, digest, size: body.length }];
    expect((await put('long-index', JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests: members }), INDEX)).status).toBe(201);
    expect((await put(`${sha512('other')}`, body)).status).toBe(400);
  });

  test('under another digest than theirs are refused and not stored', async () => {
    const body = JSON.stringify({ ...image, annotations: { wrong: 'digest' } });
    const answer = await put(`${sha256('other')}?tag=wrong`, body);
    expect({ status: answer.status, code: errorOf(answer).code }).toEqual({ status: 400, code: 'DIGEST_INVALID' });
    for (const reference of [sha256('other'), sha256(body), 'wrong']) expect((await get(reference)).status).toBe(404);
  });

  test('If-None-Match: 304 without a body where the client has it', async () => {
    const etag = `"${sha256(child)}"`;
    for (const given of [etag, `W/${etag}`, `"a" , ${etag}`, '*']) {
      for (const reference of ['child', sha256(child)]) {
        const answer = await get(reference, { 'If-None-Match': given });
        expect({ given, status: answer.status }).toEqual({ given, status: 304 });
        expect(answer.headers.get('etag')).toBe(etag);
        expect(answer.headers.get('content-length')).toBeNull();
      }
    }
    expect((await get('child', { 'If-None-Match': `"${sha256('other')}"` })).status).toBe(200);
    expect((await get('none', { 'If-None-Match': '*' })).status).toBe(404);
  });

  test('of 4 MiB, and of exactly the limit: 201; a byte more: 413, with and without a length', async () => {
    const filled = (size: number, mark: string) => {
      const empty = JSON.stringify({ ...image, annotations: { [mark]: '' } });
      return empty.replace('""', `"${'y'.repeat(size - empty.length)}"`);
    };
    for (const size of [4 * 1024 * 1024, MOST]) {
      const body = filled(size, 'fits');
      expect(body.length).toBe(size);
      expect((await put('large', body)).status).toBe(201);
      expect((await get('large')).bytes.toString() === body).toBe(true);
    }
    expect((await put('stream', unmeasured(Buffer.from(filled(MOST, 'stream'))))).status).toBe(201);
    const over = filled(MOST + 1, 'over');
    for (const body of [over, unmeasured(Buffer.from(over))]) {
      const answer = await put('over', body);
      expect({ status: answer.status, code: errorOf(answer).code }).toEqual({ status: 413, code: 'SIZE_INVALID' });
    }
    expect((await get('over')).status).toBe(404);
    expect((await get(sha256(over))).status).toBe(404);
  });

  test('whose blobs are not there are refused, naming all of them', async () => {
    const [missing, also] = [randomBytes(10), randomBytes(11)];
    const answer = await put('incomplete', JSON.stringify(imageManifest(missing, [layer, also])));
    expect(answer.status).toBe(404);
    const { code, detail } = errorOf(answer);
    expect(code).toBe('MANIFEST_BLOB_UNKNOWN');
    expect((detail as { digest: string }[]).map(({ digest }) => digest)).toEqual([sha256(missing), sha256(also)]);
    expect((await get('incomplete')).status).toBe(404);
    // With the blobs there, the same bytes are welcome.
    for (const blob of [missing, also]) await client.pushBlob(name, blob);
    expect((await put('incomplete', JSON.stringify(imageManifest(missing, [layer, also])))).status).toBe(201);
  });

  test('that say another size of a blob than it has are refused', async () => {
    const body = JSON.stringify(image).replace(`"size":${layer.length}`, `"size":${layer.length + 1}`);
    const answer = await put('size', body);
    expect({ status: answer.status, code: errorOf(answer).code }).toEqual({ status: 400, code: 'MANIFEST_INVALID' });
  });

  test('with layers that come from elsewhere need only the others', async () => {
    const foreign = {
      mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
      digest: sha256('x'),
      size: 1,
      urls: ['https://a/b'],
    };
    const body = JSON.stringify({ ...image, layers: [foreign, ...(image as { layers: object[] }).layers] });
    expect((await put('foreign', body)).status).toBe(201);
  });

  test.each<[string, string, string]>([
    ['schema 1', 'application/vnd.docker.distribution.manifest.v1+json', JSON.stringify({ schemaVersion: 1, fsLayers: [], history: [] })],
    ['signed schema 1', 'application/vnd.docker.distribution.manifest.v1+prettyjws', JSON.stringify({ schemaVersion: 1, signatures: [] })],
    ['schema 1 called something else', IMAGE, JSON.stringify({ schemaVersion: 1, fsLayers: [], history: [] })],
    ['a type that nobody knows', 'application/vnd.example.manifest+json', JSON.stringify({ schemaVersion: 2 })],
    ['JSON of no particular type', 'application/json', JSON.stringify(untyped)],
    ['nothing at all', IMAGE, ''],
  ])('%s is refused, saying what is wrong', async (_, type, body) => {
    const answer = await put('refused', body, type);
    expect(answer.status).toBe(400);
    const { code, message } = errorOf(answer);
    expect(code).toBe('MANIFEST_INVALID');
    expect(message).toMatch(/media type|schemaVersion|does not belong|not valid JSON/);
    expect((await get('refused')).status).toBe(404);
  });

  test('stored once as one type do not become another', async () => {
    const body = `${JSON.stringify(untyped)}  `;
    expect((await put('first-type', body, IMAGE)).status).toBe(201);
    expect((await put('second-type', body, DOCKER)).status).toBe(400);
    expect((await get('first-type')).headers.get('content-type')).toBe(IMAGE);
  });
});
