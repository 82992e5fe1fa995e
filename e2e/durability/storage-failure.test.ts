import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Answer, Client, imageManifest, must, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { startServer, type TestServer } from '../harness/server.ts';
import { Ledger } from './ledger.ts';
import { type Material, newMaterial, pushImage } from './scenario.ts';
import { attach, describeTraced, type Tracer } from './strace.ts';

// strace counts calls in each thread: with one for files, the first sync is the first.
const env = { UV_THREADPOOL_SIZE: '1' };
const MANIFEST = { 'Content-Type': 'application/vnd.oci.image.manifest.v1+json' };

describeTraced('storage that fails for a while', () => {
  let server: TestServer;
  let client: Client;
  let ledger: Ledger;
  let material: Material;

  beforeEach(async () => {
    server = await startServer({ env });
    client = new Client(server.url);
    ledger = new Ledger();
    material = newMaterial();
    await pushImage(client, ledger, material);
  });
  afterEach(() => server.stop('SIGKILL'));

  const fault = (...args: string[]): Promise<Tracer> => attach({ process: server.process.pid ?? 0 }, args);
  const begin = async () => (await must(client, [202], 'POST', `/v2/${material.name}/blobs/uploads/`)).headers.get('location') ?? '';
  const putBlob = (location: string, bytes: Buffer) => client.request('PUT', `${location}?digest=${sha256(bytes)}`, { body: bytes });
  const putManifest = (padding: number) => {
    const bytes = Buffer.from(JSON.stringify(imageManifest(material.config, [], { annotations: { padding: 'x'.repeat(padding) } })));
    return client.request('PUT', `/v2/${material.name}/manifests/latest`, { headers: MANIFEST, body: bytes });
  };

  test.each([
    ['EIO when files are synced', 'fdatasync:error=EIO'],
    ['EIO when directories are synced', 'fsync:error=EIO'],
    ['EIO when files are written', 'pwrite64:error=EIO'],
    ['ENOSPC when files are written', 'pwrite64:error=ENOSPC'],
    ['EDQUOT when files are written', 'pwrite64:error=EDQUOT'],
  ])('%s: nothing is acknowledged, reads go on, and afterwards all is well without a restart', async (_, what) => {
    const sessions = [await begin(), await begin(), await begin(), await begin()];
    const tracer = await fault('-e', `trace=${what.split(':')[0]}`, '-e', `inject=${what}`);
    for (let round = 0; round < 2; round++) {
      refused(await putBlob(sessions[2 * round] ?? '', randomBytes(3000)));
      refused(await putBlob(sessions[2 * round + 1] ?? '', randomBytes(3_000_000)));
      const single = randomBytes(100);
      refused(await client.request('POST', `/v2/${material.name}/blobs/uploads/?digest=${sha256(single)}`, { body: single }));
      if (!what.startsWith('fsync')) {
        refused(await putManifest(10_000 + round));
        refused(await client.request('DELETE', `/v2/${material.name}/manifests/latest`));
      }
      expect((await client.request('GET', `/v2/${material.name}/blobs/${sha256(material.large)}`)).bytes.equals(material.large)).toBe(true);
    }
    await tracer.detach();

    const after = new Ledger();
    await pushImage(client, after, newMaterial());
    await pushImage(client, after, material);
    await after.verify(client);
    await server.stop('SIGKILL');
    server = await startServer({ dataDir: server.dataDir, env });
    await after.verify(new Client(server.url));
    await checkInvariants(server.dataDir, after.acknowledged());
  });

  test.each([
    ['at its end', 1_000_000],
    ['on the way', 20 << 20],
  ])('an upload whose sync failed once %s is not acknowledged before its bytes came again', async (_, size) => {
    const bytes = randomBytes(size);
    const location = await begin();
    await must(client, [202], 'PATCH', location, { body: bytes.subarray(0, 500_000) });
    const tracer = await fault('-e', 'trace=fdatasync', '-e', 'inject=fdatasync:error=EIO:when=1');
    refused(await client.request('PUT', `${location}?digest=${sha256(bytes)}`, { body: bytes.subarray(500_000) }));
    await tracer.detach();
    const again = await client.request('PUT', `${location}?digest=${sha256(bytes)}`);
    expect(again.status).toBe(400);
    await must(client, [404], 'HEAD', `/v2/${material.name}/blobs/${sha256(bytes)}`);
    await must(client, [201], 'PUT', `${await begin()}?digest=${sha256(bytes)}`, { body: bytes });
    await checkInvariants(server.dataDir);
  });

  test('after a failed sync of the log it is written again before anything is acknowledged', async () => {
    const log = `${server.dataDir}/entrepot.db-wal`;
    const tracer = await fault('-y', '-P', log, '-e', 'trace=fdatasync,pwrite64', '-e', 'inject=fdatasync:error=EIO:when=1');
    refused(await putManifest(30_000)); // the sync in the thread fails
    refused(await putManifest(30_001)); // written again, the sync of that fails
    expect((await putManifest(40_000)).status).toBe(201);
    await tracer.detach();
    const calls = tracer.calls();
    const failed = calls.findLastIndex(({ name, args }) => name === 'fdatasync' && args.includes('EIO'));
    const synced = calls.findIndex(({ name, args }, index) => index > failed && name === 'fdatasync' && args.endsWith('= 0'));
    const rewritten = calls.slice(failed + 1, synced).reduce((sum, { args }) => sum + Number(/= (\d+)$/.exec(args)?.[1] ?? 0), 0);
    expect(failed).toBeGreaterThan(-1);
    expect(rewritten).toBeGreaterThan(60_000);
  });
});

function refused(answer: Answer): void {
  expect([507, 503], answer.bytes.toString()).toContain(answer.status);
  expect(answer.json<{ errors: unknown[] }>().errors).toMatchObject([{ code: 'UNAVAILABLE', message: /space|storage|database/ }]);
  expect(answer.headers.get('retry-after')).toMatch(/^\d+$/);
}
