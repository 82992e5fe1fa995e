import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, expect, it } from 'vitest';
import { sqliteData } from '../../platform/database/testing.ts';
import type { Database } from '../../platform/index.ts';
import { asOnlyAdoption } from './lease.ts';
import { adoptionMigrations } from './schema.ts';

const data = sqliteData(adoptionMigrations);
afterAll(() => data.remove());

it('one adoption is at work at a time: others are refused, and told by whom', async () => {
  const database = await data.open();
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => (end = resolve));
  const lease = { who: 'ann at one', isAlone: false, leaseMs: 1000 };
  const first = asOnlyAdoption(database, lease, async ({ hold }) => {
    await database.write(hold);
    await ended;
  });
  await expect(asOnlyAdoption(database, { ...lease, who: 'bob at two' }, async () => undefined)).rejects.toThrow('begun by ann at one');
  end();
  await first;
  await asOnlyAdoption(database, { ...lease, who: 'bob at two' }, async () => undefined);
});

it('one that was killed is waited for, and can do nothing any more', async () => {
  const database = await data.open();
  // As a killed one leaves it: held, and not renewed.
  const silent: Database = {
    ...bound(database),
    write: (work, options) => (options?.durable === false ? delay(1, undefined as never) : database.write(work, options)),
  };
  let late: (() => Promise<unknown>) | undefined;
  let over: () => void = () => undefined;
  const killed = asOnlyAdoption(silent, { who: 'ann', isAlone: false, leaseMs: 300 }, async ({ hold }) => {
    late = () => database.write(hold);
    await new Promise<void>((resolve) => (over = resolve));
  });
  await expect.poll(() => late).toBeDefined();
  let worked = false;
  await asOnlyAdoption(database, { who: 'bob', isAlone: false, leaseMs: 5000 }, async () => {
    worked = true;
    await expect(late?.()).rejects.toThrow('another adoption has taken over');
  });
  expect(worked).toBe(true);
  over();
  await killed;
});

/** The same database as a plain object, of which a part can be another. */
function bound(database: Database): Database {
  return {
    all: (query, params) => database.all(query, params),
    first: (query, params) => database.first(query, params),
    run: (query, params) => database.run(query, params),
    write: (work, options) => database.write(work, options),
    migrate: (list) => database.migrate(list),
    inOrder: (work) => database.inOrder(work),
    clock: database.clock,
    ping: () => database.ping(),
    close: () => database.close(),
  };
}
