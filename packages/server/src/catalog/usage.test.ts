import fc from 'fast-check';
import { sql } from 'kysely';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { roomData, type TestData } from '../platform/database/testing.ts';
import {
  createJobRunner,
  createLog,
  type Database,
  jobMigrations,
  outboxMigrations,
  queriesOf,
  type Session,
  systemClock,
} from '../platform/index.ts';
import { linkBlob, unlinkBlob } from './blobs.ts';
import { deleteManifest, putManifest } from './manifests.ts';
import { createProject, ensureRepository, findProject, findRepository } from './projects.ts';
import { catalogJobs, deleteRepository } from './repository-removal.ts';
import { type CatalogTables, catalogMigrations } from './schema.ts';
import { deleteTag, setTag } from './tags.ts';
import { expiredTrash, purgeItem } from './trash-purge.ts';
import { usageOf } from './usage.ts';

const query = queriesOf<CatalogTables>('usage-test');
/** What is there, by another way than the counting goes. */
const recomputed = query<{ projectId: number }>()('recomputed', (db, p) =>
  db
    .selectFrom('project')
    .select([
      sql<number>`coalesce((select sum(size) from (select distinct blob.digest, blob.size from repository_blob as blob
        join repository on repository.id = blob.repository_id where repository.project_id = project.id)), 0)
        + coalesce((select sum(manifest.size) from manifest join repository on repository.id = manifest.repository_id
        where repository.project_id = project.id), 0)
        + coalesce((select sum(kept.size) from trash_manifest as kept join repository on repository.id = kept.repository_id
        where repository.project_id = project.id), 0)`.as('bytes'),
      sql<number>`(select count(*) from repository where project_id = project.id and deleted_at is null)`.as('repositories'),
      sql<number>`(select count(*) from tag join repository on repository.id = tag.repository_id where project_id = project.id)`.as('tags'),
    ])
    .where('id', '=', p('projectId')),
);

let store: TestData;
let database: Database;

beforeEach(async () => {
  store = roomData([...catalogMigrations, ...jobMigrations, ...outboxMigrations]);
  database = await store.open();
});
afterEach(() => store.remove());

const digest = (letter: string) => `sha256:${letter.repeat(64)}`;
const LETTERS = ['a', 'b', 'c', 'd'];
const NAMES = ['one', 'two', 'three'];
const name = fc.constantFrom(...NAMES);
const letter = fc.constantFrom(...LETTERS);
const step = fc.oneof(
  fc.record({ what: fc.constant('link' as const), name, letter }),
  fc.record({ what: fc.constant('unlink' as const), name, letter }),
  fc.record({ what: fc.constant('put' as const), name, letter, tag: letter }),
  fc.record({ what: fc.constant('delete' as const), name, letter }),
  fc.record({ what: fc.constant('tag' as const), name, letter, tag: letter }),
  fc.record({ what: fc.constant('untag' as const), name, letter }),
  fc.record({ what: fc.constant('drop' as const), name }),
  fc.record({ what: fc.constant('empty' as const), name }),
);

async function emptyTrash(tx: Session, projectId: number): Promise<void> {
  for (const item of await expiredTrash(tx, { projectId, before: 1, after: 0, limit: 1000 })) await purgeItem(tx, item, 1);
}

it('counts what is there after any changes, refused ones among them (invariant I4)', async () => {
  const jobs = createJobRunner({
    ...{ database, clock: systemClock, log: createLog('silent'), holder: 'test' },
    definitions: catalogJobs({ database, clock: systemClock }),
  });
  let round = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const project = `p${++round}`;
      await database.write((tx) => createProject(tx, { name: project, public: false, by: 'x', now: 1 }));
      const projectId = (await findProject(database, project))?.id ?? 0;
      for (const change of steps) {
        await database
          .write(async (tx) => {
            const { id } = await ensureRepository(tx, `${project}/${change.name}`, 'x', 1);
            const key = { repositoryId: id, by: 'x', now: 1 };
            switch (change.what) {
              case 'link':
                return await linkBlob(tx, id, { digest: digest(change.letter), size: 100 + change.letter.charCodeAt(0) }, 1);
              case 'unlink':
                return await unlinkBlob(tx, id, digest(change.letter), 1);
              case 'put': {
                const parts = { kind: 'image' as const, mediaType: 'application/vnd.oci.image.manifest.v1+json', children: [] };
                const blobs = [{ digest: digest(change.letter), mediaType: 'x/y', size: 100 + change.letter.charCodeAt(0) }];
                const manifest = { ...parts, blobs, artifactType: undefined, annotations: undefined, subject: undefined };
                const bytes = Buffer.from(`manifest ${change.letter}`);
                const sparse = { children: false, blobs: false };
                await putManifest(tx, { ...key, digest: digest(`${change.letter}`), bytes, manifest, tags: [change.tag], sparse });
                return;
              }
              case 'delete':
                await deleteManifest(tx, id, digest(change.letter), 'x', 1);
                return;
              case 'tag':
                return await setTag(tx, { ...key, name: change.tag, digest: digest(change.letter) });
              case 'untag':
                return await deleteTag(tx, { ...key, name: change.letter });
              case 'empty':
                return await emptyTrash(tx, projectId);
              case 'drop':
                return await deleteRepository(tx, { id }, 'x', 1);
            }
          })
          .catch(() => undefined);
      }
      const counted = await usageOf(database, projectId);
      await jobs.runDue();
      expect(await usageOf(database, projectId)).toEqual(await database.first(recomputed, { projectId }));
      expect(counted.repositories).toBe((await usageOf(database, projectId)).repositories);
    }),
    { numRuns: 60 },
  );
});

it('a project without repositories holds nothing, whatever it held', async () => {
  await database.write(async (tx) => {
    await createProject(tx, { name: 'demo', public: false, by: 'x', now: 1 });
    for (const repository of ['demo/a', 'demo/b']) {
      const { id } = await ensureRepository(tx, repository, 'x', 1);
      for (const each of LETTERS) await linkBlob(tx, id, { digest: digest(each), size: 10 }, 1);
    }
  });
  const projectId = (await findProject(database, 'demo'))?.id ?? 0;
  expect(await usageOf(database, projectId)).toEqual({ bytes: 40, repositories: 2, tags: 0 });
  await database.write(async (tx) => {
    for (const repository of ['demo/a', 'demo/b']) {
      const found = await findRepository(tx, repository);
      if (found) await deleteRepository(tx, found, 'x', 1);
    }
    await emptyTrash(tx, projectId);
  });
  const log = createLog('silent');
  await createJobRunner({
    database,
    clock: systemClock,
    log,
    holder: 'test',
    definitions: catalogJobs({ database, clock: systemClock }),
  }).runDue();
  expect(await usageOf(database, projectId)).toEqual({ bytes: 0, repositories: 0, tags: 0 });
});
