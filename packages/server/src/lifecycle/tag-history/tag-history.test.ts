import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { catalogMigrations, createProject, deleteTag, ensureRepository, findTag, setTag } from '../../catalog/index.ts';
import { roomData } from '../../platform/database/testing.ts';
import {
  AppError,
  createJobRunner,
  createLog,
  type Database,
  jobMigrations,
  loadConfig,
  outboxMigrations,
  queriesOf,
} from '../../platform/index.ts';
import { tagHistoryJobs } from './jobs.ts';

const query = queriesOf<{ tag_history: { id: number; repository_id: number; name: string; digest: string | null; changed_at: number } }>(
  'test',
);
const history = query<{ repositoryId: number }>()('history', (db, p) =>
  db.selectFrom('tag_history').select(['name', 'digest', 'changed_at as at']).where('repository_id', '=', p('repositoryId')).orderBy('id'),
);

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
let store: ReturnType<typeof roomData>;
let database: Database;
let now: number;

beforeEach(async () => {
  now = 1_800_000_000_000;
  store = roomData([...catalogMigrations, ...outboxMigrations, ...jobMigrations]);
  database = await store.open();
});
afterEach(() => store.remove());

const digest = (letter: string) => `sha256:${letter.repeat(64)}`;
const by = 'ann';

function runner(changes: number, days: number) {
  const config = { ...loadConfig({ env: {} }), tagHistoryChanges: changes, tagHistoryDays: days };
  const clock = { now: () => now };
  const jobs = createJobRunner({
    ...{ database, clock, log: createLog('silent'), holder: 'test' },
    definitions: tagHistoryJobs({ database, clock, config }),
  });
  return async () => {
    await jobs.runDue();
    now += 2 * HOUR_MS;
    await jobs.runDue();
  };
}

async function repository(name: string): Promise<number> {
  return await database.write(async (tx) => {
    await createProject(tx, { name: 'demo', public: false, by, now });
    return (await ensureRepository(tx, `demo/${name}`, by, now)).id;
  });
}

test('a tag that moves all the time keeps its latest changes, more than one batch of others goes', async () => {
  const repositoryId = await repository('app');
  await database.write(async (tx) => {
    for (let at = 0; at < 700; at++) await setTag(tx, { repositoryId, name: 'latest', digest: digest('ab'[at % 2] ?? ''), by, now });
    await setTag(tx, { repositoryId, name: 'v1', digest: digest('a'), by, now });
  });
  await runner(10, 365)();
  const left = await database.all(history, { repositoryId });
  expect(left.filter(({ name }) => name === 'latest')).toHaveLength(10);
  expect(left.filter(({ name }) => name === 'v1')).toHaveLength(1);
});

const step = fc.oneof(
  fc.record({ do: fc.constant('set' as const), name: fc.constantFrom('x', 'y', 'z'), to: fc.constantFrom('a', 'b', 'c') }),
  fc.record({ do: fc.constant('delete' as const), name: fc.constantFrom('x', 'y', 'z') }),
  fc.record({ do: fc.constant('wait' as const), days: fc.integer({ min: 1, max: 20 }) }),
  fc.record({ do: fc.constant('prune' as const) }),
);

test('history is bounded in number and age, and its newest entry is what the tag is', async () => {
  let round = 0;
  const prune = runner(4, 30);
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const repositoryId = await repository(`app${++round}`);
      for (const change of steps) {
        if (change.do === 'wait') now += change.days * DAY_MS;
        else if (change.do === 'prune') await prune();
        else {
          const { name } = change;
          const made = database.write((tx) =>
            change.do === 'set'
              ? setTag(tx, { repositoryId, name, digest: digest(change.to), by, now })
              : deleteTag(tx, { repositoryId, name, by, now }),
          );
          await made.catch((error: unknown) => {
            if (!(error instanceof AppError)) throw error;
          });
        }
      }
      const before = await database.all(history, { repositoryId });
      await prune();
      const left = await database.all(history, { repositoryId });
      for (const name of ['x', 'y', 'z']) {
        const entries = left.filter((entry) => entry.name === name);
        const current = await findTag(database, repositoryId, name);
        expect(entries.length).toBeLessThanOrEqual(4);
        if (current !== undefined) expect(entries.at(-1)?.digest).toBe(current);
        else expect(entries.at(-1)?.digest ?? null).toBeNull();
        const isCurrent = (at: number) => current !== undefined && at === entries.length - 1;
        for (const [at, entry] of entries.entries()) if (!isCurrent(at)) expect(entry.at).toBeGreaterThan(now - 31 * DAY_MS);
        // Nothing young goes, but by number.
        const young = before.filter((entry) => entry.name === name && entry.at > now - 29 * DAY_MS);
        expect(entries.length).toBeGreaterThanOrEqual(Math.min(4, young.length));
      }
    }),
    { numRuns: 40 },
  );
});
