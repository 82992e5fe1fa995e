import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Database, Migration } from './database.ts';
import type { TestData, TestDatabase } from './testing.ts';
import { allCounters, counterMigrations, counterValue, increment, insertCounter } from './testing-counters.ts';

/** What rooms rely on, whatever the database. */
export function databaseContract(name: string, data: TestDatabase): void {
  describe(`database contract on ${name}`, () => {
    let store: TestData;
    let database: Database;
    const value = async (on: Database, counter: string) => (await on.first(counterValue, { name: counter }))?.value;

    beforeEach(async () => {
      store = data(counterMigrations);
      database = await store.open();
    });
    afterEach(() => store.remove());

    it('rolls back a change that fails, and only that one of those that arrive together', async () => {
      const results = await Promise.allSettled([
        database.write((tx) => Promise.resolve(tx.run(insertCounter, { name: 'a', value: 1 }))),
        database.write(async (tx) => {
          await tx.run(insertCounter, { name: 'b', value: 1 });
          throw new Error('changed its mind');
        }),
        database.write(async (tx) => {
          await tx.run(insertCounter, { name: 'c', value: 1 });
          await tx.run(insertCounter, { name: 'c', value: 2 }); // breaks the primary key
        }),
        database.write((tx) => Promise.resolve(tx.run(insertCounter, { name: 'd', value: 1 }))),
      ]);
      expect(results.map((result) => result.status)).toEqual(['fulfilled', 'rejected', 'rejected', 'fulfilled']);
      expect((await database.all(allCounters, {})).map((row) => row.name)).toEqual(['a', 'd']);
    });

    it('shows a change to nobody before it is complete', async () => {
      const other = await store.open();
      await database.write(async (tx) => {
        await tx.run(insertCounter, { name: 'a', value: 1 });
        expect(await tx.first(counterValue, { name: 'a' })).toEqual({ value: 1 });
        expect(await value(database, 'a')).toBeUndefined();
        expect(await value(other, 'a')).toBeUndefined();
      });
      expect(await value(database, 'a')).toBe(1);
      expect(await value(other, 'a')).toBe(1);
    });

    it.each([true, false])('takes a write begun where another ended (durable: %s)', async (durable) => {
      await database.write((tx) => Promise.resolve(tx.run(insertCounter, { name: 'a', value: 0 })), { durable });
      for (let i = 0; i < 50; i++) await increment(database, 'a', durable);
      expect(await value(database, 'a')).toBe(50);
    });

    it.each([true, false])('reads its own write, also in the same turn (durable: %s)', async (durable) => {
      await database.write((tx) => Promise.resolve(tx.run(insertCounter, { name: 'a', value: 0 })), { durable });
      for (let i = 1; i <= 50; i++) {
        await increment(database, 'a', durable);
        expect(await value(database, 'a')).toBe(i);
      }
    });

    it('reads what another connection has written, at once', async () => {
      const other = await store.open();
      await other.write((tx) => Promise.resolve(tx.run(insertCounter, { name: 'a', value: 0 })));
      for (let i = 1; i <= 50; i++) {
        expect(await value(database, 'a')).toBe(i - 1);
        await increment(other, 'a', i % 2 === 0);
        // A request that hears of the change comes with a later turn.
        await new Promise((resolve) => setImmediate(resolve));
        expect(await value(database, 'a')).toBe(i);
      }
    });

    it('loses no count between connections that write at once', async () => {
      const all = [database, await store.open(), await store.open()];
      await database.write((tx) => Promise.resolve(tx.run(insertCounter, { name: 'a', value: 0 })));
      await Promise.all(
        all.map(async (each) => {
          for (let i = 0; i < 100; i++) await increment(each, 'a', i % 10 === 0);
        }),
      );
      expect(await value(database, 'a')).toBe(300);
    });

    it('migrates once, whoever comes first', async () => {
      const fresh = data([]);
      try {
        const connections = await Promise.all([fresh.open(), fresh.open(), fresh.open()]);
        await Promise.all(connections.map((each) => each.migrate(counterMigrations)));
        await connections[0]?.migrate(counterMigrations);
        for (const each of connections) expect(await each.all(allCounters, {})).toEqual([]);
      } finally {
        await fresh.remove();
      }
    });

    it('leaves nothing of a set of migrations that fails', async () => {
      const broken: Migration = {
        name: 'test-broken',
        up: ({ db }) => [
          db.schema.createTable('half').addColumn('id', 'integer'),
          db.schema.createTable('counter').addColumn('name', 'text'), // exists
        ],
      };
      await expect(database.migrate([broken])).rejects.toThrow();
      const mended: Migration = { ...broken, up: ({ db }) => [db.schema.createTable('half').addColumn('id', 'integer')] };
      await database.migrate([mended]);
    });

    it('says that it can be written to', async () => {
      await database.ping();
      await database.close();
      await expect(database.ping()).rejects.toThrow();
    });
  });
}
