import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type FaultProxy, startFaultProxy } from '../../packages/server/src/content/s3/testing-fault-proxy.ts';
import { BUCKET, describeOnS3, KEYS, startS3, type TestS3 } from '../../packages/server/src/content/s3/testing-server.ts';
import { withInstallation } from '../../packages/server/src/local.ts';
import { loadConfig } from '../../packages/server/src/platform/index.ts';
import { Client, must, sha256 } from '../harness/client.ts';
import { entrepot, startServer, type TestServer, temporaryFolder } from '../harness/server.ts';
import { blobFile, flip } from './disk.ts';

const MIB = 1 << 20;
const SOON = { timeout: 20_000, interval: 50 };
const name = 'demo/app';
const uploads = (server: TestServer) => join(server.dataDir, 'storage/docker/registry/v2/uploads');
const blobAt = (digest: string) => `/v2/${name}/blobs/${digest}`;

/** Moves a blob to the cold tier beside the running server, and takes the hot copy away as it does after a while. */
async function makeCold(server: TestServer, options: Readonly<Record<string, string>>, digest: string): Promise<void> {
  const flags = Object.fromEntries(
    Object.entries(options).map(([flag, value]) => [flag.replace(/-[a-z0-9]/g, (at) => at.slice(1).toUpperCase()), value]),
  );
  const config = loadConfig({
    env: {},
    flags: { ...flags, dataDir: server.dataDir, ...(server.databaseUrl ? { databaseUrl: server.databaseUrl } : {}) },
  });
  await withInstallation(config, async ({ blobs }) => {
    expect(await blobs.tiers?.demote(digest, new AbortController().signal)).toBe('moved');
  });
  rmSync(blobFile(server.dataDir, digest));
}

describe('a registry with a second disk', () => {
  test('serves what is cold, has it hot afterwards, whatever dies on the way, and scrubs both', async () => {
    const folder = temporaryFolder();
    const cold = join(folder, 'cold');
    mkdirSync(cold);
    const options = { 'cold-storage': 'files', 'cold-directory': cold };
    const words = ['--cold-storage', 'files', '--cold-directory', cold];
    let server = await startServer({ options });
    let client = new Client(server.url);
    const restart = async (signal?: NodeJS.Signals) => {
      await server.stop(signal);
      server = await startServer({ dataDir: server.dataDir, options });
      client = new Client(server.url);
    };
    const [layer, other] = [randomBytes(24 * MIB), randomBytes(MIB)];
    const digest = sha256(layer);
    await client.pushImage(name, 'v1', [layer, other]);
    await makeCold(server, options, digest);
    await makeCold(server, options, sha256(other));

    // Looking at it, as backups and scrub do, has it stay where it is.
    expect((await must(client, [200], 'HEAD', blobAt(digest))).headers.get('content-length')).toBe(String(layer.length));
    const backup = join(folder, 'backup');
    expect(await entrepot('backup', backup, '--data', server.dataDir, '--plain-keys', ...words)).toMatchObject({ code: 0 });
    expect(await entrepot('scrub', '--data', server.dataDir, ...words)).toMatchObject({ code: 0 });
    expect(await entrepot('doctor', '--data', server.dataDir, '--deep', ...words)).toMatchObject({ code: 0 });
    expect(existsSync(blobFile(server.dataDir, digest))).toBe(false);

    const part = await must(client, [206], 'GET', blobAt(sha256(other)), { headers: { Range: 'bytes=500000-599999' } });
    expect(part.bytes.equals(other.subarray(500_000, 600_000))).toBe(true);
    await expect.poll(() => existsSync(blobFile(server.dataDir, sha256(other))), SOON).toBe(true);

    // It dies while it fetches: nothing is lost, and the next pull fetches anew.
    const pulls = Array.from({ length: 4 }, () => client.request('GET', blobAt(digest)).catch(() => undefined));
    const hasBegun = () =>
      readdirSync(uploads(server)).some((id) => id.startsWith('tier-')) || existsSync(blobFile(server.dataDir, digest));
    await expect.poll(hasBegun, { timeout: 20_000, interval: 2 }).toBe(true);
    await restart('SIGKILL');
    await Promise.all(pulls);
    expect((await must(client, [200], 'GET', blobAt(digest))).bytes.equals(layer)).toBe(true);
    await expect.poll(() => existsSync(blobFile(server.dataDir, digest)), SOON).toBe(true);

    // A damaged hot copy is repaired from the cold one, which is still there for a while.
    flip(blobFile(server.dataDir, digest), 1000);
    const scrubbed = await entrepot('scrub', '--data', server.dataDir, ...words, '--json');
    expect(JSON.parse(scrubbed.out)).toMatchObject({ repaired: [digest], damaged: 0 });
    expect((await must(client, [200], 'GET', blobAt(digest))).bytes.equals(layer)).toBe(true);

    await server.stop();
    const restored = join(folder, 'restored');
    const fresh = ['--cold-storage', 'files', '--cold-directory', join(folder, 'fresh')];
    expect(await entrepot('restore', backup, '--data', restored, ...fresh)).toMatchObject({ code: 0 });
    const second = await startServer({ dataDir: restored, options: { 'cold-storage': 'files', 'cold-directory': join(folder, 'fresh') } });
    expect((await must(new Client(second.url), [200], 'GET', blobAt(digest))).bytes.equals(layer)).toBe(true);
    await second.stop();
  });

  test('does not start without its cold tier, or with one that is not mounted', async () => {
    const folder = temporaryFolder();
    const cold = join(folder, 'cold');
    const options = { 'cold-storage': 'files', 'cold-directory': cold };
    const server = await startServer({ options });
    const client = new Client(server.url);
    const layer = randomBytes(MIB);
    await client.pushImage(name, 'v1', [layer]);
    await makeCold(server, options, sha256(layer));
    await server.stop();
    const { dataDir } = server;
    await expect(startServer({ dataDir })).rejects.toThrow('cannot be off before all are hot again');
    renameSync(cold, `${cold}.away`);
    await expect(startServer({ dataDir, options })).rejects.toThrow('is it mounted');
    renameSync(`${cold}.away`, cold);
    const again = await startServer({ dataDir, options });
    // Unmounted while it runs: pulls are to be tried again, and nothing is taken for lost.
    renameSync(cold, `${cold}.away`);
    const answer = await must(new Client(again.url), [503], 'GET', blobAt(sha256(layer)));
    expect(answer.headers.get('retry-after')).toBe('30');
    renameSync(`${cold}.away`, cold);
    expect((await must(new Client(again.url), [200], 'GET', blobAt(sha256(layer)))).bytes.equals(layer)).toBe(true);
    await again.stop();
  });
});

