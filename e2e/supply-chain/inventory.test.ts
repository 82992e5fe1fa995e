import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type TestEntry, tarOf } from '../../packages/server/src/supply-chain/inventory/testing-layers.ts';
import { Client, imageManifest, sha256 } from '../harness/client.ts';
import { populate } from '../harness/people.ts';
import { done, everyItem, nextOf, refused, rest } from '../harness/rest.ts';
import { startServer, type TestServer } from '../harness/server.ts';

interface Inventory {
  readonly digest: string;
  readonly state: string;
  readonly reasons: string[];
  readonly components: number;
  readonly os?: { readonly id: string; readonly version: string; readonly support: string };
  readonly layers: { readonly digest: string; readonly state: string; readonly reason?: string }[];
  readonly children: { readonly digest: string; readonly state: string; readonly components: number }[];
}
interface Installed {
  readonly type: string;
  readonly name: string;
  readonly version: string;
  readonly source?: { readonly name: string };
  readonly paths: string[];
  readonly layer: { readonly digest: string; readonly index: number };
}

const GZIP = 'application/vnd.oci.image.layer.v1.tar+gzip';
const ZSTD = 'application/vnd.oci.image.layer.v1.tar+zstd';
const dpkg = (...packages: string[]): TestEntry => ({
  path: 'var/lib/dpkg/status',
  content: packages
    .map((text) => text.split(' '))
    .map(
      ([name, version, source]) =>
        `Package: ${name}\nStatus: install ok installed\nArchitecture: amd64\nSource: ${source ?? name}\nVersion: ${version}\n`,
    )
    .join('\n'),
});
const release: TestEntry = {
  path: 'usr/lib/os-release',
  content: 'ID=debian\nVERSION_ID=13\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n',
};

