import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Client, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { ADMIN, startServer, type TestServer, temporaryFolder } from '../harness/server.ts';
import { describeWith } from '../harness/tools.ts';
import { ctrOf, type Daemon, startContainerd } from './daemons.ts';
import { type Image, makeImage, manifestOf, missingOf, pushImage, randomImage, randomIndex } from './images.ts';
import { startRelay } from './relay.ts';

describeWith(['root', 'containerd', 'ctr', 'unshare'], "containerd's ctr", () => {
  let folder: string;
  let server: TestServer;
  let client: Client;
  let daemon: Daemon;
  let ctr: (...words: string[]) => Promise<string>;

  beforeAll(async () => {
    folder = temporaryFolder();
    server = await startServer();
    client = new Client(server.url);
    daemon = await startContainerd(folder);
    ctr = ctrOf(daemon);
  });
  afterAll(async () => {
    await daemon.stop();
    expect(await server.stop()).toBe(0);
    await checkInvariants(server.dataDir);
  });

  const login = ['--user', `${ADMIN.user}:${ADMIN.password}`];
  const ref = (reference: string, address = server.address) => `${address}/${reference}`;
  const pull = (reference: string, ...flags: string[]) => ctr('images', 'pull', '--plain-http', ...login, ...flags, reference);
  const push = (reference: string, ...words: string[]) => ctr('images', 'push', '--plain-http', ...login, reference, ...words);
  /** Digests that the daemon's own store has; it hashes what it takes. */
  const held = async () => (await ctr('content', 'ls', '-q')).trim().split('\n');
  const digestsOf = (image: Image): string[] => [
    image.descriptor.digest,
    ...image.blobs.map(sha256),
    ...image.children.flatMap((child) => digestsOf(child)),
  ];

  test('pulls an image, unpacks it, and pushes it elsewhere', async () => {
    const image = makeImage([{ one: randomBytes(500_000) }, { two: randomBytes(100) }]);
    await pushImage(client, 'demo/app', '1', image);
    await pull(ref('demo/app:1'));
    expect(await held()).toEqual(expect.arrayContaining(digestsOf(image)));
    await push(ref('demo/copy:1'), ref('demo/app:1'));
    await push(ref('fresh/copy:1'), ref('demo/app:1'));
    for (const name of ['demo/copy', 'fresh/copy']) expect(await missingOf(client, name, image)).toEqual([]);
  });

  test('pulls and pushes an index with all its platforms', async () => {
    const index = randomIndex();
    await pushImage(client, 'demo/several', '1', index);
    await pull(ref('demo/several:1'), '--all-platforms');
    expect(await held()).toEqual(expect.arrayContaining(digestsOf(index)));
    await push(ref('demo/several-copy:1'), ref('demo/several:1'));
    expect(await missingOf(client, 'demo/several-copy', index)).toEqual([]);
    // Pushed into the same repository under another tag: all is there already.
    await push(ref('demo/several:2'), ref('demo/several:1'));
    expect((await client.request('HEAD', '/v2/demo/several/manifests/2')).headers.get('docker-content-digest')).toBe(
      index.descriptor.digest,
    );
  });

  test('pulls through hosts.toml as from a mirror, which is told of the name it stands for', async () => {
    const image = randomImage();
    await pushImage(client, 'demo/mirrored', '1', image);
    const relay = await startRelay(server);
    try {
      const hosts = join(folder, 'hosts');
      mkdirSync(join(hosts, 'upstream.test'), { recursive: true });
      const toml = `server = "http://upstream.test"\n[host."http://${relay.address}"]\ncapabilities = ["pull", "resolve"]\n`;
      writeFileSync(join(hosts, 'upstream.test/hosts.toml'), toml);
      await ctr('images', 'pull', '--hosts-dir', hosts, ...login, 'upstream.test/demo/mirrored:1');
      expect(await held()).toEqual(expect.arrayContaining(digestsOf(image)));
      expect(relay.requests).toContain('HEAD /v2/demo/mirrored/manifests/1?ns=upstream.test');
    } finally {
      relay.close();
    }
  });

  test('goes on with a pull whose connection broke', async () => {
    const image = makeImage([{ large: randomBytes(20_000_000) }]);
    await pushImage(client, 'demo/large', '1', image);
    const relay = await startRelay(server);
    try {
      relay.cutAfter(5_000_000);
      await pull(ref('demo/large:1', relay.address));
      expect(await held()).toEqual(expect.arrayContaining(digestsOf(image)));
      expect(relay.requests.filter((request) => /Range: bytes=[1-9]/.test(request))).toHaveLength(1);
      expect(relay.statuses.filter((status) => status === 206)).toHaveLength(1);
    } finally {
      relay.close();
    }
  });

  test('is refused with a wrong password, and without one', async () => {
    await pushImage(client, 'guarded/app', '1', randomImage());
    const attempt = (...user: string[]) => ctr('images', 'pull', '--plain-http', ...user, ref('guarded/app:1'));
    await expect(attempt('--user', 'admin:wrong')).rejects.toThrow(/failed to fetch oauth token.*401 Unauthorized/);
    await expect(attempt()).rejects.toThrow('authorization failed');
    await server.command('admin', 'project', 'visibility', 'guarded', 'public');
    await attempt();
  });

  test('pushes another tag of what a public repository has: of all it sends, that alone needs a login', async () => {
    await server.command('admin', 'project', 'create', 'open', '--public');
    const index = randomIndex();
    await pushImage(client, 'open/app', '1', index);
    await pull(ref('open/app:1'), '--all-platforms');
    for (const tag of ['2', '3', '4']) {
      await push(ref(`open/app:${tag}`), ref('open/app:1'));
      expect((await manifestOf(client, 'open/app', tag)).equals(index.bytes)).toBe(true);
    }
  });
});
