import { expect, test } from 'vitest';
import { Relay } from '../../packages/server/src/platform/database/testing-relay.ts';
import { atEnd } from '../harness/at-end.ts';
import { Client } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { ownPostgres } from '../harness/postgres.ts';
import { startServer, temporaryFolder } from '../harness/server.ts';
import { goesOn, load } from './load.ts';

// A primary that dies in the midst of pushes, and a standby that takes over; reliability-security.md section 2, row 8.

test('failover to a synchronous standby: 503 meanwhile, back within five seconds, nothing acknowledged is lost, the audit chain holds', async () => {
  const dataDir = temporaryFolder();
  const primary = await ownPostgres({ durable: true });
  const standby = await ownPostgres({ durable: true, standbyOf: primary });
  await primary.sql('CREATE DATABASE entrepot');
  await primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
  await primary.sql('SELECT pg_reload_conf()');
  const direct = primary.url('entrepot');
  // One instance asks an address that is switched, as a balancer's or a name's; the other one knows both servers.
  const relay = await new Relay(direct).listen();
  atEnd(() => relay.close());
  const both = direct.replace(encodeURIComponent(primary.folder), encodeURIComponent(`${primary.folder},${standby.folder}`));
  const options = { 'log-level': 'fatal' };
  const servers = [
    await startServer({ dataDir, databaseUrl: relay.url(direct), options }),
    await startServer({ dataDir, databaseUrl: both, options }),
  ];
  const clients = servers.map(({ url }) => new Client(url));
  const running = load(clients, 'failover/app');
  await goesOn(running, 20_000);

  await primary.stop('SIGKILL');
  for (const { url } of servers) {
    await expect.poll(async () => (await fetch(`${url}/readyz`)).status, { timeout: 10_000 }).toBe(503);
    expect((await fetch(`${url}/livez`)).status).toBe(200);
  }
  await expect.poll(running.longest).toBeDefined();
  await standby.sql('SELECT pg_promote(true, 60)');
  relay.leadTo(standby.url('entrepot'));
  for (const { url } of servers) {
    await expect.poll(async () => (await fetch(`${url}/readyz`)).status, { timeout: 5000, interval: 50 }).toBe(200);
  }
  await goesOn(running, 10_000);

  const ledger = await running.stop();
  expect(running.odd).toEqual([]);
  expect(running.longest() ?? 0).toBeLessThanOrEqual(2);
  for (const client of clients) expect(await ledger.verify(client)).toBeGreaterThan(0);
  await checkInvariants(dataDir, ledger.acknowledged(), standby.url('entrepot'));
  expect(await servers[1]?.command('audit', 'verify')).toContain('are as they were written');
  for (const server of servers) expect(await server.stop()).toBe(0);
});