describe('inventories of a running registry', () => {
  let server: TestServer;
  let client: Client;
  beforeAll(async () => {
    server = await startServer({ options: { inventory: 'true' } });
    client = new Client(server.url);
    await done(201, client, 'POST', '/projects', { name: 'demo' });
  });
  afterAll(async () => expect(await server.stop()).toBe(0));

  async function push(reference: string, layers: readonly Buffer[], types: readonly string[] = []): Promise<string> {
    const config = Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', nonce: randomBytes(8).toString('hex') }));
    for (const blob of [config, ...layers]) await client.pushBlob('demo/app', blob);
    const described = layers.map((layer, index) => ({ mediaType: types[index] ?? GZIP, digest: sha256(layer), size: layer.length }));
    return (await client.pushManifest('demo/app', reference, imageManifest(config, [], { layers: described }))).digest;
  }
  const at = (reference: string) => `/projects/demo/repositories/app/artifacts/${reference}`;
  const inventory = (reference: string) => done<Inventory>(200, client, 'GET', `${at(reference)}/inventory`);
  async function settled(reference: string): Promise<Inventory> {
    await expect.poll(async () => (await inventory(reference)).state, { timeout: 60_000, interval: 200 }).not.toMatch(/none|waiting/);
    return await inventory(reference);
  }

  test('what is pushed is known by its packages, its system and its layers', async () => {
    const base = gzipSync(tarOf([release, dpkg('libc6 2.41-12 glibc', 'bash 5.2.37-2')]));
    const own = zstdCompressSync(tarOf([dpkg('libc6 2.41-12 glibc', 'bash 5.2.37-2', 'curl 8.14.1-2')]));
    const digest = await push('v1', [base, own], [GZIP, ZSTD]);
    expect(await settled('v1')).toMatchObject({
      digest,
      state: 'complete',
      reasons: [],
      components: 3,
      os: { id: 'debian', version: '13', support: expect.stringMatching(/supported|extended|ended/) as string },
      layers: [
        { digest: sha256(base), state: 'complete' },
        { digest: sha256(own), state: 'complete' },
      ],
    });
    const all = await everyItem<Installed>(client, `${at('v1')}/inventory/components?limit=1`);
    expect(all.map(({ type, name, version, source, layer }) => [type, name, version, source?.name, layer.index])).toEqual([
      ['deb', 'bash', '5.2.37-2', undefined, 0],
      ['deb', 'curl', '8.14.1-2', undefined, 1],
      ['deb', 'libc6', '2.41-12', 'glibc', 0],
    ]);
    const names = async (filter: string) =>
      (await everyItem<Installed>(client, `${at(digest)}/inventory/components?${filter}`)).map(({ name }) => name);
    expect(await names('name=GLIB')).toEqual(['libc6']);
    expect(await names(`layer=${sha256(own)}`)).toEqual(['curl']);
    expect(await names('type=apk')).toEqual([]);
    expect(await names('sort=-name')).toEqual(['libc6', 'curl', 'bash']);
    const first = await rest(client, 'GET', `${at('v1')}/inventory/components?limit=2`);
    expect(nextOf(first)).toBeDefined();
    const layer = `/projects/demo/repositories/app/layers/${sha256(own)}/inventory`;
    expect(await done(200, client, 'GET', layer)).toMatchObject({
      state: 'complete',
      components: 3,
      diffId: expect.stringMatching(/^sha256:/) as string,
    });
    expect(await everyItem(client, `${layer}/components?name=curl`)).toMatchObject([{ name: 'curl', path: 'var/lib/dpkg/status' }]);
  });

  test('E7 what is hostile is incomplete and says why; the registry goes on, and reads it again when asked', async () => {
    const hidden = gzipSync(tarOf([dpkg('bash 5')]));
    const cut = gzipSync(tarOf([dpkg('bash 6')])).subarray(0, -40);
    await push('cut', [hidden, cut]);
    expect(await settled('cut')).toMatchObject({
      state: 'incomplete',
      reasons: [expect.stringContaining('cannot be decompressed') as string],
      layers: [{ state: 'complete' }, { state: 'incomplete' }],
    });
    await push('encrypted', [hidden, randomBytes(200)], [GZIP, `${GZIP}+encrypted`]);
    expect(await settled('encrypted')).toMatchObject({ state: 'incomplete', layers: [{ state: 'complete' }, { state: 'unscannable' }] });
    const madeAt = async () =>
      (await done<{ madeAt: string }>(200, client, 'GET', `/projects/demo/repositories/app/layers/${sha256(cut)}/inventory`)).madeAt;
    const before = await madeAt();
    expect(await done(202, client, 'POST', `${at('cut')}/scan`)).toMatchObject({ state: 'incomplete' });
    await expect.poll(async () => await madeAt().catch(() => before), { timeout: 60_000, interval: 200 }).not.toBe(before);
    expect(await settled('cut')).toMatchObject({ state: 'incomplete' });
  });

  test('an index shows its images, an artifact says that it is none, and nobody sees what is not theirs', async () => {
    const child = await push('child', [gzipSync(tarOf([dpkg('bash 5')]))]);
    const { bytes } = await client.request('GET', `/v2/demo/app/manifests/${child}`);
    const mediaType = 'application/vnd.oci.image.index.v1+json';
    const manifests = [{ mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: child, size: bytes.length }];
    await client.pushManifest('demo/app', 'multi', { schemaVersion: 2, mediaType, manifests });
    await settled('child');
    expect(await inventory('multi')).toMatchObject({ state: 'index', children: [{ digest: child, state: 'complete', components: 1 }] });
    const blob = randomBytes(20);
    await client.pushBlob('demo/app', blob);
    const helm = { mediaType: 'application/vnd.cncf.helm.config.v1+json', digest: sha256(blob), size: blob.length };
    await client.pushManifest('demo/app', 'chart', imageManifest(blob, [], { config: helm }));
    expect(await settled('chart')).toMatchObject({ state: 'empty', reasons: [expect.stringContaining('not an image') as string] });
    expect(await refused(client, 'GET', `${at('chart')}/inventory/components`)).toBe('404 not_found');
    expect(await refused(client, 'DELETE', `${at('chart')}/scan`)).toBe('409 conflict');
    expect(await refused(client, 'GET', `${at('nothing')}/inventory`)).toBe('404 not_found');
    const people = await populate(server, { users: ['outsider'], projects: {} });
    for (const path of ['inventory', 'inventory/components'])
      expect(await refused(people.client('outsider'), 'GET', `${at('child')}/${path}`)).toMatch(/^404/);
    expect(await refused(people.client('outsider'), 'POST', `${at('child')}/scan`)).toMatch(/^404/);
    const layer = ((await inventory('child')).layers[0]?.digest ?? '').replace(/.$/, (last) => (last === '0' ? '1' : '0'));
    expect(await refused(client, 'GET', `/projects/demo/repositories/app/layers/${layer}/inventory`)).toBe('404 not_found');
  });
});

/** Images of real tools, in a folder of OCI layouts, where there are some. */
const IMAGES = process.env.ENTREPOT_TEST_IMAGES ?? '';

describe.skipIf(IMAGES === '' || !existsSync(IMAGES))('images of real tools', () => {
  test('are read to their end, and every layer has the digest that its config names', async () => {
    const { inventoryOf } = await import('../../packages/server/src/supply-chain/inventory/testing-layers.ts');
    for (const name of readdirSync(IMAGES).filter((each) => existsSync(`${IMAGES}/${each}/index.json`))) {
      const blob = (digest: string) => readFileSync(`${IMAGES}/${name}/blobs/${digest.replace(':', '/')}`);
      const json = <T>(bytes: Buffer) => JSON.parse(bytes.toString()) as T;
      type Listed = { manifests?: { digest: string }[]; config?: { digest: string }; layers?: { digest: string }[] };
      const queue = [...(json<Listed>(readFileSync(`${IMAGES}/${name}/index.json`)).manifests ?? [])];
      for (const { digest } of queue) {
        const { manifests = [], config, layers = [] } = json<Listed>(blob(digest));
        queue.push(...manifests);
        const diffIds = config ? json<{ rootfs: { diff_ids: string[] } }>(blob(config.digest)).rootfs.diff_ids : [];
        for (const [index, layer] of layers.entries()) {
          const found = await inventoryOf(blob(layer.digest));
          expect([name, found.diffId, found.incomplete]).toEqual([name, diffIds[index], undefined]);
        }
      }
    }
  });
});
