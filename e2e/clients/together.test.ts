import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Client, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { startServer, type TestServer } from '../harness/server.ts';
import { describeWith } from '../harness/tools.ts';
import { makeImage, manifestOf, missingOf, randomIndex, writeLayout } from './images.ts';
import { type Workbench, workbench } from './workbench.ts';

describeWith(['root', 'skopeo', 'buildah', 'podman'], 'several clients at once', () => {
  let server: TestServer;
  let client: Client;

  beforeAll(async () => {
    server = await startServer({ options: { workers: '2' } });
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

  test('push the same image under the same tag, and pull it whole', async () => {
    const content = randomBytes(3_000_000);
    const image = makeImage([{ content }, { second: randomBytes(100_000) }, { third: randomBytes(1000) }]);
    const machines = await Promise.all([machine(), machine(), machine(), machine()]);
    const [buildah, podman] = [await machine(), await machine()];
    const layout = join(buildah.folder, 'layout');
    writeLayout(layout, image, 'v1');
    const stored = 'localhost/same:v1';
    await Promise.all([buildah, podman].map((bench) => bench.skopeo('copy', `oci:${layout}:v1`, bench.stored(stored))));

    const digestFile = (bench: Workbench) => ['--digestfile', join(bench.folder, 'digest')];
    await Promise.all([
      // Kept from taking what another has compressed anew, of which it knows by the memory they share.
      ...machines.map((bench) =>
        bench.skopeo(
          ...['copy', '--preserve-digests', ...digestFile(bench), '--dest-tls-verify=false'],
          ...[`oci:${layout}:v1`, `docker://${ref('demo/same:v1')}`],
        ),
      ),
      buildah.buildah('push', ...digestFile(buildah), '--tls-verify=false', stored, ref('demo/same:v1')),
      podman.podman('push', ...digestFile(podman), '--tls-verify=false', stored, ref('demo/same:v1')),
    ]);

    // Tools that keep layers unpacked compress them anew, so theirs is another manifest: each must be there as it was sent.
    const digests = [...machines, buildah, podman].map((bench) => readFileSync(join(bench.folder, 'digest'), 'utf8'));
    expect(new Set(digests.slice(0, 4))).toEqual(new Set([image.descriptor.digest]));
    for (const digest of digests) expect(sha256(await manifestOf(client, 'demo/same', digest))).toBe(digest);
    expect(digests).toContain(sha256(await manifestOf(client, 'demo/same', 'v1')));
    expect(await missingOf(client, 'demo/same', image)).toEqual([]);

    const [puller, other] = [await machine(), await machine()];
    const [first, second] = await Promise.all([
      puller.buildah('pull', '-q', '--tls-verify=false', ref('demo/same:v1')),
      other.podman('pull', '-q', '--tls-verify=false', ref('demo/same:v1')),
      ...machines.map((bench) =>
        bench.skopeo('copy', '--src-tls-verify=false', `docker://${ref('demo/same:v1')}`, `dir:${join(bench.folder, 'pulled')}`),
      ),
    ]);
    expect([first, second].map((id) => `sha256:${id.trim()}`)).toEqual([image.configDigest, image.configDigest]);
    const root = (await other.podman('image', 'mount', ref('demo/same:v1'))).trim();
    expect(readFileSync(join(root, 'content')).equals(content)).toBe(true);
    await checkInvariants(server.dataDir);
  });

  test('push, retag and delete in one repository', async () => {
    const images = [randomIndex(), randomIndex(), randomIndex()];
    await Promise.all(
      images.map(async (image, number) => {
        const bench = await machine();
        const layout = join(bench.folder, 'layout');
        writeLayout(layout, image, 'v1');
        const push = (tag: string) =>
          bench.skopeo('copy', '--all', '--dest-tls-verify=false', `oci:${layout}:v1`, `docker://${ref(`demo/index:${tag}`)}`);
        await push('shared');
        await push(`own-${number}`);
        if (number === 0) await bench.skopeo('delete', '--tls-verify=false', `docker://${ref('demo/index:own-0')}`);
      }),
    );
    for (const image of images.slice(1)) expect(await missingOf(client, 'demo/index', image)).toEqual([]);
    expect((await client.request('GET', '/v2/demo/index/manifests/own-0')).status).toBe(404);
    await checkInvariants(server.dataDir);
  });
});
