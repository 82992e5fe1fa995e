import { type ChildProcess, spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { sharedCluster } from '../../packages/server/src/platform/database/testing-postgres.ts';
import { atEnd } from '../harness/at-end.ts';
import { Client } from '../harness/client.ts';
import { freshDatabase } from '../harness/postgres.ts';
import { startServer, type TestServer, temporaryFolder } from '../harness/server.ts';
import { describeWith } from '../harness/tools.ts';
import { Traffic } from './traffic.ts';

const HAPROXY = fileURLToPath(new URL('../../deploy/haproxy/haproxy.cfg', import.meta.url));
const NEXT_VERSION = fileURLToPath(new URL('./next-version.ts', import.meta.url));
const RESTARTS = 12;
/** How long clients may see broken connections after an instance was killed. */
const TROUBLE_MS = 3000;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describeWith(['haproxy'], 'three instances behind haproxy, on one PostgreSQL and one folder of blobs', () => {
  const folder = temporaryFolder();
  const instances: TestServer[] = [];
  const ports: number[] = [];
  let databaseUrl: string;
  const sql = async (text: string) => (await sharedCluster()).sql(text, new URL(databaseUrl).pathname.slice(1));
  let url: string;
  let balancer: ChildProcess;

  async function start(index: number, env: Readonly<Record<string, string>> = {}): Promise<void> {
    const listen = `127.0.0.1:${ports[index]}`;
    const shared = { 'keys-dir': join(folder, 'keys'), 'storage-dir': join(folder, 'blobs') };
    instances[index] = await startServer({ databaseUrl, env, options: { listen, 'drain-delay-seconds': '2', ...shared } });
  }

  /** As long as haproxy takes to send requests to an instance that is ready: two checks. */
  const taken = () => delay(2500);

  beforeAll(async () => {
    databaseUrl = await freshDatabase();
    for (let index = 0; index < 3; index++) ports.push(await freePort());
    // All at once, as an orchestrator would: one of them makes the tables and the first admin.
    await Promise.all(ports.map((_, index) => start(index)));
    const [port, health] = [await freePort(), await freePort()];
    url = `http://127.0.0.1:${port}`;
    balancer = spawn('haproxy', ['-db', '-f', HAPROXY], {
      stdio: 'ignore',
      env: {
        ...process.env,
        LISTEN: `127.0.0.1:${port}`,
        HEALTH: `127.0.0.1:${health}`,
        ...Object.fromEntries(ports.map((each, index) => [`ENTREPOT_${index + 1}`, `127.0.0.1:${each}`])),
      },
    });
    atEnd(() => void balancer.kill('SIGKILL'));
    await vi.waitFor(async () => expect((await new Client(url).request('GET', '/v2/')).status).toBe(200), { timeout: 30_000 });
  });
  afterAll(() => void balancer.kill('SIGKILL'));

  it('lose nothing acknowledged when one is killed, and clients see broken connections for a moment only', async () => {
    const traffic = new Traffic(url, 6);
    await expect.poll(() => traffic.pushes.length, { timeout: 60_000 }).toBeGreaterThan(30);
    const killed = Date.now();
    await instances[0]?.stop('SIGKILL');
    await expect.poll(() => traffic.pushes.filter((at) => at > killed + TROUBLE_MS).length, { timeout: 60_000 }).toBeGreaterThan(30);
    await traffic.stop();
    expect(traffic.trouble.filter(({ at }) => at < killed || at > killed + TROUBLE_MS)).toEqual([]);
    await start(0);
    await taken();
    expect(await traffic.lost()).toEqual([]);
  });

  it(`are restarted ${RESTARTS} times one after the other, and no push or pull fails`, { timeout: 300_000 }, async () => {
    const traffic = new Traffic(url, 4);
    for (let restart = 0; restart < RESTARTS; restart++) {
      const before = traffic.pushes.length;
      expect(await instances[restart % 3]?.stop('SIGTERM')).toBe(0);
      await start(restart % 3);
      await taken();
      expect(traffic.pushes.length).toBeGreaterThan(before);
    }
    await traffic.stop();
    expect(traffic.trouble).toEqual([]);
    expect(await traffic.lost()).toEqual([]);
  });

  it('are replaced one by one by the next version, which migrates under the others, and no push or pull fails', {
    timeout: 300_000,
  }, async () => {
    const tables = async () => (await sql("SELECT name FROM migration WHERE name LIKE '900%' ORDER BY name")).map(({ name }) => name);
    expect(await tables()).toEqual([]);
    const traffic = new Traffic(url, 4);
    const replace = async (index: number, env?: Readonly<Record<string, string>>) => {
      const before = traffic.pushes.length;
      expect(await instances[index]?.stop('SIGTERM')).toBe(0);
      await start(index, env);
      await taken();
      expect(traffic.pushes.length).toBeGreaterThan(before);
    };
    for (const index of [0, 1, 2]) await replace(index, { NODE_OPTIONS: `--import=${NEXT_VERSION}` });
    expect(await tables()).toEqual(['9001-next-columns', '9002-next-table']);
    await replace(0); // the version before on tables of the next one, as after a change of mind
    await traffic.stop();
    expect(traffic.trouble).toEqual([]);
    expect(await traffic.lost()).toEqual([]);
  });
});