describeOnS3('a registry on files with a cold tier in a bucket', () => {
  let s3: TestS3;
  let proxy: FaultProxy;
  beforeAll(async () => {
    s3 = await startS3();
    proxy = await startFaultProxy(s3.endpoint);
  });
  afterAll(async () => {
    await proxy.close();
    await s3.close();
  });

  test('answers 503 with Retry-After for what is archived, has it restored once, and serves it then; encrypted too', async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'secret'), `${KEYS.secret}\n`, { mode: 0o600 });
    const options = {
      ...{ 'cold-storage': 's3', 's3-bucket': BUCKET, 's3-endpoint': proxy.endpoint, encryption: 'file' },
      ...{ 's3-access-key-id': KEYS.id, 's3-secret-key-file': join(folder, 'secret') },
    };
    const server = await startServer({ options });
    const client = new Client(server.url);
    const layer = randomBytes(2 * MIB);
    const digest = sha256(layer);
    await client.pushImage(name, 'v1', [layer]);
    await makeCold(server, options, digest);
    const hex = digest.slice(7);
    const sealedBytes = statSync(join(s3.folder, 'docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex, 'data')).size;
    let restored = false;
    proxy.inject(({ operation, path }) => {
      if (!path.endsWith('/data')) return undefined;
      if (operation === 'RestoreObject') return { kind: 'answer', status: 202 };
      const state = restored ? 'ongoing-request="false", expiry-date="Fri, 21 Dec 2040 00:00:00 GMT"' : 'ongoing-request="true"';
      if (operation === 'HeadObject') {
        const asked = proxy.seen.some((seen) => seen.operation === 'RestoreObject');
        const headers = { 'x-amz-storage-class': 'GLACIER', 'content-length': sealedBytes, ...(asked ? { 'x-amz-restore': state } : {}) };
        return { kind: 'answer', status: 200, headers };
      }
      if (operation === 'GetObject' && !restored)
        return { kind: 'answer', status: 403, body: '<Error><Code>InvalidObjectState</Code></Error>' };
      return undefined;
    });
    for (let times = 0; times < 3; times++) {
      const answer = await must(client, [503], 'GET', blobAt(digest));
      expect(answer.headers.get('retry-after')).toBe('900');
    }
    expect(proxy.seen.filter(({ operation }) => operation === 'RestoreObject')).toHaveLength(1);
    await must(client, [200], 'HEAD', blobAt(digest));
    restored = true;
    expect((await must(client, [200], 'GET', blobAt(digest))).bytes.equals(layer)).toBe(true);
    await expect.poll(() => existsSync(blobFile(server.dataDir, digest)), SOON).toBe(true);
    proxy.inject();
    await server.stop();
  });
});
