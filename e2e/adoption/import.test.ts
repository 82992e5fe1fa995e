import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type Files,
  type Image,
  layoutIndex,
  missingOf,
  randomImage,
  randomIndex,
  tar,
  tarHeader,
  writeLayout,
} from '../clients/images.ts';
import { Client, imageManifest, must, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { startServer, type TestServer, temporaryFolder } from '../harness/server.ts';
import { describeWith, exec } from '../harness/tools.ts';
import { entrepot } from './command.ts';

/** Files of an image layout. */
function layoutFiles(image: Image, tag: string): Record<string, Uint8Array> {
  const all = ({ bytes, blobs, children }: Image): Buffer[] => [...blobs, ...children.flatMap(all), bytes];
  const blobs = Object.fromEntries(all(image).map((bytes) => [`blobs/sha256/${sha256(bytes).slice(7)}`, bytes]));
  return {
    'oci-layout': Buffer.from('{"imageLayoutVersion":"1.0.0"}'),
    'index.json': Buffer.from(layoutIndex(image.descriptor, tag)),
    ...blobs,
  };
}

function archiveOf(files: Files | Buffer): string {
  const path = join(temporaryFolder(), 'archive.tar');
  writeFileSync(path, Buffer.isBuffer(files) ? files : tar(files));
  return path;
}

describe('entrepot import', () => {
  let server: TestServer;
  let client: Client;
  const run = (...words: string[]) => entrepot(['import', ...words, '--data', server.dataDir]);
  const missing = async (name: string, image: Image) => await missingOf(client, name, image);

  beforeAll(async () => {
    server = await startServer();
    client = new Client(server.url);
  });

  it('takes an image of many platforms from a layout and from an archive, beside the server', async () => {
    for (const source of ['folder', 'archive']) {
      const image = randomIndex();
      const folder = join(temporaryFolder(), 'layout');
      writeLayout(folder, image, '1.0');
      const path = source === 'folder' ? folder : archiveOf(layoutFiles(image, '1.0'));
      const { code, out, err } = await run(path, `imports/${source}`);
      expect({ code, err }, out + err).toEqual({ code: 0, err: '' });
      expect(out).toContain('1 images, 5 new manifests, 1 tags');
      expect(await missing(`imports/${source}`, image)).toEqual([]);
      expect((await must(client, [200], 'GET', `/v2/imports/${source}/manifests/1.0`)).bytes.equals(image.bytes)).toBe(true);
      // Again, under another tag, nothing is copied.
      expect((await run(path, `imports/${source}:again`)).out).toContain('1 images, 0 new manifests, 1 tags, 0 bytes');
    }
  });

  it('takes the storage of zot, with referrers and untagged manifests', async () => {
    const root = temporaryFolder();
    const image = randomImage();
    const untagged = randomImage();
    const folder = join(root, 'team/app');
    writeLayout(folder, image, 'v1');
    writeLayout(folder, untagged, 'x');
    const config = Buffer.from('{}');
    const statement = Buffer.from(
      JSON.stringify(imageManifest(config, [], { artifactType: 'application/vnd.example', subject: image.descriptor })),
    );
    for (const bytes of [config, statement]) writeFileSync(join(folder, 'blobs/sha256', sha256(bytes).slice(7)), bytes);
    const manifest = { mediaType: image.descriptor.mediaType, digest: sha256(statement), size: statement.length };
    const named = { ...image.descriptor, annotations: { 'org.opencontainers.image.ref.name': 'v1' } };
    writeFileSync(join(folder, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [named, untagged.descriptor, manifest] }));
    mkdirSync(join(folder, '.uploads'));
    writeFileSync(join(root, 'cache.db'), 'bbolt');
    const { code, out } = await run(root, 'zot');
    expect(code, out).toBe(0);
    expect(out).toContain('zot/team/app: 3 images, 3 new manifests, 1 tags');
    expect([...(await missing('zot/team/app', image)), ...(await missing('zot/team/app', untagged))]).toEqual([]);
    const referrers = await must(client, [200], 'GET', `/v2/zot/team/app/referrers/${image.descriptor.digest}`);
    expect(referrers.json<{ manifests: object[] }>().manifests).toHaveLength(1);
  });

  it('E7: refuses archives that are meant to do harm, and shows nothing of them', async () => {
    const image = randomImage();
    const files = layoutFiles(image, 'bad');
    const layer = `blobs/sha256/${sha256(image.blobs[1] ?? Buffer.alloc(0)).slice(7)}`;
    const secret = join(temporaryFolder(), 'secret');
    writeFileSync(secret, 'outside');
    const manifestOf = (Layers: string[], Config = 'config.json') => Buffer.from(JSON.stringify([{ Config, RepoTags: ['a:1'], Layers }]));
    const config = Buffer.from(JSON.stringify({ rootfs: { diff_ids: [sha256('outside')] } }));
    const link = (name: string, type: string, target: string) => {
      const header = tarHeader(name, 0);
      header.write(type, 156);
      header.write(target, 157);
      header.write('        ', 148);
      header.write(
        `${header
          .reduce((sum, byte) => sum + byte, 0)
          .toString(8)
          .padStart(6, '0')}\0 `,
        148,
      );
      return header;
    };
    const docker = (target: string, type = '2') =>
      Buffer.concat([link('layer.tar', type, target), tar({ 'config.json': config, 'manifest.json': manifestOf(['layer.tar']) })]);
    const hostile: [string, Files | Buffer, RegExp][] = [
      ['another layer under its name', { ...files, [layer]: Buffer.from('forged') }, /the bytes of sha256:\w+ have sha256:/],
      [
        'a manifest that was changed',
        { ...files, [`blobs/sha256/${image.descriptor.digest.slice(7)}`]: Buffer.from('{}') },
        /the bytes of/,
      ],
      ['no layer', Object.fromEntries(Object.entries(files).filter(([name]) => name !== layer)), /is not there/],
      ['an index of another kind', { ...files, 'index.json': Buffer.from('[]') }, /index\.json/],
      [
        'a digest that climbs',
        { ...files, 'index.json': Buffer.from(layoutIndex({ ...image.descriptor, digest: 'sha256:../../secret' }, 'x')) },
        /digest/,
      ],
      ['a link to a file outside', docker(secret), /is not there/],
      ['a link that climbs', docker(`${'../'.repeat(20)}${secret}`), /is not there/],
      ['a hard link to a file outside', docker(secret.slice(1), '1'), /is not there/],
      ['a link to itself', docker('layer.tar'), /is not there/],
      ['a path that climbs', { 'config.json': config, 'manifest.json': manifestOf([`${'../'.repeat(20)}${secret}`]) }, /is not there/],
      ['layers that the config does not name', { 'config.json': config, 'manifest.json': manifestOf([]) }, /disagree/],
    ];
    const tries = hostile.map(async ([what, archive, why]) => {
      const { code, out, err } = await run(archiveOf(archive), 'hostile/app');
      expect({ what, code, err }).toEqual({ what, code: 2, err: '' });
      expect(out, what).toMatch(why);
    });
    await Promise.all(tries);
    for (const [archive, why] of [
      [Buffer.concat([tar(files), tar({ 'index.json': Buffer.from('{}') })]).subarray(0, -1500), /./],
      [tar(files).subarray(0, 5000), /cut off|beyond the end/],
      [Buffer.from('1f8b0800', 'hex'), /compressed with gzip/],
    ] as const) {
      const { code, out, err } = await run(archiveOf(Buffer.from(archive)), 'hostile/other');
      if (code === 0) continue; // what follows an archive's end is not of it
      expect({ code, out }).toEqual({ code: 1, out: '' });
      expect(err).toMatch(why);
    }
    expect((await client.request('GET', '/v2/hostile/app/tags/list')).json<{ tags?: string[] }>().tags ?? []).toEqual([]);
  });

  it('E7: follows no link out of a folder', async () => {
    const outside = join(temporaryFolder(), 'index.json');
    writeFileSync(outside, layoutIndex(randomImage().descriptor, 'x'));
    const folder = temporaryFolder();
    symlinkSync(outside, join(folder, 'index.json'));
    const { code, err } = await run(folder, 'hostile/folder');
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining('there is no image layout') });
  });

  it('leaves everything as it must be', async () => {
    await server.stop();
    expect((await checkInvariants(server.dataDir)).manifests).toBeGreaterThan(10);
  });
});

