import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Database, Session } from './database.ts';
import { openPostgres } from './open-postgres.ts';
import { addressesOf } from './postgres-servers.ts';
import { allCounters, counterMigrations, counterValue, increment, insertCounter } from './testing-counters.ts';
import { type Cluster, newDatabase, startCluster } from './testing-postgres.ts';
import { Relay } from './testing-relay.ts';

const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => 'done',
    (error: unknown) => (error as { code?: string }).code,
  );

describe('the address of a database', () => {
  it.each([
    ['postgresql://u:p@a/db', ['postgresql://u:p@a/db']],
    ['postgresql://u:p@a:1,b:2/db', ['postgresql://u:p@a:1/db', 'postgresql://u:p@b:2/db']],
    [
      'postgres://u:a,b@a,[::1]:2/db?sslmode=require',
      ['postgres://u:a,b@a/db?sslmode=require', 'postgres://u:a,b@[::1]:2/db?sslmode=require'],
    ],
    ['postgresql://u@x/db?host=/a,/b', ['postgresql://u@x/db?host=%2Fa', 'postgresql://u@x/db?host=%2Fb']],
    ['postgresql:///db?host=a,b&port=1,2', ['postgresql:///db?host=a&port=1', 'postgresql:///db?host=b&port=2']],
    ['postgresql:///db?host=a,b&port=1', ['postgresql:///db?host=a&port=1', 'postgresql:///db?host=b&port=1']],
  ])('%s', (url, addresses) => {
    expect(addressesOf(url)).toEqual(addresses);
  });

  it('has a port for each host, or one for all', () => {
    expect(() => addressesOf('postgresql:///db?host=a,b,c&port=1,2')).toThrow('ports');
  });
});

