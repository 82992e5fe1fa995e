import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { Client, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { ADMIN, startServer, type TestServer, temporaryFolder } from '../harness/server.ts';
import { describeWith, exec } from '../harness/tools.ts';
import { CannotStart, type Daemon, startDockerd } from './daemons.ts';
import { makeImage, manifestOf, pushImage, randomImage, randomIndex } from './images.ts';
import { startRelay } from './relay.ts';

/** What docker makes of an answer 401 to a token that does not cover the request. */
const DENIED = 'requested access to the resource is denied';

describeWith(['root', 'dockerd', 'docker', 'containerd', 'unshare'], 'docker', () => {
  let folder: string;
  let server: TestServer;
  let client: Client;
  let daemon: Daemon | undefined;

  beforeAll(async () => {
    folder = temporaryFolder();
    server = await startServer();
    client = new Client(server.url);
    mkdirSync(join(folder, 'client'));
    daemon = await startDockerd(folder).catch((error: unknown) => {
      if (!(error instanceof CannotStart)) throw error;
      console.log(`skipped: docker (dockerd does not run on this system: ${error.message})`);
      return undefined;
    });
  });
  beforeEach(({ skip }) => skip(daemon === undefined, 'dockerd does not run on this system'));
  afterAll(async () => {
    await daemon?.stop();
    expect(await server.stop()).toBe(0);
    await checkInvariants(server.dataDir);
  });

  const docker = (...words: string[]) =>
    exec('docker', ['-H', `unix://${daemon?.socket ?? ''}`, ...words], { DOCKER_CONFIG: join(folder, 'client') });
  const login = (address: string, password = ADMIN.password) => docker('login', '-u', ADMIN.user, '-p', password, address);
  const ref = (reference: string, address = server.address) => `${address}/${reference}`;
  const idOf = async (reference: string) => (await docker('image', 'inspect', '--format', '{{.Id}}', reference)).trim();
  const digestOf = async (reference: string) =>
    (await docker('image', 'inspect', '--format', '{{index .RepoDigests 0}}', reference)).trim().split('@')[1];

  test('logs in, pulls, tags, pushes and pulls again', async () => {
    const image = randomImage(3, 200_000);
    await pushImage(client, 'demo/app', '1', image);
    await expect(docker('pull', ref('demo/app:1'))).rejects.toThrow(DENIED);
    await expect(login(server.address, 'wrong')).rejects.toThrow('user name or password is wrong');
    await login(server.address);
    await docker('pull', '-q', ref('demo/app:1'));
    expect(await idOf(ref('demo/app:1'))).toBe(image.configDigest);

    for (const target of ['demo/mounted:1', 'fresh/pushed:1']) {
      await docker('tag', ref('demo/app:1'), ref(target));
      await docker('push', '-q', ref(target));
    }
    const pushed = await client.request('GET', '/v2/fresh/pushed/manifests/1');
    expect(pushed.headers.get('content-type')).toBe('application/vnd.docker.distribution.manifest.v2+json');
    await docker('rmi', '-f', image.configDigest);
    await docker('pull', '-q', ref('fresh/pushed:1'));
    expect(await idOf(ref('fresh/pushed:1'))).toBe(image.configDigest);
    expect(await digestOf(ref('fresh/pushed:1'))).toBe(sha256(pushed.bytes));
    expect((await manifestOf(client, 'demo/mounted', '1')).equals(pushed.bytes)).toBe(true);
  });

  test('pulls its own platform of an index, and any image by digest', async () => {
    await login(server.address);
    const index = randomIndex();
    await pushImage(client, 'demo/several', '1', index);
    await docker('pull', '-q', ref('demo/several:1'));
    expect(await idOf(ref('demo/several:1'))).toBe(index.configDigest);
    for (const { descriptor, configDigest } of index.children) {
      const byDigest = ref(`demo/several@${descriptor.digest}`);
      await docker('pull', '-q', byDigest);
      expect(await idOf(byDigest)).toBe(configDigest);
    }
  });

  test('goes on with a pull whose connection broke', async () => {
    const image = makeImage([{ large: randomBytes(20_000_000) }]);
    await pushImage(client, 'demo/large', '1', image);
    const relay = await startRelay(server);
    try {
      await login(relay.address);
      relay.cutAfter(5_000_000);
      await docker('pull', '-q', ref('demo/large:1', relay.address));
      expect(await idOf(ref('demo/large:1', relay.address))).toBe(image.configDigest);
      expect(relay.requests.filter((request) => /Range: bytes=[1-9]/.test(request))).toHaveLength(1);
      expect(relay.statuses.filter((status) => status === 206)).toHaveLength(1);
    } finally {
      relay.close();
    }
  });

  test('logs out', async () => {
    await pushImage(client, 'demo/left', '1', randomImage());
    await login(server.address);
    await docker('pull', '-q', ref('demo/left:1'));
    await docker('logout', server.address);
    await expect(docker('pull', ref('demo/left:1'))).rejects.toThrow(DENIED);
    await docker('tag', ref('demo/left:1'), ref('demo/left:2'));
    await expect(docker('push', ref('demo/left:2'))).rejects.toThrow(DENIED);
    expect((await client.request('GET', '/v2/demo/left/manifests/2')).status).toBe(404);
  });
});
