import { beforeAll, expect, test } from 'vitest';
import { Ledger } from '../durability/ledger.ts';
import { Client, imageManifest, must, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { freshDatabase, ownPostgres } from '../harness/postgres.ts';
import { startServer, type TestServer, temporaryFolder } from '../harness/server.ts';

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

interface Load {
  /** Images acknowledged so far. */
  readonly count: () => number;
  /** Statuses that were neither success nor `retry`. */
  readonly odd: readonly string[];
  /** Longest `Retry-After` of a 503, in seconds; undefined where none came. */
  readonly longest: () => number | undefined;
  /** Ends it and gives what was acknowledged. */
  stop(): Promise<Ledger>;
}

/** Pushes images without end, each step again and again until it is acknowledged. */
function load(clients: readonly Client[], name: string): Load {
  const ledger = new Ledger();
  const odd: string[] = [];
  let longest: number | undefined;
  let count = 0;
  let ended = false;

  async function until(work: () => Promise<unknown>): Promise<void> {
    for (;;) {
      try {
        await work();
        return;
      } catch (error) {
        if (error instanceof TypeError) odd.push(error.cause instanceof Error ? error.cause.message : error.message); // no answer at all
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }
  async function send(client: Client, method: string, path: string, options: Parameters<Client['request']>[2], wanted: number) {
    const answer = await client.request(method, path, options);
    if (answer.status === wanted) return answer;
    if (answer.status === 503) longest = Math.max(longest ?? 0, Number(answer.headers.get('retry-after') ?? Number.POSITIVE_INFINITY));
    else odd.push(`${method} ${path}: ${answer.status} ${answer.bytes}`);
    throw new Error('again');
  }
  async function push(client: Client, tag: string): Promise<void> {
    const config = Buffer.from(JSON.stringify({ name, tag }));
    const digest = sha256(config);
    const manifest = Buffer.from(JSON.stringify(imageManifest(config, [])));
    await until(() =>
      ledger.change('blob', name, digest, config, () =>
        send(client, 'POST', `/v2/${name}/blobs/uploads/?digest=${digest}`, { body: config }, 201),
      ),
    );
    const headers = { 'Content-Type': 'application/vnd.oci.image.manifest.v1+json' };
    await until(() =>
      ledger.change('tag', name, tag, manifest, () =>
        send(client, 'PUT', `/v2/${name}/manifests/${tag}`, { headers, body: manifest }, 201),
      ),
    );
    count++;
  }
  const running = clients.flatMap((client, lane) =>
    [0, 1].map(async (half) => {
      for (let index = 0; !ended; index++) await push(client, `t-${lane}-${half}-${index}`);
    }),
  );
  return {
    count: () => count,
    odd,
    longest: () => longest,
    async stop() {
      ended = true;
      await Promise.all(running);
      return ledger;
    },
  };
}

const clientsOf = () => servers.map(({ url }) => new Client(url));
const goesOn = async (running: Load, timeout: number) => {
  const before = running.count();
  await expect.poll(running.count, { timeout, interval: 50 }).toBeGreaterThan(before + 3);
};
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
