import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Database } from '../database/index.ts';
import type { TestData, TestDatabase } from '../database/testing.ts';
import { cancelJob, enqueue, findJob, freeJobs, type JobDefinition, jobCounts, pruneJobs } from './jobs.ts';
import { createJobRunner, type JobOutcome, type JobRunner } from './runner.ts';
import { jobMigrations } from './store.ts';

const HOUR = 3_600_000;

/** What every database must give the jobs. */
export function jobContract(name: string, data: TestDatabase): void {
  describe(`jobs on ${name}`, () => {
    let store: TestData;
    let database: Database;
    let now: number;
    const runners: JobRunner[] = [];
    const outcomes: JobOutcome[] = [];

    beforeEach(async () => {
      now = Date.UTC(2026, 0, 1);
      store = data(jobMigrations);
      database = await store.open();
      outcomes.length = 0;
    });
    afterEach(async () => {
      await Promise.all(runners.splice(0).map((runner) => runner.stop(100)));
      await store.remove();
    });

    function runner(definitions: JobDefinition[], on: Database = database, holder = 'one'): JobRunner {
      const made = createJobRunner({
        database: on,
        clock: { now: () => now },
        log: pino({ level: 'silent' }),
        definitions,
        holder,
        pollMs: 5,
        random: () => 1,
        onOutcome: (_, outcome) => outcomes.push(outcome),
      });
      runners.push(made);
      return made;
    }

    const add = (payload: unknown, more: { key?: string; runAt?: number } = {}) =>
      database.write((tx) => enqueue(tx, { kind: 'work', payload, now, ...more }));

    it('runs a job once, in order, and keeps its result for a day', async () => {
      const seen: unknown[] = [];
      const work = runner([{ kind: 'work', run: async (payload) => ({ sum: seen.push(payload) }) }]);
      const id = await add({ a: 1 });
      await add({ a: 2 });
      expect(await work.runDue()).toBe(2);
      expect(await work.runDue()).toBe(0);
      expect(seen).toEqual([{ a: 1 }, { a: 2 }]);
      expect(await findJob(database, id)).toMatchObject({ kind: 'work', state: 'done', attempts: 1, result: { sum: 1 }, error: null });
      now += 25 * HOUR;
      await pruneJobs(database, now, new AbortController().signal);
      expect(await findJob(database, id)).toBeUndefined();
    });

    it('exists only where the change that wants it does', async () => {
      const refused = database.write(async (tx) => {
        await enqueue(tx, { kind: 'work', now });
        throw new Error('the change failed');
      });
      await expect(refused).rejects.toThrow('the change failed');
      expect(await runner([{ kind: 'work', run: async () => undefined }]).runDue()).toBe(0);
    });

    it('waits for its time', async () => {
      const work = runner([{ kind: 'work', run: async () => undefined }]);
      await add(null, { runAt: now + HOUR });
      expect(await work.runDue()).toBe(0);
      now += HOUR;
      expect(await work.runDue()).toBe(1);
    });

    it('tries again after growing pauses and is set aside after so many tries', async () => {
      let tries = 0;
      const run = async () => {
        tries++;
        throw new Error(`try ${tries} failed`);
      };
      const work = runner([{ kind: 'work', maxAttempts: 3, run }]);
      const id = await add(null);
      const dueAfter: number[] = [];
      for (const pause of [0, 1000, 2000]) {
        now += pause - 1;
        if (pause > 0) expect(await work.runDue()).toBe(0);
        now += 1;
        dueAfter.push(await work.runDue());
      }
      expect(dueAfter).toEqual([1, 1, 1]);
      expect(outcomes).toEqual(['retry', 'retry', 'dead']);
      now += 1000 * HOUR;
      expect(await work.runDue()).toBe(0);
      expect(await findJob(database, id)).toMatchObject({ state: 'dead', attempts: 3, error: 'Error: try 3 failed' });
      expect(await jobCounts(database)).toEqual([{ state: 'dead', jobs: 1 }]);
    });

    it('passes to another process when its lease lapses, and the first can change nothing more', async () => {
      let fenced: unknown;
      let begun = () => {};
      const hasBegun = new Promise<void>((resolve) => (begun = resolve));
      let goOn = () => {};
      const mayGoOn = new Promise<void>((resolve) => (goOn = resolve));
      const slow = runner([
        {
          kind: 'work',
          leaseMs: 60_000,
          run: async (_, { hold }) => {
            begun();
            await mayGoOn;
            fenced = await database.write(hold).catch((error: unknown) => error);
            return 'of the first';
          },
        },
      ]);
      const id = await add(null);
      const first = slow.runDue();
      await hasBegun;
      const other = runner([{ kind: 'work', run: async () => 'of the second' }], await store.open(), 'two');
      expect(await other.runDue()).toBe(0);
      now += 60_001;
      expect(await other.runDue()).toBe(1);
      goOn();
      await first;
      expect(String(fenced)).toContain('lease');
      expect(outcomes).toEqual(['done', 'lost']);
      expect(await findJob(database, id)).toMatchObject({ state: 'done', attempts: 2, result: 'of the second' });
    });

    it('is free at once when the process that ran it is known to have ended', async () => {
      const begun = new Promise<void>((resolve) => {
        const hangs = runner([{ kind: 'work', run: () => new Promise(() => resolve()) }], database, 'crashed');
        void add(null).then(() => hangs.runDue());
      });
      await begun;
      const other = runner([{ kind: 'work', run: async () => undefined }], database, 'two');
      await database.write((tx) => freeJobs(tx, 'somebody else', now));
      expect(await other.runDue()).toBe(0);
      await database.write((tx) => freeJobs(tx, 'crashed', now));
      expect(await other.runDue()).toBe(1);
    });

    it('is set aside when it takes its process down each time', async () => {
      await add(null);
      for (let crash = 0; crash < 2; crash++) {
        await new Promise<void>((resolve) => {
          void runner([{ kind: 'work', maxAttempts: 2, run: () => new Promise(() => resolve()) }], database, 'crashed').runDue();
        });
        await database.write((tx) => freeJobs(tx, undefined, now));
      }
      let ran = false;
      const work = runner([{ kind: 'work', maxAttempts: 2, run: async () => (ran = true) }]);
      await work.runDue();
      expect(ran).toBe(false);
      expect(outcomes).toEqual(['dead']);
    });

    it('is asked for once under a key, and runs once more where it was asked for while it ran', async () => {
      const seen: unknown[] = [];
      const first = await add(1, { key: 'a', runAt: now + HOUR });
      const second = await add(2, { key: 'a' });
      expect(second).toBe(first);
      const run = async (payload: unknown) => {
        seen.push(payload);
        if (seen.length === 1) await add(3, { key: 'a' });
      };
      expect(await runner([{ kind: 'work', run }]).runDue()).toBe(2);
      expect(seen).toEqual([2, 3]);
      await add(4, { key: 'a' });
      expect(await runner([{ kind: 'work', run }]).runDue()).toBe(1);
    });

    it('recurs, one run at a time over all processes', async () => {
      let running = 0;
      let most = 0;
      let runs = 0;
      const run = async () => {
        most = Math.max(most, ++running);
        runs++;
        await new Promise((resolve) => setTimeout(resolve, 5));
        running--;
      };
      const definition: JobDefinition = { kind: 'sweep', schedule: { everyMs: HOUR }, run };
      const all = [
        runner([definition]),
        runner([definition], await store.open(), 'two'),
        runner([definition], await store.open(), 'three'),
      ];
      await Promise.all(all.map((each) => each.runDue()));
      expect(runs).toBe(1);
      now += HOUR;
      await Promise.all(all.map((each) => each.runDue()));
      expect({ runs, most }).toEqual({ runs: 2, most: 1 });
    });

    it('recurs at the times of a cron expression, also after it failed for good', async () => {
      const times: string[] = [];
      const run = async () => {
        times.push(new Date(now).toISOString());
        throw new Error('fails always');
      };
      const work = runner([{ kind: 'nightly', schedule: { cron: '30 2 * * *' }, maxAttempts: 1, run }]);
      for (let hour = 0; hour < 72; hour++) {
        await work.runDue();
        now += HOUR / 2;
      }
      expect(times).toEqual(['2026-01-01T02:30:00.000Z', '2026-01-02T02:30:00.000Z']);
      await expect(runner([{ kind: 'odd', schedule: { cron: 'every night' }, run }]).start()).rejects.toThrow();
    });

    it('is cancelled: at once where it waits, by its signal where it runs', async () => {
      let begun = () => {};
      const hasBegun = new Promise<void>((resolve) => (begun = resolve));
      const work = runner([
        {
          kind: 'work',
          run: (_, { signal }) =>
            new Promise((_resolve, reject) => {
              signal.addEventListener('abort', () => reject(signal.reason));
              begun();
            }),
        },
      ]);
      const [runs, waits] = [await add(1), await add(2)];
      expect(await database.write((tx) => cancelJob(tx, waits, now))).toBe(true);
      await work.start();
      await hasBegun;
      expect(await database.write((tx) => cancelJob(tx, runs, now))).toBe(true);
      await expect.poll(async () => (await findJob(database, runs))?.state).toBe('cancelled');
      expect(await findJob(database, waits)).toMatchObject({ state: 'cancelled', attempts: 0 });
      expect(await database.write((tx) => cancelJob(tx, runs, now))).toBe(false);
    });

    it('shows its progress', async () => {
      let seen: unknown;
      const run = async (_: unknown, { progress }: { progress(value: unknown): Promise<void> }) => {
        await progress({ done: 1, of: 2 });
        seen = (await findJob(database, id))?.progress;
      };
      const id = await add(null);
      await runner([{ kind: 'work', run }]).runDue();
      expect(seen).toEqual({ done: 1, of: 2 });
    });

    it('is handed back uncounted when the process stops', async () => {
      let begun = () => {};
      const hasBegun = new Promise<void>((resolve) => (begun = resolve));
      const id = await add(null);
      const work = runner([
        {
          kind: 'work',
          run: (_, { signal }) =>
            new Promise((_resolve, reject) => {
              signal.addEventListener('abort', () => reject(signal.reason));
              begun();
            }),
        },
      ]);
      await work.start();
      await hasBegun;
      await work.stop();
      expect(outcomes).toEqual(['released']);
      expect(await findJob(database, id)).toMatchObject({ state: 'waiting', attempts: 0 });
      expect(await runner([{ kind: 'work', run: async () => undefined }]).runDue()).toBe(1);
    });
  });
}
