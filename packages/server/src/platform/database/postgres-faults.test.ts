import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Database, Migration } from './database.ts';
import { openPostgres } from './open-postgres.ts';
import { queriesOf } from './query.ts';
import { postgresData, type TestData } from './testing.ts';
import { allCounters, counterMigrations, counterValue, increment, insertCounter } from './testing-counters.ts';
import { newDatabase, sharedCluster } from './testing-postgres.ts';
import { Relay } from './testing-relay.ts';

describe('PostgreSQL that breaks', () => {
  let made: Awaited<ReturnType<typeof newDatabase>>;
  let relay: Relay;
  let database: Database;
  let plain: Database;
  const value = async (name: string) => (await plain.first(counterValue, { name }))?.value;

  beforeAll(async () => {
    const cluster = await sharedCluster();
    made = await newDatabase(cluster);
    relay = await new Relay(made.url).listen();
    plain = await openPostgres(made.url);
    await plain.migrate(counterMigrations);
    database = await openPostgres(relay.url(made.url));
    await plain.write((tx) => Promise.resolve(tx.run(insertCounter, { name: 'a', value: 0 })));
  });
  beforeEach(() => {
    relay.rule = () => 'pass';
    relay.cuts = 0;
  });
  afterAll(async () => {
    await database.close();
    await plain.close();
    relay.close();
    await made.drop();
  });

  /** Once, at the first piece that says so. */
  const once = (word: string, verdict: 'cut' | 'deafen') => {
    relay.rule = (piece) => (relay.cuts === 0 && piece.includes(word) ? verdict : 'pass');
  };

  it.each(['BEGIN', 'test.set', 'COMMIT'])('a change whose connection breaks before %s is done once, on another', async (word) => {
    const before = (await value('a')) ?? 0;
    once(word, 'cut');
    await increment(database, 'a', true);
    expect(relay.cuts).toBe(1);
    expect(await value('a')).toBe(before + 1);
  });

  it('a commit that happened, but whose answer is lost, is found out and not done twice', async () => {
    const before = (await value('a')) ?? 0;
    once('COMMIT', 'deafen');
    await increment(database, 'a', true);
    expect(relay.cuts).toBe(1);
    expect(await value('a')).toBe(before + 1);
  });

  it('a commit of which nobody can say what became of it is no success', async () => {
    const before = (await value('a')) ?? 0;
    // The connection that could tell breaks with it.
    relay.rule = (piece) => {
      if (piece.includes('COMMIT')) return relay.cuts === 0 ? 'deafen' : 'pass';
      return /clock_timestamp|xact_status/.test(piece) && relay.cuts > 0 ? 'cut' : 'pass';
    };
    const outcome = await increment(database, 'a', true).then(
      () => 'done',
      (error: unknown) => (error as { code?: string }).code,
    );
    relay.rule = () => 'pass';
    expect(outcome).toBe('unavailable');
    expect(await value('a')).toBe(before + 1);
    await expect
      .poll(
        () =>
          database.ping().then(
            () => true,
            () => false,
          ),
        { timeout: 5000 },
      )
      .toBe(true);
  });

  it('reads go on over a broken connection', async () => {
    once('test.all', 'cut');
    expect(await database.all(allCounters, {})).toHaveLength(1);
    expect(relay.cuts).toBe(1);
  });

  it('a database that is gone is told of at once as unavailable, with a time to come again', async () => {
    relay.rule = () => 'cut';
    const attempts = [async () => void (await database.all(allCounters, {})), () => increment(database, 'a', true), () => database.ping()];
    for (const attempt of attempts) {
      await expect(attempt()).rejects.toMatchObject({ code: 'unavailable', headers: { 'Retry-After': '1' } });
    }
    relay.rule = () => 'pass';
    await expect
      .poll(
        () =>
          database.ping().then(
            () => true,
            () => false,
          ),
        { timeout: 5000 },
      )
      .toBe(true);
  });

  it('a text that PostgreSQL cannot hold is the mistake of who sent it', async () => {
    const write = database.write((tx) => Promise.resolve(tx.run(insertCounter, { name: 'a\0b', value: 1 })));
    await expect(write).rejects.toMatchObject({ code: 'bad_request' });
  });
});

