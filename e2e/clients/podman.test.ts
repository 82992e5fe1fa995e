import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Client, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { metric } from '../harness/raw.ts';
import { ADMIN, startServer, type TestServer } from '../harness/server.ts';
import { describeWith } from '../harness/tools.ts';
import { type Image, makeImage, manifestOf, missingOf, pushImage, randomImage, randomIndex } from './images.ts';
import { type Workbench, workbench } from './workbench.ts';

const TLS = '--tls-verify=false';
const DENIED = 'requested access to the resource is denied';

describeWith(['root', 'podman', 'runc', 'busybox-static'], 'podman', () => {
  let server: TestServer;
  let client: Client;
  let bench: Workbench;

  beforeAll(async () => {
    server = await startServer();
    client = new Client(server.url);
    bench = workbench();
    await bench.podman('login', TLS, '-u', ADMIN.user, '-p', ADMIN.password, server.address);
  });
  afterAll(async () => {
    expect(await server.stop()).toBe(0);
    await checkInvariants(server.dataDir);
  });

  const ref = (reference: string) => `${server.address}/${reference}`;
  const expectPulled = async (machine: Workbench, reference: string, image: Image) => {
    expect(`sha256:${(await machine.podman('pull', TLS, '-q', ref(reference))).trim()}`).toBe(image.configDigest);
    const [shown] = JSON.parse(await machine.podman('image', 'inspect', ref(reference))) as { Digest: string }[];
    expect(shown?.Digest).toBe(image.descriptor.digest);
  };

  test('pulls by tag and by digest, and the content is what was pushed', async () => {
    const content = randomBytes(200_000);
    const image = makeImage([{ first: randomBytes(1000) }, { content }]);
    await pushImage(client, 'demo/pulled', '1', image);
    await expectPulled(bench, 'demo/pulled:1', image);
    await expectPulled(bench, `demo/pulled@${image.descriptor.digest}`, image);
    const root = (await bench.podman('image', 'mount', ref('demo/pulled:1'))).trim();
    expect(readFileSync(join(root, 'content')).equals(content)).toBe(true);
    await bench.podman('image', 'unmount', ref('demo/pulled:1'));
    const index = randomIndex();
    await pushImage(client, 'demo/several', '1', index);
    expect(`sha256:${(await bench.podman('pull', TLS, '-q', ref('demo/several:1'))).trim()}`).toBe(index.configDigest);
  });

  test('pushes, also as Docker schema 2, and mounts into another repository what the first one has', async () => {
    const image = randomImage(3, 50_000);
    await pushImage(client, 'demo/source', '1', image);
    await bench.podman('pull', TLS, '-q', ref('demo/source:1'));
    const push = async (reference: string, ...flags: string[]) => {
      await bench.podman('push', TLS, ...flags, '--digestfile', join(bench.folder, 'digest'), ref('demo/source:1'), ref(reference));
      const manifest = await manifestOf(client, reference.split(':')[0] ?? '', '1');
      expect(readFileSync(join(bench.folder, 'digest'), 'utf8')).toBe(sha256(manifest));
      return JSON.parse(manifest.toString()) as { mediaType: string; layers: { digest: string }[] };
    };
    const mounts = () => metric(server, 'entrepot_http_responses_total{class="mount",status="201"}').catch(() => 0);
    const before = await mounts();
    const copy = await push('demo/target:1', '--format', 'oci');
    expect(await mounts()).toBeGreaterThanOrEqual(before + image.blobs.length - 1);
    expect(copy.layers.map(({ digest }) => digest)).toEqual(image.blobs.slice(1).map(sha256));
    const schema2 = await push('demo/schema2:1', '--format', 'v2s2');
    expect(schema2.mediaType).toBe('application/vnd.docker.distribution.manifest.v2+json');
    const other = workbench();
    await other.login(server);
    await other.podman('pull', TLS, '-q', ref('demo/target:1'));
    await other.podman('pull', TLS, '-q', ref('demo/schema2:1'));
    expect(await missingOf(client, 'demo/source', image)).toEqual([]);
  });

  test('logs in and out', async () => {
    await pushImage(client, 'demo/login', '1', randomImage());
    const other = workbench();
    const pull = () => other.podman('pull', TLS, '-q', ref('demo/login:1'));
    await expect(pull()).rejects.toThrow(DENIED);
    await expect(other.podman('login', TLS, '-u', 'admin', '-p', 'wrong', server.address)).rejects.toThrow('invalid username/password');
    await other.podman('login', TLS, '-u', ADMIN.user, '-p', ADMIN.password, server.address);
    expect(await other.podman('login', TLS, '--get-login', server.address)).toContain(ADMIN.user);
    await pull();
    await other.podman('logout', server.address);
    await other.podman('rmi', '-a');
    await expect(pull()).rejects.toThrow(DENIED);
  });

  test('searches what its user may see', async () => {
    await server.command('admin', 'project', 'create', 'open', '--public');
    for (const name of ['open/found', 'closed/found', 'closed/other']) await pushImage(client, name, '1', randomImage(1));
    const search = async (machine: Workbench, term: string) =>
      (await machine.podman('search', TLS, '--format', '{{.Name}}', ref(term))).trim().split('\n').filter(Boolean).sort();
    expect(await search(bench, 'found')).toEqual([ref('closed/found'), ref('open/found')]);
    expect(await bench.podman('search', TLS, '--list-tags', ref('closed/other'))).toMatch(/closed\/other +1/);
    const password = await server.command('admin', 'user', 'create', 'carol');
    const carol = workbench();
    await carol.podman('login', TLS, '-u', 'carol', '-p', password, server.address);
    expect(await search(carol, 'found')).toEqual([ref('open/found')]);
  });

  test('runs what it pulled', async ({ skip }) => {
    const word = randomBytes(8).toString('hex');
    const image = makeImage([{ 'bin/busybox': readFileSync('/bin/busybox') }, { word: Buffer.from(word) }]);
    await pushImage(client, 'demo/run', '1', image);
    await bench.podman('pull', TLS, '-q', ref('demo/run:1'));
    // Limits below the usual ones, which an unprivileged root may not raise.
    const limits = ['--ulimit', 'nofile=20000:20000', '--ulimit', 'nproc=8192:8192'];
    const run = ['--runtime', 'runc', 'run', '--rm', '--network', 'host', ...limits, ref('demo/run:1'), '/bin/busybox', 'cat', '/word'];
    const printed = await bench.podman(...run).catch((error: unknown) => {
      const [why = ''] = String(error).trim().split('\n').slice(-1);
      console.log(`skipped: podman run (this system starts no container: ${why})`);
      skip();
    });
    expect(printed).toBe(word);
  });
});
