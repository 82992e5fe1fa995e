import { generateKeyPairSync } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Client, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { startServer, type TestServer } from '../harness/server.ts';
import { describeWith } from '../harness/tools.ts';
import { FOUR_PLATFORMS, type Image, manifestOf, missingOf, pushImage, randomImage, randomIndex, writeLayout } from './images.ts';
import { type Workbench, workbench } from './workbench.ts';

/** What skopeo makes of an answer 401 to a token that does not cover the request; deleting, it shows the answer itself. */
const DENIED = /requested access to the resource is denied|authentication required/;

describeWith(['skopeo'], 'skopeo', () => {
  let server: TestServer;
  let client: Client;
  let bench: Workbench;

  beforeAll(async () => {
    server = await startServer();
    client = new Client(server.url);
    bench = workbench();
    await bench.login(server);
  });
  afterAll(async () => {
    expect(await server.stop()).toBe(0);
    await checkInvariants(server.dataDir);
  });

  const at = (reference: string) => `docker://${server.address}/${reference}`;
  const push = (source: string, reference: string, ...flags: string[]) =>
    bench.skopeo('copy', '--dest-tls-verify=false', ...flags, source, at(reference));
  const pull = (reference: string, target: string, ...flags: string[]) =>
    bench.skopeo('copy', '--src-tls-verify=false', ...flags, at(reference), target);
  const layout = (name: string, image: Image): string => {
    writeLayout(join(bench.folder, name), image, 'v1');
    return `oci:${join(bench.folder, name)}:v1`;
  };
  /** What `dir:` holds: the manifest, and blobs and child manifests under their digests. */
  const expectDir = (folder: string, image: Image) => {
    const written = readdirSync(folder);
    const whole = (file: string, bytes: Buffer) => expect(sha256(readFileSync(join(folder, file)))).toBe(sha256(bytes));
    whole('manifest.json', image.bytes);
    for (const { bytes, blobs } of [image, ...image.children]) {
      for (const blob of blobs) whole(sha256(blob).slice(7), blob);
      if (bytes !== image.bytes) whole(`${sha256(bytes).slice(7)}.manifest.json`, bytes);
    }
    expect(written).toContain('version');
  };

  test('pushes and pulls an OCI image byte for byte', async () => {
    const image = randomImage(3, 300_000);
    await push(layout('oci', image), 'demo/oci:v1');
    expect((await manifestOf(client, 'demo/oci', 'v1')).equals(image.bytes)).toBe(true);
    expect(await missingOf(client, 'demo/oci', image)).toEqual([]);
    for (const [number, reference] of ['demo/oci:v1', `demo/oci@${image.descriptor.digest}`].entries()) {
      const target = join(bench.folder, `oci-dir-${number}`);
      await pull(reference, `dir:${target}`);
      expectDir(target, image);
    }
  });

  test('images that clients encrypt (ocicrypt) come back as they went, and open with the client’s key only', async () => {
    const image = randomImage(2, 100_000);
    const { publicKey, privateKey } = generateKeyPairSync('rsa', {
      modulusLength: 2048,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    });
    const [seals, opens] = [join(bench.folder, 'seals.pem'), join(bench.folder, 'opens.pem')];
    writeFileSync(seals, publicKey);
    writeFileSync(opens, privateKey, { mode: 0o600 });
    await push(layout('sealed', image), 'demo/sealed:v1', '--encryption-key', `jwe:${seals}`);
    const bytes = await manifestOf(client, 'demo/sealed', 'v1');
    const { layers } = JSON.parse(bytes.toString()) as { layers: { mediaType: string; annotations: Record<string, string> }[] };
    for (const { mediaType, annotations } of layers) {
      expect(mediaType).toMatch(/\+encrypted$/);
      expect(Object.keys(annotations)).toEqual(
        expect.arrayContaining(['org.opencontainers.image.enc.keys.jwe', 'org.opencontainers.image.enc.pubopts']),
      );
    }
    await push(at('demo/sealed:v1'), 'other/sealed:v1', '--src-tls-verify=false'); // from one repository to another, still sealed
    expect((await manifestOf(client, 'other/sealed', 'v1')).equals(bytes)).toBe(true);
    const opened = join(bench.folder, 'sealed-opened');
    await pull('other/sealed:v1', `dir:${opened}`, '--decryption-key', opens);
    for (const blob of image.blobs) expect(sha256(readFileSync(join(opened, sha256(blob).slice(7))))).toBe(sha256(blob));
  });

  test('pushes and pulls a Docker schema 2 image byte for byte', async () => {
    const image = randomImage();
    await push(layout('v2s2', image), 'demo/docker:v1', '--format', 'v2s2');
    const pushed = await client.request('GET', '/v2/demo/docker/manifests/v1');
    expect(pushed.headers.get('content-type')).toBe('application/vnd.docker.distribution.manifest.v2+json');
    const target = join(bench.folder, 'v2s2-dir');
    await pull('demo/docker:v1', `dir:${target}`);
    expect(readFileSync(join(target, 'manifest.json')).equals(pushed.bytes)).toBe(true);
    await push(`dir:${target}`, 'demo/docker-again:v1');
    expect((await manifestOf(client, 'demo/docker-again', 'v1')).equals(pushed.bytes)).toBe(true);
  });

  test('pushes layers compressed anew', async () => {
    const image = randomImage(2, 50_000);
    await push(layout('zstd', image), 'demo/zstd:v1', '--dest-compress-format', 'zstd', '--dest-compress');
    const target = join(bench.folder, 'zstd-dir');
    await pull('demo/zstd:v1', `dir:${target}`);
    expect(readFileSync(join(target, 'manifest.json')).equals(await manifestOf(client, 'demo/zstd', 'v1'))).toBe(true);
  });

  test('pushes and pulls an index with all its platforms, or one of them', async () => {
    const index = randomIndex();
    await push(layout('index', index), 'demo/multi:v1', '--all');
    expect(await missingOf(client, 'demo/multi', index)).toEqual([]);
    const target = join(bench.folder, 'index-dir');
    await pull('demo/multi:v1', `dir:${target}`, '--all');
    expectDir(target, index);
    for (const [number, { architecture, variant = '' }] of FOUR_PLATFORMS.entries()) {
      const single = join(bench.folder, `single-${number}`);
      const override = ['--override-os', 'linux', '--override-arch', architecture, '--override-variant', variant];
      await bench.skopeo(...override, 'copy', '--src-tls-verify=false', at('demo/multi:v1'), `dir:${single}`);
      expectDir(single, index.children[number] ?? index);
    }
  });

  test('lists tags, inspects and synchronizes a repository', async () => {
    const images = [randomImage(), randomImage(), randomImage()];
    for (const [number, image] of images.entries()) await pushImage(client, 'demo/listed', `v${number}`, image);
    const listed = JSON.parse(await bench.skopeo('list-tags', '--tls-verify=false', at('demo/listed'))) as { Tags: string[] };
    expect(listed.Tags).toEqual(['v0', 'v1', 'v2']);
    const shown = JSON.parse(await bench.skopeo('inspect', '--tls-verify=false', at('demo/listed:v1'))) as Record<string, unknown>;
    expect(shown).toMatchObject({ Digest: images[1]?.descriptor.digest, RepoTags: ['v0', 'v1', 'v2'], Architecture: 'amd64' });
    const config = await bench.skopeo('inspect', '--tls-verify=false', '--config', '--raw', at('demo/listed:v2'));
    expect(sha256(config.trim())).toBe(images[2]?.configDigest);
    const target = join(bench.folder, 'synchronized');
    await bench.skopeo('sync', '--src-tls-verify=false', '--src', 'docker', '--dest', 'dir', `${server.address}/demo/listed`, target);
    for (const [number, image] of images.entries()) expectDir(join(target, `listed:v${number}`), image);
  });

  test('deletes an image with its tags, at once', async () => {
    const [image, other] = [randomImage(), randomImage()];
    await pushImage(client, 'demo/deleted', 'v1', image);
    await pushImage(client, 'demo/deleted', 'same', image);
    await pushImage(client, 'demo/deleted', 'other', other);
    await bench.skopeo('delete', '--tls-verify=false', at('demo/deleted:v1'));
    const listed = JSON.parse(await bench.skopeo('list-tags', '--tls-verify=false', at('demo/deleted'))) as { Tags: string[] };
    expect(listed.Tags).toEqual(['other']);
    await expect(pull('demo/deleted:v1', `dir:${join(bench.folder, 'gone')}`)).rejects.toThrow('manifest unknown');
    await expect(bench.skopeo('delete', '--tls-verify=false', at('demo/deleted:v1'))).rejects.toThrow('Image may not exist');
  });

  test('is told plainly that a password is wrong', async () => {
    await pushImage(client, 'demo/guarded', 'v1', randomImage());
    const stranger = workbench();
    await expect(stranger.login(server, 'admin', 'wrong')).rejects.toThrow('invalid username/password');
    await expect(stranger.login(server, 'nobody', 'wrong')).rejects.toThrow('invalid username/password');
    const asWrong = ['--tls-verify=false', '--creds', 'admin:wrong'];
    await expect(stranger.skopeo('inspect', ...asWrong, at('demo/guarded:v1'))).rejects.toThrow('user name or password is wrong');
  });

  test('without login pulls what is public, and nothing else', async () => {
    await server.command('admin', 'project', 'create', 'open', '--public');
    const image = randomImage();
    for (const name of ['open/app', 'closed/app']) await pushImage(client, name, 'v1', image);
    const stranger = workbench();
    const fetch = (name: string) =>
      stranger.skopeo('copy', '--src-tls-verify=false', at(name), `dir:${join(stranger.folder, name.replaceAll(/\W/g, '-'))}`);
    await fetch('open/app:v1');
    expectDir(join(stranger.folder, 'open-app-v1'), image);
    // What one may not see looks like what does not exist.
    const [closed, absent] = await Promise.all(
      ['closed/app:v1', 'absent/app:v1'].map((name) =>
        fetch(name).then(
          () => 'pulled',
          (error: unknown) =>
            String(error)
              .replaceAll(/closed|absent/g, 'X')
              .replaceAll(/time="[^"]*"/g, ''),
        ),
      ),
    );
    expect(closed).toMatch(DENIED);
    expect(absent).toBe(closed);
    const target = layout('stranger', image);
    await expect(stranger.skopeo('copy', '--dest-tls-verify=false', target, at('open/app:v2'))).rejects.toThrow(DENIED);
    expect((await client.request('GET', '/v2/open/app/manifests/v2')).status).toBe(404);
  });

  test('as a member does what the role allows', async () => {
    const image = randomImage();
    await pushImage(client, 'team/app', 'v1', image);
    const password = await server.command('admin', 'user', 'create', 'bob');
    const bob = workbench();
    await bob.login(server, 'bob', password);
    const source = layout('member', image);
    const fetch = (number: number) =>
      bob.skopeo('copy', '--src-tls-verify=false', at('team/app:v1'), `dir:${join(bob.folder, `pulled-${number}`)}`);
    const send = () => bob.skopeo('copy', '--dest-tls-verify=false', source, at('team/app:bob'));
    await expect(fetch(0)).rejects.toThrow(DENIED);
    await server.command('admin', 'project', 'member', 'team', 'bob', 'guest');
    await fetch(1);
    await expect(send()).rejects.toThrow(DENIED);
    await server.command('admin', 'project', 'member', 'team', 'bob', 'developer');
    await send();
    await expect(bob.skopeo('delete', '--tls-verify=false', at('team/app:bob'))).rejects.toThrow(DENIED);
    await server.command('admin', 'project', 'member', 'team', 'bob', 'maintainer');
    await bob.skopeo('delete', '--tls-verify=false', at('team/app:bob'));
    await expect(bob.skopeo('copy', '--dest-tls-verify=false', source, at('bobs/app:v1'))).rejects.toThrow(
      /denied|authentication required/,
    );
  });
});
