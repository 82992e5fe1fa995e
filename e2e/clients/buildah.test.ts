import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Client, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { startServer, type TestServer } from '../harness/server.ts';
import { describeWith } from '../harness/tools.ts';
import { manifestOf } from './images.ts';
import { type Workbench, workbench } from './workbench.ts';

const TLS = '--tls-verify=false';

describeWith(['root', 'buildah', 'skopeo', 'busybox-static'], 'buildah', () => {
  let server: TestServer;
  let client: Client;

  beforeAll(async () => {
    server = await startServer();
    client = new Client(server.url);
  });
  afterAll(async () => {
    expect(await server.stop()).toBe(0);
    await checkInvariants(server.dataDir);
  });

  const machine = async (): Promise<Workbench> => {
    const bench = workbench();
    await bench.login(server);
    return bench;
  };
  const ref = (reference: string) => `${server.address}/${reference}`;
  /** A folder to build from: a busybox that needs nothing around it, and a file nobody has seen. */
  const context = (bench: Workbench, steps: readonly string[]) => {
    const folder = join(bench.folder, 'context');
    mkdirSync(folder);
    copyFileSync('/bin/busybox', join(folder, 'busybox'));
    writeFileSync(join(folder, 'data'), randomBytes(100_000));
    writeFileSync(join(folder, 'Containerfile'), ['FROM scratch', ...steps].join('\n'));
    return { folder, data: readFileSync(join(folder, 'data')) };
  };
  const idOf = async (bench: Workbench, image: string) =>
    (await bench.buildah('inspect', '--type', 'image', '--format', '{{.FromImageID}}', image)).trim();
  const fileOf = async (bench: Workbench, image: string, path: string) => {
    const container = (await bench.buildah('from', '--pull-never', image)).trim();
    const root = (await bench.buildah('mount', container)).trim();
    const bytes = readFileSync(join(root, path));
    await bench.buildah('rm', container);
    return bytes;
  };

  test('what one machine builds and pushes, another pulls', async () => {
    const [one, other] = [await machine(), await machine()];
    const { folder, data } = context(one, ['COPY busybox /bin/busybox', 'COPY data /data', 'CMD ["/bin/busybox", "true"]']);
    const image = ref('demo/built:1');
    await one.buildah('build', '-t', image, folder);
    await one.buildah('push', TLS, '--digestfile', join(one.folder, 'digest'), image);
    const manifest = await manifestOf(client, 'demo/built', '1');
    expect(readFileSync(join(one.folder, 'digest'), 'utf8')).toBe(sha256(manifest));
    const pulled = (await other.buildah('pull', TLS, image)).trim();
    expect(pulled).toBe(await idOf(one, image));
    expect((JSON.parse(manifest.toString()) as { config: { digest: string } }).config.digest).toBe(`sha256:${pulled}`);
    expect((await fileOf(other, image, 'data')).equals(data)).toBe(true);
  });

  test('builds on a fresh machine from the cache in the registry', async () => {
    const [one, other] = [await machine(), await machine()];
    const { folder } = context(one, [
      'COPY busybox /bin/busybox',
      'RUN ["/bin/busybox", "sh", "-c", "/bin/busybox head -c 1000 /dev/urandom > /random"]',
      'RUN ["/bin/busybox", "sh", "-c", "/bin/busybox md5sum /random > /sum"]',
    ]);
    const cache = ['--layers', '--cache-to', ref('demo/cache'), '--cache-from', ref('demo/cache'), TLS];
    const build = (bench: Workbench) => bench.buildah('build', ...cache, '-t', 'localhost/cached', folder);
    expect(await build(one)).not.toContain('Cache pulled from remote');
    const { tags } = (await client.request('GET', '/v2/demo/cache/tags/list')).json<{ tags: string[] }>();
    expect(tags.length).toBeGreaterThanOrEqual(3);
    for (const tag of tags) expect(tag).toMatch(/^[0-9a-f]{64}$/);
    expect((await build(other)).match(/Cache pulled from remote/g)?.length).toBeGreaterThanOrEqual(1);
    // A step that ran again would have made other random bytes.
    const random = await fileOf(one, 'localhost/cached', 'random');
    expect((await fileOf(other, 'localhost/cached', 'random')).equals(random)).toBe(true);
    expect(await fileOf(other, 'localhost/cached', 'sum')).toEqual(await fileOf(one, 'localhost/cached', 'sum'));
  });

  test('makes and pushes an index of several platforms', async () => {
    const [one, other] = [await machine(), await machine()];
    const { folder, data } = context(one, ['COPY data /data']);
    const architectures = ['amd64', 'arm64', 's390x'];
    const platforms = architectures.map((architecture) => `linux/${architecture}`).join(',');
    await one.buildah('build', '--platform', platforms, '--manifest', 'localhost/several', folder);
    // One more, which the registry has already.
    await one.buildah('build', '--platform', 'linux/riscv64', '-t', ref('demo/several:riscv64'), folder);
    await one.buildah('push', TLS, ref('demo/several:riscv64'));
    await one.buildah('manifest', 'add', TLS, 'localhost/several', `docker://${ref('demo/several:riscv64')}`);
    await one.buildah('manifest', 'push', '--all', TLS, 'localhost/several', `docker://${ref('demo/several:1')}`);

    const index = JSON.parse((await manifestOf(client, 'demo/several', '1')).toString()) as {
      manifests: { digest: string; platform: { architecture: string } }[];
    };
    expect(index.manifests.map(({ platform }) => platform.architecture).sort()).toEqual([...architectures, 'riscv64'].sort());
    for (const { digest, platform } of index.manifests) {
      const { config } = JSON.parse((await manifestOf(client, 'demo/several', digest)).toString()) as { config: { digest: string } };
      const id = (await other.buildah('pull', TLS, '--arch', platform.architecture, ref('demo/several:1'))).trim();
      expect(`sha256:${id}`).toBe(config.digest);
    }
    expect((await fileOf(other, ref('demo/several:1'), 'data')).equals(data)).toBe(true);
  });

  test('without login may neither push nor pull', async () => {
    const [member, stranger] = [await machine(), workbench()];
    const { folder } = context(member, ['COPY data /data']);
    await member.buildah('build', '-t', ref('demo/members:1'), folder);
    await member.buildah('push', TLS, ref('demo/members:1'));
    await expect(stranger.buildah('pull', TLS, ref('demo/members:1'))).rejects.toThrow('requested access to the resource is denied');
    await expect(stranger.buildah('pull', TLS, '--creds', 'admin:wrong', ref('demo/members:1'))).rejects.toThrow(
      'user name or password is wrong',
    );
  });
});