describe('changes on PostgreSQL', () => {
  let store: TestData;
  let databases: Database[];

  beforeEach(async () => {
    store = postgresData(counterMigrations);
    databases = [await store.open(), await store.open()];
    for (const name of ['a', 'b']) await databases[0]?.write((tx) => Promise.resolve(tx.run(insertCounter, { name, value: 0 })));
  });
  afterEach(() => store.remove());

  /** Runs a change in each of two processes and tells whether they were inside at the same time. */
  /** Whether two changes are under way at once: the first that comes looks for the other so many times. */
  async function meet(first: readonly string[] | undefined, second: readonly string[] | undefined, looks = 40): Promise<boolean> {
    let inside = 0;
    let met = false;
    const run = (database: Database | undefined, scope: readonly string[] | undefined) =>
      database?.write(
        async (tx) => {
          inside++;
          for (let look = 0; look < looks && !met; look++) {
            await tx.first(counterValue, { name: 'a' });
            met ||= inside > 1;
          }
          inside--;
        },
        scope === undefined ? {} : { scope },
      );
    await Promise.all([run(databases[0], first), run(databases[1], second)]);
    return met;
  }

  it('of different scopes run beside each other, of one scope or without any one after the other', async () => {
    const patient = 10_000;
    expect(await meet(['x'], ['y'], patient)).toBe(true);
    expect(await meet([], [], patient)).toBe(true);
    expect(await meet(['x', 'y'], ['y', 'z'])).toBe(false);
    expect(await meet(undefined, ['y'])).toBe(false);
    expect(await meet(undefined, undefined)).toBe(false);
  });

  it('of one scope lose nothing, in whatever order they name what they share', async () => {
    const count = (database: Database, names: readonly string[]) =>
      database.write(
        async (tx) => {
          for (const name of ['a', 'b']) {
            const before = (await tx.first(counterValue, { name }))?.value ?? 0;
            await tx.run(setCounter, { name, value: before + 1 });
          }
        },
        { scope: names },
      );
    await Promise.all(
      Array.from({ length: 60 }, (_, index) => {
        const database = databases[index % 2];
        return database && count(database, index % 3 === 0 ? ['counter:a', 'counter:b'] : ['counter:b', 'counter:a']);
      }),
    );
    expect(await databases[0]?.all(allCounters, {})).toEqual([
      { name: 'a', value: 60 },
      { name: 'b', value: 60 },
    ]);
  });

  it('in order: what is written last has one order over all scopes, and one that fails leaves no trace of it', async () => {
    const append = (database: Database, scope: string, fails: boolean) =>
      database.write(
        async (tx) => {
          await tx.inOrder(async () => {
            const { value = 0 } = (await tx.first(counterValue, { name: 'a' })) ?? {};
            await tx.run(setCounter, { name: 'a', value: value + 1 });
          });
          if (fails) throw new Error('changed its mind');
        },
        { scope: [scope] },
      );
    const results = await Promise.allSettled(
      Array.from({ length: 60 }, (_, index) => append(databases[index % 2] as Database, `s${index % 7}`, index % 5 === 0)),
    );
    expect(results.filter(({ status }) => status === 'rejected')).toHaveLength(12);
    expect((await databases[1]?.first(counterValue, { name: 'a' }))?.value).toBe(48);
  });
});

const query = queriesOf<{ counter: { name: string; value: number } }>('faults-test');
const setCounter = query<{ name: string; value: number }>()('set', (db, p) =>
  db
    .updateTable('counter')
    .set({ value: p('value') })
    .where('name', '=', p('name')),
);

describe('an instance of the version before', () => {
  const next: Migration = {
    name: 'test-next',
    up: ({ db }) => [db.schema.alterTable('counter').addColumn('note', 'text', (c) => c.notNull().defaultTo(''))],
  };

  it('goes on while a newer one migrates under it, and finds its own migrations in place', async () => {
    const store = postgresData(counterMigrations);
    try {
      const older = await store.open();
      await older.write((tx) => Promise.resolve(tx.run(insertCounter, { name: 'a', value: 0 })));
      expect(await older.all(allCounters, {})).toEqual([{ name: 'a', value: 0 }]); // prepared with the columns of before
      let isDone = false;
      const busy = (async () => {
        for (let count = 0; ; count++) {
          await increment(older, 'a', false);
          if (isDone) return count + 1;
        }
      })();
      const newer = [await store.open(), await store.open()];
      await Promise.all(newer.map((each) => each.migrate([...counterMigrations, next])));
      isDone = true;
      const counted = await busy;
      expect(await older.all(allCounters, {})).toMatchObject([{ name: 'a', value: counted }]);
      await older.migrate(counterMigrations);
      await increment(older, 'a', true);
      expect((await newer[0]?.first(counterValue, { name: 'a' }))?.value).toBe(counted + 1);
    } finally {
      await store.remove();
    }
  });
});
