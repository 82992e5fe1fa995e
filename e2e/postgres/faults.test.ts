import { randomBytes } from 'node:crypto';
import { beforeAll, expect, test } from 'vitest';
import { begin, Client, must, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { freshDatabase, ownPostgres } from '../harness/postgres.ts';
import { startServer, type TestServer, temporaryFolder } from '../harness/server.ts';
import { goesOn, type Load, load } from './load.ts';

// The database breaks, stands still and dies under load; reliability-security.md section 2, row 8.

const dataDir = temporaryFolder();
let cluster: Awaited<ReturnType<typeof ownPostgres>>;
let databaseUrl: string;
let servers: readonly TestServer[];

beforeAll(async () => {
  cluster = await ownPostgres({ durable: true });
  databaseUrl = await freshDatabase(cluster);
  servers = await Promise.all([0, 1].map(() => startServer({ dataDir, databaseUrl, options: { 'log-level': 'fatal' } })));
});

const clientsOf = () => servers.map(({ url }) => new Client(url));
const statusOf = async (server: TestServer | undefined, path: string) => (await fetch(`${server?.url}${path}`)).status;

async function verify(running: Load): Promise<void> {
  const ledger = await running.stop();
  expect(running.odd).toEqual([]);
  expect(running.longest() ?? 0).toBeLessThanOrEqual(2);
  const [client = Client.anonymous('')] = clientsOf();
  expect(await ledger.verify(client)).toBeGreaterThan(0);
  await checkInvariants(dataDir, ledger.acknowledged(), databaseUrl);
  for (const server of servers) expect(server.process.exitCode).toBeNull();
}

test('connections that are cut in the middle of everything are made anew, and nothing is lost or told wrongly', async () => {
  const running = load(clientsOf(), 'faults/cut');
  await goesOn(running, 10_000);
  for (let round = 0; round < 5; round++) {
    await cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'entrepot'");
    await goesOn(running, 5000);
  }
  await verify(running);
  expect(await servers[0]?.command('audit', 'verify')).toContain('are as they were written');
});

test('a database that stands still: 503 and not ready, but alive; back within five seconds', async () => {
  const running = load(clientsOf(), 'faults/still');
  await goesOn(running, 10_000);
  const stopped = (await cluster.sql('SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()')).map(({ pid }) => Number(pid));
  const signal = (name: NodeJS.Signals) => {
    for (const pid of [cluster.pid(), ...stopped]) process.kill(pid, name);
  };
  signal('SIGSTOP');
  try {
    await expect.poll(running.longest, { timeout: 15_000 }).toBeDefined();
    await expect.poll(() => statusOf(servers[0], '/readyz'), { timeout: 10_000 }).toBe(503);
    expect(await statusOf(servers[0], '/livez')).toBe(200);
  } finally {
    signal('SIGCONT');
  }
  await expect.poll(() => statusOf(servers[0], '/readyz'), { timeout: 5000, interval: 100 }).toBe(200);
  await goesOn(running, 5000);
  await verify(running);
});

test('a database that is killed and comes again has all that was acknowledged', async () => {
  const running = load(clientsOf(), 'faults/killed');
  await goesOn(running, 10_000);
  await cluster.stop('SIGKILL');
  const [client = Client.anonymous('')] = clientsOf();
  await expect.poll(async () => (await client.request('GET', '/v2/faults/killed/tags/list')).status).toBe(503);
  expect(await statusOf(servers[1], '/livez')).toBe(200);
  await cluster.start();
  await goesOn(running, 5000);
  await verify(running);
  await must(client, [200], 'GET', '/v2/faults/killed/tags/list');
  expect(await servers[0]?.stop()).toBe(0);
  await servers[1]?.stop('SIGKILL');
});

test('what was acknowledged of an upload, in the clear or encrypted, outlives a database that is killed at once', async () => {
  await cluster.sql("ALTER SYSTEM SET wal_writer_delay = '10s'"); // nothing reaches the disk by itself meanwhile
  await cluster.sql('SELECT pg_reload_conf()');
  const encrypted = { encryption: 'file' };
  const both = await Promise.all(
    [{}, encrypted].map(async (options) =>
      startServer({ databaseUrl: await freshDatabase(cluster), options: { 'log-level': 'fatal', ...options } }),
    ),
  );
  const content = randomBytes(300_000);
  const uploads = await Promise.all(
    both.map(async ({ url }) => {
      const client = new Client(url);
      await client.pushBlob('demo/app', Buffer.from('first')); // makes what a first push makes
      const answer = await must(client, [202], 'PATCH', await begin(client, 'demo/app'), { body: content });
      return { client, location: answer.headers.get('location') ?? '' };
    }),
  );
  await cluster.stop('SIGKILL');
  await cluster.start();
  for (const { client, location } of uploads) {
    const put = async () => (await client.request('PUT', `${location}?digest=${sha256(content)}`)).status;
    let status = await put();
    await expect.poll(async () => (status = status === 503 ? await put() : status), { timeout: 5000 }).not.toBe(503);
    expect(status).toBe(201);
    expect((await must(client, [200], 'GET', `/v2/demo/app/blobs/${sha256(content)}`)).bytes.equals(content)).toBe(true);
  }
});
