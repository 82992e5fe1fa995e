import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Database } from './database/index.ts';
import type { TestData, TestDatabase } from './database/testing.ts';
import { createJobRunner, type JobRunner, jobMigrations } from './jobs/index.ts';
import { append, type OutboxConsumer, outboxBacklog, outboxDelivery, outboxMigrations, pruneOutbox } from './outbox.ts';

const DAY = 24 * 3_600_000;
const signal = new AbortController().signal;

/** What every database must give the outbox. */
export function outboxContract(name: string, data: TestDatabase): void {
  describe(`outbox on ${name}`, () => {
    let store: TestData;
    let database: Database;
    let now: number;
    let clock: { now(): number };

    beforeEach(async () => {
      now = Date.UTC(2026, 0, 1);
      clock = { now: () => now };
      store = data([...jobMigrations, ...outboxMigrations]);
      database = await store.open();
    });
    afterEach(() => store.remove());

    const happen = (topic: string, repository: string, payload: unknown = null) =>
      database.write((tx) => append(tx, { topic, repository, payload }, now));
    const deliverer = (consumer: OutboxConsumer, on = database, holder = 'one'): JobRunner =>
      createJobRunner({
        database: on,
        clock,
        log: pino({ level: 'silent' }),
        definitions: [outboxDelivery(on, clock, consumer)],
        holder,
        random: () => 1,
      });

    it('tells of a change if and only if it was made', async () => {
      const seen: unknown[] = [];
      const consumer: OutboxConsumer = { name: 'c', handle: async (event) => void seen.push(event) };
      const refused = database.write(async (tx) => {
        await append(tx, { topic: 't', repository: 'a/b', payload: 'never' }, now);
        throw new Error('refused');
      });
      await expect(refused).rejects.toThrow('refused');
      await happen('t', 'a/b', { digest: 'd' });
      await deliverer(consumer).runDue();
      expect(seen).toEqual([{ id: expect.any(Number), topic: 't', repository: 'a/b', payload: { digest: 'd' }, at: now }]);
    });

    it('delivers in order, each topic to those who asked for it, from where each left off', async () => {
      const all: string[] = [];
      const some: string[] = [];
      const everything = deliverer({ name: 'all', handle: async ({ topic, repository }) => void all.push(`${topic} ${repository}`) });
      const tags = deliverer({ name: 'tags', topics: ['tag'], handle: async ({ repository }) => void some.push(repository) });
      for (let i = 0; i < 250; i++) await happen(i % 2 ? 'tag' : 'manifest', `r${i}`);
      await everything.runDue();
      await happen('tag', 'last');
      expect(await outboxBacklog(database)).toBe(1);
      await everything.runDue();
      await tags.runDue();
      const numbers = [...Array(250).keys()];
      expect(all).toEqual([...numbers.map((i) => `${i % 2 ? 'tag' : 'manifest'} r${i}`), 'tag last']);
      expect(some).toEqual([...numbers.filter((i) => i % 2).map((i) => `r${i}`), 'last']);
      expect(await outboxBacklog(database)).toBe(0);
      expect(await everything.runDue()).toBe(0);
    });

    it('delivers again what failed, and nothing later before it', async () => {
      const seen: number[] = [];
      let broken = true;
      const consumer: OutboxConsumer = {
        name: 'c',
        handle: async ({ payload }) => {
          if (payload === 2 && broken) throw new Error('the other side is down');
          seen.push(payload as number);
        },
      };
      const work = deliverer(consumer);
      for (const i of [1, 2, 3]) await happen('t', 'a', i);
      for (let attempt = 0; attempt < 20; attempt++) {
        await work.runDue();
        now += 15 * 60_000;
      }
      expect(seen).toEqual([1]);
      broken = false;
      await work.runDue();
      expect(seen).toEqual([1, 2, 3]);
    });

    it('is delivered by one process at a time, and by the next where the first ends in the middle', async () => {
      const seen: [string, unknown][] = [];
      let begun = () => {};
      const hasBegun = new Promise<void>((resolve) => (begun = resolve));
      const consumer = (process: string, hangsAt?: number): OutboxConsumer => ({
        name: 'c',
        handle: async ({ payload }) => {
          if (payload === hangsAt) {
            begun();
            await new Promise(() => undefined);
          }
          seen.push([process, payload]);
        },
      });
      for (const i of [1, 2, 3]) await happen('t', 'a', i);
      void deliverer(consumer('first', 2), database, 'first').runDue();
      await hasBegun;
      const second = deliverer(consumer('second'), await store.open(), 'second');
      expect(await second.runDue()).toBe(0);
      now += 60_001;
      await second.runDue();
      // Where the first ended is not known, so what it had done comes again: at least once.
      expect(seen).toEqual([
        ['first', 1],
        ['second', 1],
        ['second', 2],
        ['second', 3],
      ]);
    });

    it('forgets what all have seen, and after a time what nobody heard or who is gone', async () => {
      const seen: unknown[] = [];
      const consumer: OutboxConsumer = { name: 'c', handle: async ({ payload }) => void seen.push(payload) };
      await happen('t', 'a', 'before anybody listened');
      now += 6 * DAY;
      await pruneOutbox(database, [], now, signal);
      await deliverer(consumer).runDue();
      expect(seen).toEqual(['before anybody listened']);

      await happen('t', 'a', 'unseen');
      await pruneOutbox(database, ['c'], now, signal);
      now += 29 * DAY;
      await pruneOutbox(database, ['c'], now, signal);
      await deliverer(consumer).runDue();
      expect(seen).toEqual(['before anybody listened', 'unseen']);

      // Seen by all: a newcomer hears nothing of it.
      await pruneOutbox(database, ['c'], now, signal);
      const late: unknown[] = [];
      await deliverer({ name: 'late', handle: async ({ payload }) => void late.push(payload) }).runDue();
      expect(late).toEqual([]);

      // A consumer that no version knows any more holds nothing up for ever, and nothing is kept beyond 30 days.
      for (let i = 0; i < 1200; i++)
        await database.write((tx) => append(tx, { topic: 't', repository: 'a', payload: i }, now), { durable: false });
      now += 31 * DAY;
      await pruneOutbox(database, [], now, signal);
      const last: unknown[] = [];
      await deliverer({ name: 'last', handle: async ({ payload }) => void last.push(payload) }).runDue();
      expect(last).toEqual([]);
    });
  });
}