describe('failover to a standby', () => {
  let primary: Cluster;
  let standby: Cluster;
  let name: string;
  const opened: Database[] = [];
  const open = async (url: string) => {
    const database = await openPostgres(url, { startMs: 0 });
    opened.push(database);
    return database;
  };
  const value = async () => Number((await standby.sql("SELECT value FROM counter WHERE name = 'a'", name))[0]?.value);
  const wait = (names: string) =>
    primary.sql(`ALTER SYSTEM SET synchronous_standby_names = '${names}'`).then(() => primary.sql('SELECT pg_reload_conf()'));

  beforeEach(async () => {
    primary = await startCluster({ durable: true });
    standby = await startCluster({ durable: true, standbyOf: primary });
    await wait('*');
    name = (await newDatabase(primary)).name;
    const database = await open(primary.url(name));
    await database.migrate(counterMigrations);
    await database.write((tx) => Promise.resolve(tx.run(insertCounter, { name: 'a', value: 0 })));
    // What a standby has on its disk it shows a little later.
    await expect.poll(() => value().catch(() => undefined), { timeout: 10_000 }).toBe(0);
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((database) => database.close()));
    await Promise.all([primary.remove(), standby.remove()]);
  });

  it('is found by an address with both, and no success is lost', async () => {
    const both = primary.url(name).replace(encodeURIComponent(primary.folder), encodeURIComponent(`${standby.folder},${primary.folder}`));
    const database = await open(both);
    let counted = 0;
    let isOver = false;
    const codes = new Set<string | undefined>();
    const counting = (async () => {
      while (!isOver) {
        const code = await codeOf(increment(database, 'a', true));
        if (code === 'done') counted++;
        else codes.add(code);
      }
    })();
    await expect.poll(() => counted, { timeout: 10_000 }).toBeGreaterThan(5);
    await primary.stop('SIGKILL');
    await expect.poll(() => codes.size, { timeout: 10_000 }).toBe(1);
    await standby.sql('SELECT pg_promote(true, 30)');
    const before = counted;
    await expect.poll(() => counted, { timeout: 5000, interval: 20 }).toBeGreaterThan(before);
    isOver = true;
    await counting;
    expect(codes).toEqual(new Set(['unavailable']));
    // Those of which nobody can say what became of them may be there too.
    expect(await value()).toBeGreaterThanOrEqual(counted);
  });

  it('takes old connections along as soon as a new one leads there, and the former primary is not believed any more', async () => {
    const relay = await new Relay(primary.url(name)).listen();
    try {
      await expect(open(standby.url(name))).rejects.toThrow('it is a standby');
      const database = await open(relay.url(primary.url(name)));
      await increment(database, 'a', true);
      // The primary lives on behind the balancer's back and takes changes: nobody has told it, and nobody cuts what is there.
      await wait('');
      await standby.sql('SELECT pg_promote(true, 30)');
      relay.leadTo(standby.url(name));
      const look = async (tx: Session) => void (await tx.first(counterValue, { name: 'a' }));
      await Promise.all(Array.from({ length: 4 }, (_, index) => codeOf(database.write(look, { scope: [`${index}`] }))));
      const before = await value();
      await expect.poll(() => codeOf(increment(database, 'a', true)), { timeout: 5000 }).toBe('done');
      expect(await value()).toBe(before + 1);
      relay.leadTo(primary.url(name));
      relay.cutAll();
      expect(await codeOf(increment(database, 'a', true))).toBe('unavailable');
      expect(await codeOf(Promise.resolve(database.all(allCounters, {})))).toBe('unavailable');
      relay.leadTo(standby.url(name));
      await expect.poll(() => codeOf(increment(database, 'a', true)), { timeout: 5000 }).toBe('done');
      expect(await value()).toBe(before + 2);
    } finally {
      relay.close();
    }
  });

  it('what a standby did not get is no success, whoever cuts the wait for it, and never more commits wait than there may be', async () => {
    const database = await open(primary.url(name));
    await increment(database, 'a', true);
    const before = 1;
    await expect.poll(value, { timeout: 10_000 }).toBe(before);
    await standby.stop('SIGKILL');
    const first = codeOf(increment(database, 'a', true));
    const waiting = "SELECT count(*)::int AS count FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    await expect.poll(async () => (await primary.sql(waiting))[0]?.count, { timeout: 5000 }).toBe(1);
    await primary.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
    expect(await first).toBe('unavailable');
    // Each of these waits in the commit; then no other is let in.
    const more = Array.from({ length: 12 }, (_, index) =>
      codeOf(database.write(async (tx) => void (await tx.run(insertCounter, { name: `m${index}`, value: 1 })), { scope: [`${index}`] })),
    );
    expect(new Set(await Promise.all(more))).toEqual(new Set(['unavailable']));
    expect(Number((await primary.sql(waiting))[0]?.count)).toBeLessThanOrEqual(6);
    expect(await codeOf(database.ping())).toBe('unavailable');
    expect((await database.all(allCounters, {})).length).toBeGreaterThan(0);
    await standby.start();
    await expect.poll(() => codeOf(database.ping()), { timeout: 5000 }).toBe('done');
    await expect.poll(value).toBe(before + 1);
  });
});

describe('a database that was set to read only', () => {
  it('is away for those that are connected too, until it takes changes again', async () => {
    const cluster = await startCluster();
    const set = async (value: 'on' | 'off') => {
      await cluster.sql(`ALTER SYSTEM SET default_transaction_read_only = ${value}`);
      await cluster.sql('SELECT pg_reload_conf()');
    };
    const { url } = await newDatabase(cluster);
    const database = await openPostgres(url);
    try {
      await database.migrate(counterMigrations);
      await set('on');
      await expect.poll(() => codeOf(Promise.resolve(database.all(allCounters, {}))), { timeout: 5000 }).toBe('unavailable');
      await set('off').catch(() => undefined);
      await expect.poll(() => codeOf(database.ping()), { timeout: 5000 }).toBe('done');
    } finally {
      await database.close();
      await cluster.remove();
    }
  });
});
