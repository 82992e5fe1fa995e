import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Image, missingOf, pushImage, randomImage, randomIndex } from '../clients/images.ts';
import { Client, imageManifest, must, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { ADMIN, startServer, temporaryFolder } from '../harness/server.ts';
import { describeWith, exec } from '../harness/tools.ts';
import { entrepot } from './command.ts';
import { pushBySkopeo, startDockerRegistry } from './docker-registry.ts';

/** Every path below a folder with what tells one state from another. */
function snapshot(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => `${path} ${statSync(path).isFile() ? sha256(readFileSync(path)) : ''} ${statSync(path).mtimeMs}`)
    .sort();
}

describeWith(['docker-registry', 'skopeo'], 'a registry:2 storage, adopted where it lies', () => {
  const data = join(temporaryFolder(), 'data');
  const storage = join(data, 'storage');
  const images: { name: string; tag: string; image: Image }[] = [];
  let skopeoDigest = '';
  let subject = '';
  let referrer = '';
  let former = '';

  beforeAll(async () => {
    mkdirSync(storage, { recursive: true });
    const old = await startDockerRegistry(storage);
    for (const [name, tag, image] of [
      ['ubuntu', 'latest', randomImage()],
      ['library/app', '1', randomImage()],
      ['library/app', '2', randomIndex()],
      ['library/app/deep/down', 'x', randomImage(5)],
      ['team-a/tool', 'v1.0', randomImage(1)],
    ] as const) {
      images.push({ name, tag, image });
      await pushImage(old.client, name, tag, image);
    }
    const moved = randomImage();
    former = moved.descriptor.digest;
    await pushImage(old.client, 'team-a/tool', 'moving', moved);
    const now = randomImage();
    images.push({ name: 'team-a/tool', tag: 'moving', image: now });
    await pushImage(old.client, 'team-a/tool', 'moving', now);
    // What clients push beside an image: a referrer with its fallback tag, and a signature under cosign's tag.
    const signed = images[0]?.image;
    if (!signed) throw new Error('nothing was pushed');
    subject = signed.descriptor.digest;
    const config = Buffer.from('{}');
    const layer = Buffer.from('a statement');
    for (const blob of [config, layer]) await old.client.pushBlob('ubuntu', blob);
    const statement = imageManifest(config, [layer], { artifactType: 'application/vnd.example.statement', subject: signed.descriptor });
    referrer = (await old.client.pushManifest('ubuntu', sha256(Buffer.from(JSON.stringify(statement))), statement)).digest;
    const fallback = {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: [{ mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: referrer, size: JSON.stringify(statement).length }],
    };
    await old.client.pushManifest('ubuntu', subject.replace(':', '-'), fallback);
    await old.client.pushManifest('ubuntu', `${subject.replace(':', '-')}.sig`, imageManifest(config, [layer]));
    await pushBySkopeo(old.address);
    skopeoDigest =
      (
        await must(old.client, [200], 'GET', '/v2/by/skopeo/manifests/1', {
          headers: { Accept: 'application/vnd.docker.distribution.manifest.v2+json' },
        })
      ).headers.get('docker-content-digest') ?? '';
    await old.stop();
  });

  it('is indexed without a change to it, and served byte for byte', async () => {
    const before = snapshot(storage);
    const { code, out, err } = await entrepot(['adopt', '--data', data, '--storage-dir', storage]);
    expect(code, err).toBe(0);
    expect(out).toContain('5 repositories');
    expect(out).toContain('all that could be pulled was adopted');
    expect(snapshot(storage)).toEqual(before);
    const server = await startServer({ dataDir: data, options: { 'storage-dir': storage } });
    const client = new Client(server.url);
    for (const { name, tag, image } of images) {
      expect(await missingOf(client, name, image)).toEqual([]);
      const { bytes, headers } = await must(client, [200], 'GET', `/v2/${name}/manifests/${tag}`);
      expect(headers.get('docker-content-digest')).toBe(image.descriptor.digest);
      expect(bytes.equals(image.bytes)).toBe(true);
    }
    const referrers = await must(client, [200], 'GET', `/v2/ubuntu/referrers/${subject}`);
    expect(referrers.json<{ manifests: { digest: string }[] }>().manifests.map(({ digest }) => digest)).toEqual([referrer]);
    const tags = (await must(client, [200], 'GET', '/v2/ubuntu/tags/list')).json<{ tags: string[] }>().tags;
    expect(tags.sort()).toEqual(['latest', subject.replace(':', '-'), `${subject.replace(':', '-')}.sig`].sort());
    const target = join(temporaryFolder(), 'pulled');
    const creds = ['--src-creds', `${ADMIN.user}:${ADMIN.password}`];
    await exec('skopeo', [
      'copy',
      '--src-tls-verify=false',
      ...creds,
      `docker://${server.address}/by/skopeo@${skopeoDigest}`,
      `dir:${target}`,
    ]);
    expect(existsSync(join(target, 'manifest.json'))).toBe(true);
    const history = await must(client, [200], 'GET', '/api/v1/projects/team-a/repositories/tool/tags/moving/history');
    const moves = history.json<{ items: { digest: string }[] }>().items.map(({ digest }) => digest);
    expect(moves).toEqual([images.at(-1)?.image.descriptor.digest, former]);
    await server.stop();
    expect(await checkInvariants(data)).toMatchObject({ tags: 9 });
  });

  it('can be taken over again by the old registry, with all that was changed meanwhile', async () => {
    const options = { 'storage-dir': storage, 'layout-compatible': 'true' };
    const server = await startServer({ dataDir: data, options });
    const client = new Client(server.url);
    const added: { name: string; tag: string; image: Image }[] = [];
    for (const [name, tag, image] of [
      ['ubuntu', 'next', randomImage()],
      ['new/one', 'multi', randomIndex()],
      ['team-a/tool', 'moving', randomImage()],
    ] as const) {
      added.push({ name, tag, image });
      await pushImage(client, name, tag, image);
    }
    const shared = randomImage(1);
    await pushImage(client, 'library/app', '1', shared); // moved
    await must(client, [202], 'DELETE', '/v2/team-a/tool/manifests/v1.0');
    const gone = images.find(({ tag }) => tag === 'x')?.image.descriptor.digest ?? '';
    await must(client, [202], 'DELETE', `/v2/library/app/deep/down/manifests/${gone}`);
    await must(client, [204], 'DELETE', '/api/v1/projects/by/repositories/skopeo');
    await server.stop();
    await checkInvariants(data);

    const old = await startDockerRegistry(storage);
    const headers = { Accept: 'application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json' };
    const get = async (path: string) => await old.client.request('GET', path, { headers });
    const kept = images.filter(({ tag }) => tag === 'latest' || tag === '2');
    for (const { name, tag, image } of [...kept, ...added, { name: 'library/app', tag: '1', image: shared }]) {
      expect((await get(`/v2/${name}/manifests/${tag}`)).bytes.equals(image.bytes), `${name}:${tag}`).toBe(true);
      for (const part of [image, ...image.children]) {
        expect((await get(`/v2/${name}/manifests/${part.descriptor.digest}`)).bytes.equals(part.bytes)).toBe(true);
        for (const blob of part.blobs) expect((await get(`/v2/${name}/blobs/${sha256(blob)}`)).bytes.equals(blob)).toBe(true);
      }
    }
    const tagsOf = async (name: string) => (await get(`/v2/${name}/tags/list`)).json<{ tags: string[] | null }>().tags;
    expect(await tagsOf('team-a/tool')).toEqual(['moving']);
    expect((await get('/v2/team-a/tool/manifests/v1.0')).status).toBe(404);
    expect((await get(`/v2/library/app/deep/down/manifests/${gone}`)).status).toBe(404);
    expect((await get('/v2/by/skopeo/manifests/1')).status).toBe(404);
    // What the old registry is given then comes back with the next adoption.
    const later = randomImage();
    await pushImage(old.client, 'team-a/tool', 'moving', later);
    await old.stop();
    const differs = await entrepot(['adopt', '--data', data, '--storage-dir', storage]);
    expect({ code: differs.code, out: differs.out }).toMatchObject({
      code: 2,
      out: expect.stringContaining('other-tag  team-a/tool  moving'),
    });
    const { code, out } = await entrepot(['adopt', '--data', data, '--storage-dir', storage, '--update']);
    expect(code, out).toBe(0);
    const again = await startServer({ dataDir: data, options });
    const moving = await must(new Client(again.url), [200], 'GET', '/v2/team-a/tool/manifests/moving');
    expect(moving.bytes.equals(later.bytes)).toBe(true);
    await again.stop();
    await checkInvariants(data);
  });
});

describe('a folder that is no storage', () => {
  it('is refused, and no registry is made', async () => {
    const data = join(temporaryFolder(), 'data');
    const { code, out, err } = await entrepot(['adopt', '--data', data, '--storage-dir', temporaryFolder()]);
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toMatch(/^entrepot: there is no storage of a registry: [^\n]+\n$/);
    expect(existsSync(data)).toBe(false);
  });
});
