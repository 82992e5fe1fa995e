import { digestOf } from '@entrepot/oci';
import { CompiledQuery } from 'kysely';
import { afterAll, describe, expect, it } from 'vitest';
import { roomData } from '../platform/database/testing.ts';
import { type Database, jobMigrations, type Migration, outboxMigrations, systemClock } from '../platform/index.ts';
import { findArtifact, listArtifacts } from './artifact-list.ts';
import { createProject, ensureRepository } from './projects.ts';
import { findRepositoryFacts, listRepositories } from './repository-list.ts';
import { catalogJobs, deleteRepository } from './repository-removal.ts';
import { catalogMigrations } from './schema.ts';
import { listTagFacts, listTagHistory } from './tag-list.ts';
import { setTag } from './tags.ts';

const plain = (...statements: string[]): Migration => ({
  name: `0001-rows-${statements.length}`,
  up: () => statements.map((sql) => ({ compile: () => CompiledQuery.raw(sql) })),
});
const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';

describe('a registry of before', () => {
  const before = catalogMigrations.filter(({ name }) => name < '0004');
  const store = roomData([
    ...before,
    plain(
      "INSERT INTO project (name, public, created_at, created_by) VALUES ('demo', 0, 1, 'x')",
      "INSERT INTO repository (project_id, name, created_at) VALUES (1, 'demo/app', 5), (1, 'demo/empty', 6)",
      "INSERT INTO repository_blob VALUES (1, 'sha256:c', 100, 5), (1, 'sha256:l', 1000, 5)",
      `INSERT INTO manifest (repository_id, digest, media_type, size, created_at, created_by) VALUES
        (1, 'sha256:m', '${IMAGE}', 10, 7, 'x'), (1, 'sha256:i', '${INDEX}', 3, 9, 'x')`,
      `INSERT INTO manifest_reference VALUES (1, 1, 'sha256:c', 'blob'), (1, 1, 'sha256:l', 'blob'), (2, 1, 'sha256:m', 'manifest')`,
    ),
    ...catalogMigrations.filter(({ name }) => name >= '0004'),
  ]);
  afterAll(() => store.remove());

  it('has sizes and times of its content after the change of its tables', async () => {
    const database = await store.open();
    expect((await findArtifact(database, 1, 'sha256:m'))?.size).toBe(1110);
    expect((await findArtifact(database, 1, 'sha256:i'))?.size).toBe(1113);
    expect(await findRepositoryFacts(database, 'demo/app')).toMatchObject({ createdAt: 5, updatedAt: 9, description: '' });
    expect(await findRepositoryFacts(database, 'demo/empty')).toMatchObject({ createdAt: 6, updatedAt: 6 });
  });
});

describe('long lists', () => {
  const store = roomData([...catalogMigrations, ...outboxMigrations, ...jobMigrations]);
  let database: Database;
  afterAll(() => store.remove());

  const TAGS = 120_000;
  const digest = digestOf(Buffer.from('x'));

  it('of which a filter shows few go on after pages that hold nothing', async () => {
    database = await store.open();
    await database.migrate([
      plain(
        "INSERT INTO project (name, public, created_at, created_by) VALUES ('long', 0, 1, 'x')",
        "INSERT INTO repository (project_id, name, created_at) VALUES (1, 'long/tags', 1)",
        'INSERT INTO repository_change VALUES (1, 1, 1)',
        `WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ${TAGS - 1})
          INSERT INTO tag SELECT 1, 'v' || substr(CAST(1000000 + i AS text), 2), '${digest}', i, 'x' FROM n`,
        `WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 24999)
          INSERT INTO manifest (repository_id, digest, media_type, size, artifact_type, created_at, created_by)
          SELECT 1, 'sha256:${'0'.repeat(59)}' || substr(CAST(100000 + i AS text), 2), '${IMAGE}', 1, CASE WHEN i % 12000 = 7 THEN 'rare' END, i, 'x' FROM n`,
      ),
    ]);
    for (const sort of ['name', 'updated'] as const) {
      for (const order of ['asc', 'desc'] as const) {
        const found: string[] = [];
        let pages = 0;
        let last: [string | number, string] | undefined;
        do {
          const page = await listTagFacts(database, { repositoryId: 1, sort, order, last, limit: 2, name: '00007' });
          found.push(...page.tags.map(({ name }) => name));
          last = page.next;
          pages++;
        } while (last);
        const expected = Array.from({ length: 10 }, (_, index) => `v00007${index}`)
          .concat('v000007', 'v100007')
          .sort();
        expect(found).toEqual(order === 'asc' ? expected : expected.reverse());
        expect(pages).toBeGreaterThan(6);
      }
    }
    const rare: number[] = [];
    for (let last: [number, number] | undefined, first = true; first || last; first = false) {
      const page = await listArtifacts(database, { repositoryId: 1, sort: 'pushed', order: 'asc', last, limit: 5, artifactType: 'rare' });
      rare.push(...page.artifacts.map(({ pushedAt }) => pushedAt));
      last = page.next;
    }
    expect(rare).toEqual([7, 12_007, 24_007]);
  });

  it('of a deleted repository are cleared away in steps that another run may repeat', async () => {
    await database.write(async (tx) => {
      await createProject(tx, { name: 'other', public: false, by: 'x', now: 1 });
      const { id } = await ensureRepository(tx, 'other/kept', 'x', 1);
      await setTag(tx, { repositoryId: id, name: 'kept', digest, now: 2, by: 'x' });
      await deleteRepository(tx, { id: 1 }, 'x', 3);
    });
    const seen = await listRepositories(database, {
      projectId: 1,
      sort: 'name',
      order: 'asc',
      last: undefined,
      limit: 9,
      includes: () => true,
    });
    expect(seen.repositories).toEqual([]);
    const [purge] = catalogJobs({ database, clock: systemClock });
    const stopped = new AbortController();
    const context = (signal: AbortSignal) => ({ signal, attempt: 1, hold: async () => {}, progress: async () => {} });
    await expect(
      purge?.run({ repositoryId: 1 }, { ...context(stopped.signal), progress: async () => stopped.abort(new Error('stopped')) }),
    ).rejects.toThrow('stopped');
    const alive = context(new AbortController().signal);
    expect(await purge?.run({ repositoryId: 1 }, alive)).toEqual({ rows: TAGS + 25_000 - 500 });
    expect(await purge?.run({ repositoryId: 1 }, alive)).toEqual({ rows: 0 });
    expect((await listTagFacts(database, { repositoryId: 1, sort: 'name', order: 'asc', last: undefined, limit: 9 })).tags).toEqual([]);
    const kept = await findRepositoryFacts(database, 'other/kept');
    expect(
      await listTagHistory(database, { repositoryId: kept?.id ?? 0, name: 'kept', order: 'asc', last: undefined, limit: 9 }),
    ).toHaveLength(1);
    // What is not hidden is not touched, whatever a job says.
    expect(await purge?.run({ repositoryId: kept?.id ?? 0 }, alive)).toEqual({ rows: 0 });
    expect(await findRepositoryFacts(database, 'other/kept')).toBeDefined();
  });
});
