import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Client, errorOf, imageManifest, must, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { startServer, type TestServer } from '../harness/server.ts';

const name = 'demo/app';
const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';

interface Member {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

const index = (manifests: readonly Member[], extra: object = {}) => ({ schemaVersion: 2, mediaType: INDEX, manifests, ...extra });
const memberOf = ({ bytes, digest }: { bytes: Buffer; digest: string }, mediaType = IMAGE) => ({ mediaType, digest, size: bytes.length });
const absent = (mediaType = IMAGE): Member => ({ mediaType, digest: sha256(randomBytes(8)), size: 10 });

describe.each([false, true])('indexes, sparse ones accepted: %s', (sparse) => {
  let server: TestServer;
  let client: Client;
  beforeAll(async () => {
    server = await startServer({ options: { 'sparse-indexes': String(sparse) } });
    client = new Client(server.url);
  });
  afterAll(async () => {
    expect(await server.stop()).toBe(0);
    if (!sparse) await checkInvariants(server.dataDir);
  });

  const put = (reference: string, manifest: object) =>
    client.request('PUT', `/v2/${name}/manifests/${reference}`, { headers: { 'Content-Type': INDEX }, body: JSON.stringify(manifest) });

  test(sparse ? 'are taken without their manifests' : 'without their manifests are refused, naming all that is missing', async () => {
    const present = memberOf(await client.pushImage(name, 'present'));
    const members = [absent(), present, absent(INDEX)];
    const answer = await put('sparse', index(members));
    if (sparse) {
      expect(answer.status, answer.bytes.toString()).toBe(201);
      const stored = await must(client, [200], 'GET', `/v2/${name}/manifests/sparse`);
      expect(stored.json()).toEqual(index(members));
      await must(client, [404], 'GET', `/v2/${name}/manifests/${members[0]?.digest}`);
    } else {
      expect(answer.status).toBe(404);
      const { code, detail } = errorOf(answer);
      expect(code).toBe('MANIFEST_BLOB_UNKNOWN');
      expect((detail as Member[]).map(({ digest }) => digest)).toEqual([members[0]?.digest, members[2]?.digest]);
      await must(client, [404], 'GET', `/v2/${name}/manifests/sparse`);
    }
  });

  test('of layers, as BuildKit keeps its caches, need those layers either way', async () => {
    const layer = randomBytes(50);
    const cache = index([{ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: sha256(layer), size: layer.length }]);
    expect((await put('cache', cache)).status).toBe(404);
    await client.pushBlob(name, layer);
    expect((await put('cache', cache)).status).toBe(201);
    await must(client, [405], 'DELETE', `/v2/${name}/blobs/${sha256(layer)}`);
  });

  test('in indexes hold what is below them, level by level', async () => {
    const image = await client.pushImage(name, 'leaf');
    let top = image;
    for (let level = 0; level < 6; level++) {
      top = await client.pushManifest(name, `level-${level}`, index([memberOf(top, level === 0 ? IMAGE : INDEX)]));
    }
    const answer = await must(client, [405], 'DELETE', `/v2/${name}/manifests/${image.digest}`);
    const { code, message } = errorOf(answer);
    expect(code).toBe('UNSUPPORTED');
    expect(message).toMatch(/belongs to index sha256:[0-9a-f]{64}/);
    await must(client, [202], 'DELETE', `/v2/${name}/manifests/leaf`); // a tag is not needed by anything
    await must(client, [200], 'GET', `/v2/${name}/manifests/${image.digest}`);
    // From the top it can be taken apart.
    for (let digest = top.digest; digest !== image.digest; ) {
      const [below] = (await must(client, [200], 'GET', `/v2/${name}/manifests/${digest}`)).json<{ manifests: Member[] }>().manifests;
      await must(client, [202], 'DELETE', `/v2/${name}/manifests/${digest}`);
      digest = below?.digest ?? '';
    }
    await must(client, [202], 'DELETE', `/v2/${name}/manifests/${image.digest}`);
  });

  test('may name one manifest for many platforms, and attestations of no platform', async () => {
    const image = await client.pushImage(name, 'many');
    const platforms = ['amd64', 'arm64', 'unknown'].map((architecture) => ({
      ...memberOf(image),
      platform: { architecture, os: architecture === 'unknown' ? 'unknown' : 'linux' },
      annotations: { 'vnd.docker.reference.type': 'attestation-manifest' },
    }));
    const pushed = await client.pushManifest(name, 'platforms', index(platforms));
    expect((await must(client, [200], 'GET', `/v2/${name}/manifests/platforms`)).bytes.equals(pushed.bytes)).toBe(true);
  });

  test('of another repository do not count as there', async () => {
    const image = await client.pushImage('demo/elsewhere', 'image');
    expect((await put('elsewhere', index([memberOf(image)]))).status).toBe(sparse ? 201 : 404);
    await must(client, [404], 'GET', `/v2/${name}/manifests/${image.digest}`);
  });

  test('an image never is sparse', async () => {
    const answer = await client.request('PUT', `/v2/${name}/manifests/image`, {
      headers: { 'Content-Type': IMAGE },
      body: JSON.stringify(imageManifest(randomBytes(5), [])),
    });
    expect([answer.status, errorOf(answer).code]).toEqual([404, 'MANIFEST_BLOB_UNKNOWN']);
  });
});