describeWith(['skopeo'], 'what skopeo wrote', () => {
  it('is imported from its archives, docker-archive among them, and pulled by it again', async () => {
    const server = await startServer();
    const layout = join(temporaryFolder(), 'layout');
    const image = randomImage(3);
    writeLayout(layout, image, 'x');
    const folder = dirname(layout);
    await exec('skopeo', ['copy', `oci:${layout}:x`, `docker-archive:${join(folder, 'docker.tar')}:example.com/some/app:3.1`]);
    await exec('skopeo', ['copy', `oci:${layout}:x`, `oci-archive:${join(folder, 'oci.tar')}:localhost/app:2`]);
    expect((await entrepot(['import', join(folder, 'docker.tar'), 'from/docker', '--data', server.dataDir])).out).toContain('1 tags');
    expect((await entrepot(['import', join(folder, 'oci.tar'), 'from/oci', '--data', server.dataDir])).out).toContain('1 tags');
    const client = new Client(server.url);
    expect(await missingOf(client, 'from/oci', image)).toEqual([]);
    await must(client, [200], 'GET', '/v2/from/oci/manifests/2');
    const auth = ['--src-tls-verify=false', '--src-creds', 'admin:correct-horse-battery-staple'];
    await exec('skopeo', ['copy', ...auth, `docker://${server.address}/from/docker:3.1`, `oci:${join(folder, 'back')}:x`]);
    const config = await exec('skopeo', ['inspect', '--config', '--raw', `oci:${join(folder, 'back')}:x`]);
    expect(sha256(config)).toBe(image.configDigest);
  });
});
