import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { roomData, type TestData } from '../platform/database/testing.ts';
import { auditMigrations, type Database, jobMigrations, outboxMigrations, queriesOf } from '../platform/index.ts';
import { createProject, ensureRepository, findProject } from './projects.ts';
import { createPullNotes, type PullListeners } from './pulls.ts';
import { catalogMigrations } from './schema.ts';

const query = queriesOf<{ outbox_event: { id: number; topic: string; repository: string; payload: string } }>('test');
const events = query()('pullEvents', (db) =>
  db.selectFrom('outbox_event').select(['repository', 'payload']).where('topic', '=', 'manifest.pulled').orderBy('id'),
);
const DIGEST = `sha256:${'a'.repeat(64)}`;

describe('pulls', () => {
  const clock = { now: () => 1000 };
  let store: TestData;
  let database: Database;
  let ids: Record<'demo' | 'other', number>;

  beforeEach(async () => {
    store = roomData([...catalogMigrations, ...jobMigrations, ...outboxMigrations, ...auditMigrations]);
    database = await store.open();
    ids = await database.write(async (tx) => {
      for (const name of ['demo', 'other']) await createProject(tx, { name, public: false, by: 'ann', now: 1 });
      return { demo: (await ensureRepository(tx, 'demo/app', 'ann', 1)).id, other: (await ensureRepository(tx, 'other/app', 'ann', 1)).id };
    });
  });
  afterEach(() => store.remove());

  const told = async () =>
    (await database.all(events, {})).map(({ repository, payload }) => [repository, JSON.parse(payload) as Record<string, unknown>]);
  const pull = (of: 'demo' | 'other', by: string, tag = 'v1') => {
    return { repositoryId: ids[of], digest: DIGEST, tag: tag === '' ? undefined : tag, client: by, by };
  };

  it('are told together where somebody listens, of his project only', async () => {
    const project = (await findProject(database, 'demo'))?.id ?? 0;
    const notes = createPullNotes({ database, clock, listeners: () => Promise.resolve(new Set([project])) });
    for (const by of ['ann', 'ann', 'bob']) notes.pulled(pull('demo', by));
    notes.pulled(pull('demo', 'ann', ''));
    notes.pulled(pull('other', 'ann'));
    await notes.flush();
    expect(await told()).toEqual([
      ['demo/app', { digest: DIGEST, tags: ['v1'], pulls: 2, by: 'ann' }],
      ['demo/app', { digest: DIGEST, tags: ['v1'], pulls: 1, by: 'bob' }],
      ['demo/app', { digest: DIGEST, tags: [], pulls: 1, by: 'ann' }],
    ]);
    await notes.flush(); // once
    expect(await told()).toHaveLength(3);
  });

  it('are told to nobody where nobody listens, and who listens is asked once for all that are written', async () => {
    let asked = 0;
    const listeners: PullListeners = () => {
      asked++;
      return Promise.resolve(new Set());
    };
    const notes = createPullNotes({ database, clock, listeners });
    for (let at = 0; at < 50; at++) notes.pulled(pull('demo', `robot-${at}`));
    expect(asked).toBe(0);
    await notes.flush();
    expect(asked).toBe(1);
    expect(await told()).toEqual([]);
  });

  it('are told in bounded numbers, and counted all', async () => {
    const notes = createPullNotes({ database, clock, listeners: () => Promise.resolve('all') });
    for (let at = 0; at < 1100; at++) notes.pulled(pull('demo', `robot-${at}`));
    await notes.flush();
    expect(await told()).toHaveLength(1000);
    const counted = queriesOf<{ tag_pull: { pulls: number } }>('test')()('counted', (db) => db.selectFrom('tag_pull').select('pulls'));
    expect(await database.all(counted, {})).toEqual([{ pulls: 1100 }]);
  });

  it('are counted though listeners cannot be asked', async () => {
    const notes = createPullNotes({ database, clock, listeners: () => Promise.reject(new Error('out of order')) });
    notes.pulled(pull('demo', 'ann'));
    await notes.flush();
    const counted = queriesOf<{ tag_pull: { pulls: number } }>('test')()('counted2', (db) => db.selectFrom('tag_pull').select('pulls'));
    expect(await database.all(counted, {})).toEqual([{ pulls: 1 }]);
  });
});
