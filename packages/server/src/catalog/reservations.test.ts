import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { roomData, type TestData } from '../platform/database/testing.ts';
import { type Database, outboxMigrations, queriesOf } from '../platform/index.ts';
import { linkBlob } from './blobs.ts';
import { createProject, ensureRepository, findProject } from './projects.ts';
import { setProjectLimits } from './quotas.ts';
import {
  dropReservation,
  keepReceived,
  lapseReservations,
  pruneReservations,
  RESERVED_MS,
  reserve,
  takeReservation,
} from './reservations.ts';
import { type CatalogTables, catalogMigrations } from './schema.ts';
import { repositoryScope } from './scopes.ts';
import { claimsOf, type Usage, usageOf } from './usage.ts';
import { checkUsage } from './usage-check.ts';

const digest = (at: number) => `sha256:${at.toString(16).padStart(64, '0')}`;
const want = (bytes: number, more: Partial<Usage> = {}): Usage => ({ bytes, repositories: 0, tags: 0, ...more });

describe('reservations (attack class F1)', () => {
  let store: TestData;
  let connections: Database[];
  let database: Database;
  let projectId: number;
  let now = 1_000_000;

  beforeEach(async () => {
    store = roomData([...catalogMigrations, ...outboxMigrations]);
    connections = [await store.open(), await store.open(), await store.open()];
    [database] = connections as [Database];
    await database.write((tx) => createProject(tx, { name: 'demo', public: false, by: 'x', now }));
    projectId = (await findProject(database, 'demo'))?.id ?? 0;
  });
  afterEach(() => store.remove());

  const limit = (bytes: number | null, more = {}) =>
    database.write((tx) => setProjectLimits(tx, projectId, { bytes, repositories: null, tags: null, ...more }));
  const ask = (on: Database, id: string, wanted: Usage, kept = 0, bytesMost = 0) =>
    reserve(on, { id, projectId, holder: 'one', kept, wanted, bytesMost }, now);
  const claims = () => database.write((tx) => claimsOf(tx, projectId, now));

  it('of any that meet, through any connections, never take more than the limit together, and each leaves what it was refused', async () => {
    let round = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 2, maxLength: 25 }), async (sizes) => {
        await limit(100);
        round++;
        const ends = await Promise.allSettled(
          sizes.map((size, at) => ask(connections[at % connections.length] ?? database, `${round}-${at}`, want(size))),
        );
        const got = ends.reduce((sum, end) => sum + (end.status === 'fulfilled' ? end.value : 0), 0);
        expect((await claims()).bytes).toBe(got);
        expect(got).toBeLessThanOrEqual(100);
        // Nobody was refused who would fit: the first of those refused alone at least left no room for itself.
        const smallest = Math.min(...sizes.filter((_, at) => ends[at]?.status === 'rejected'));
        if (ends.some(({ status }) => status === 'rejected')) expect(got + smallest + 40).toBeGreaterThan(100 - 40);
        for (const [at] of sizes.entries()) await database.write((tx) => dropReservation(tx, `${round}-${at}`));
        expect((await claims()).bytes).toBe(0);
      }),
      { numRuns: 15 },
    );
  });

  it('become what is used in one step: what both count together never leaves the limit', async () => {
    await limit(1000);
    const sums: number[] = [];
    let isOver = false;
    const watching = (async () => {
      while (!isOver) sums.push((await claims()).bytes);
    })();
    const push = async (at: number): Promise<number> => {
      const on = connections[at % connections.length] ?? database;
      const name = `demo/r${at % 7}`;
      try {
        await ask(on, `push-${at}`, want(40, { repositories: 1 }));
      } catch {
        return 0;
      }
      await on.write(
        async (tx) => {
          const room = await takeReservation(tx, `push-${at}`, now);
          const { id } = await ensureRepository(tx, name, 'x', now, { room });
          await linkBlob(tx, id, { digest: digest(at), size: 40 }, now, room);
        },
        { scope: [repositoryScope(name)] },
      );
      return 40;
    };
    const got = (await Promise.all(Array.from({ length: 50 }, (_, at) => push(at)))).reduce((sum, size) => sum + size, 0);
    isOver = true;
    await watching;
    expect((await usageOf(database, projectId)).bytes).toBe(got);
    expect(got).toBeLessThanOrEqual(1000);
    // Rows that were not looked at yet count for a moment; what is admitted never goes beyond.
    expect(Math.min(...sums)).toBeGreaterThanOrEqual(0);
    expect(await checkUsage(database, { repair: false })).toEqual({ projects: 1, drifts: [], busy: [] });
  });

  it('give less where less is enough, and keep what they had where more is refused', async () => {
    await limit(100);
    expect(await ask(database, 'a', want(60))).toBe(60);
    expect(await ask(database, 'b', want(10), 0, 80)).toBe(40);
    await expect(ask(database, 'b', want(41), 0, 80)).rejects.toMatchObject({
      code: 'quota_exceeded',
      detail: { quota: 'bytes', limit: 100, used: 60, wanted: 41 },
    });
    expect((await claims()).bytes).toBe(100);
    await expect(ask(database, 'c', want(1))).rejects.toThrow();
    expect(await ask(database, 'b', want(5), 30)).toBe(5); // what a session has received and has room for already
    expect((await claims()).bytes).toBe(95);
  });

  it('lapse with their process or in time, but for what a session has received', async () => {
    await limit(100);
    await ask(database, 'request', want(30));
    await ask(database, 'session', want(20), 10);
    await database.write((tx) => lapseReservations(tx, 'another'));
    expect((await claims()).bytes).toBe(60);
    await database.write((tx) => lapseReservations(tx, 'one'));
    expect((await claims()).bytes).toBe(10);
    await ask(database, 'session', want(20), 10);
    now += RESERVED_MS + 1;
    expect((await claims()).bytes).toBe(10);
    expect(await database.write((tx) => takeReservation(tx, 'session', now))).toEqual({ bytes: 10, repositories: 0, tags: 0 });
    await ask(database, 'ended', want(20));
    await database.write((tx) => keepReceived(tx, 'ended', 20));
    expect((await claims()).bytes).toBe(20);
    await database.write((tx) => pruneReservations(tx, now, 100)); // its session is no more
    expect((await claims()).bytes).toBe(0);
  });

  it('hold tags and repositories too, and a lowered limit takes nothing away', async () => {
    await limit(null, { tags: 2, repositories: 1 });
    await ask(database, 'a', want(5, { tags: 2, repositories: 1 }));
    await expect(ask(database, 'b', want(5, { tags: 1 }))).rejects.toMatchObject({
      detail: { quota: 'tags', limit: 2, used: 2, wanted: 1 },
    });
    await limit(1, { tags: 1 });
    await expect(ask(database, 'c', want(2))).rejects.toMatchObject({ detail: { quota: 'bytes' } });
    expect(await claims()).toEqual({ bytes: 5, repositories: 1, tags: 2 });
    await limit(null);
    expect(await ask(database, 'd', want(1e12))).toBe(1e12);
  });

  it('counts that went wrong are found and mended', async () => {
    const { id } = await database.write((tx) => ensureRepository(tx, 'demo/app', 'x', now));
    for (let at = 0; at < 5; at++) await database.write((tx) => linkBlob(tx, id, { digest: digest(at), size: 10 }, now));
    await database.write(async (tx) => {
      await tx.run(spoil, { projectId });
      await tx.run(lose, { digest: digest(1) });
      await tx.run(inflate, { digest: digest(2) });
      await tx.run(invent, { projectId, digest: digest(9) });
    });
    const check = await checkUsage(database, { repair: true });
    expect(check.drifts).toEqual([
      { project: 'demo', counted: { bytes: 57, repositories: 1, tags: 0 }, found: { bytes: 50, repositories: 1, tags: 0 }, blobs: 3 },
    ]);
    expect(await checkUsage(database, { repair: false })).toEqual({ projects: 1, drifts: [], busy: [] });
    expect(await usageOf(database, projectId)).toEqual({ bytes: 50, repositories: 1, tags: 0 });
  });
});

const query = queriesOf<CatalogTables>('reservations-test');
const spoil = query<{ projectId: number }>()('spoil', (db, p) =>
  db
    .updateTable('project_usage')
    .set((eb) => ({ bytes: eb('bytes', '+', 7) }))
    .where('project_id', '=', p('projectId')),
);
const lose = query<{ digest: string }>()('lose', (db, p) => db.deleteFrom('project_blob').where('digest', '=', p('digest')));
const inflate = query<{ digest: string }>()('inflate', (db, p) =>
  db
    .updateTable('project_blob')
    .set((eb) => ({ links: eb('links', '+', 1) }))
    .where('digest', '=', p('digest')),
);
const invent = query<{ projectId: number; digest: string }>()('invent', (db, p) =>
  db.insertInto('project_blob').values({ project_id: p('projectId'), digest: p('digest'), size: 99, links: 1 }),
);
