import { afterEach, beforeEach, expect, test } from 'vitest';
import { roomData } from '../platform/database/testing.ts';
import { type Database, outboxMigrations, queriesOf } from '../platform/index.ts';
import { deleteManifest, putManifest } from './manifests.ts';
import { createProject, ensureRepository } from './projects.ts';
import { catalogMigrations } from './schema.ts';
import { deleteTag } from './tags.ts';

const query = queriesOf<{ outbox_event: { id: number; topic: string; repository: string; payload: string } }>('test');
const events = query()('events', (db) => db.selectFrom('outbox_event').select(['topic', 'repository', 'payload']).orderBy('id'));

const data = roomData;
let store: ReturnType<typeof data>;
let database: Database;
let repositoryId: number;

beforeEach(async () => {
  store = data([...catalogMigrations, ...outboxMigrations]);
  database = await store.open();
  repositoryId = await database.write(async (tx) => {
    await createProject(tx, { name: 'demo', public: false, by: 'ann', now: 1 });
    return (await ensureRepository(tx, 'demo/app', 'ann', 1)).id;
  });
});
afterEach(() => store.remove());

const mediaType = 'application/vnd.oci.image.index.v1+json';
const digest = (letter: string) => `sha256:${letter.repeat(64)}`;

const push = (letter: string, tags: string[], failing = false) =>
  database.write(async (tx) => {
    const manifest = {
      kind: 'index' as const,
      mediaType,
      blobs: [],
      children: [],
      artifactType: undefined,
      annotations: undefined,
      subject: undefined,
    };
    const bytes = Buffer.from(letter);
    await putManifest(tx, {
      repositoryId,
      digest: digest(letter),
      bytes,
      manifest,
      tags,
      sparse: { children: false, blobs: false },
      by: 'ann',
      now: 2,
    });
    if (failing) throw new Error('refused in the end');
  });

async function told(): Promise<unknown[]> {
  const rows = await database.all(events, {});
  expect(rows.every((row) => row.repository === 'demo/app')).toBe(true);
  return rows.map(({ topic, payload }) => [topic, JSON.parse(payload)]);
}

test('pushes, moved tags and deletions are told in the order in which they happened', async () => {
  await push('a', ['1', 'latest']);
  await push('b', ['latest']);
  await push('b', ['latest']); // nothing moves
  await database.write((tx) => deleteTag(tx, { repositoryId, name: '1', by: 'bob', now: 3 }));
  await database.write((tx) => deleteManifest(tx, repositoryId, digest('b'), 'bob', 4));
  const made = ['repository.created', { by: 'ann' }];
  const pushed = (letter: string, ...tags: string[]) => [
    'manifest.pushed',
    { digest: digest(letter), mediaType, size: 1, tags, by: 'ann' },
  ];
  expect(await told()).toEqual([
    made,
    pushed('a', '1', 'latest'),
    ['tag.moved', { tag: '1', digest: digest('a'), previous: null, by: 'ann' }],
    ['tag.moved', { tag: 'latest', digest: digest('a'), previous: null, by: 'ann' }],
    pushed('b', 'latest'),
    ['tag.moved', { tag: 'latest', digest: digest('b'), previous: digest('a'), by: 'ann' }],
    pushed('b', 'latest'),
    ['tag.deleted', { tag: '1', previous: digest('a'), by: 'bob' }],
    ['tag.deleted', { tag: 'latest', previous: digest('b'), by: 'bob' }],
    ['manifest.deleted', { digest: digest('b'), mediaType, size: 1, tags: ['latest'], by: 'bob' }],
  ]);
});

test('a change that does not happen is not told', async () => {
  await expect(push('a', ['1'], true)).rejects.toThrow('refused in the end');
  await expect(database.write((tx) => deleteManifest(tx, repositoryId, digest('c'), 'bob', 4))).rejects.toThrow();
  expect(await told()).toEqual([['repository.created', { by: 'ann' }]]);
});
