import { digestOf, parseManifest } from '@entrepot/oci';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest';
import {
  addImmutabilityRule,
  catalogJobs,
  catalogMigrations,
  createProject,
  deleteManifest,
  deleteProject,
  deleteRepository,
  deleteTag,
  ensureRepository,
  findBlob,
  findManifest,
  findProject,
  findRepository,
  findTag,
  findTrashItem,
  linkBlob,
  listTrash,
  manifestBytes,
  purgeItem,
  putManifest,
  type Restoring,
  setTag,
  type TrashItem,
  unlinkBlob,
} from '../../catalog/index.ts';
import { roomData } from '../../platform/database/testing.ts';
import {
  AppError,
  createJobRunner,
  createLog,
  type Database,
  type JobRunner,
  jobMigrations,
  loadConfig,
  outboxMigrations,
  queriesOf,
} from '../../platform/index.ts';
import { DAY_MS, trashJobs } from './jobs.ts';
import { restoreItem, restoreLarge } from './restore.ts';

interface Rows {
  repository_blob: { repository_id: number; digest: string; unneeded_since: number | null };
  outbox_event: { id: number; topic: string };
  trash_content: { item_id: number; bytes: Uint8Array };
}
const query = queriesOf<Rows>('trash-test');
const unneeded = query<{ repositoryId: number }>()('unneeded', (db, p) =>
  db
    .selectFrom('repository_blob')
    .select('digest')
    .where('repository_id', '=', p('repositoryId'))
    .where('unneeded_since', 'is not', null)
    .orderBy('digest'),
);
const collect = query()('collect', (db) => db.deleteFrom('repository_blob').where('unneeded_since', 'is not', null));
const topics = query()('topics', (db) => db.selectFrom('outbox_event').select('topic').orderBy('id'));
const spoil = query<{ id: number; bytes: Uint8Array }>()('spoil', (db, p) =>
  db
    .updateTable('trash_content')
    .set({ bytes: p('bytes') })
    .where('item_id', '=', p('id')),
);

let store: ReturnType<typeof roomData>;
let database: Database;
let jobs: JobRunner;
let now: number;
let projectId: number;
let repositoryId: number;
const config = loadConfig({ env: {}, flags: { trashDays: '14' } });
const clock = { now: () => now };

beforeEach(async () => {
  now = 1_000_000;
  store = roomData([...catalogMigrations, ...outboxMigrations, ...jobMigrations]);
  database = await store.open();
  jobs = createJobRunner({
    ...{ database, clock, log: createLog('silent'), holder: 'test' },
    definitions: [...catalogJobs({ database, clock }), ...trashJobs({ database, clock, config })],
  });
  await database.write(async (tx) => {
    await createProject(tx, { name: 'demo', public: false, by: 'ann', now });
    const made = await ensureRepository(tx, 'demo/app', 'ann', now);
    repositoryId = made.id;
    projectId = made.projectId;
  });
});
afterEach(() => store.remove());

const blobOf = (letter: string) => digestOf(Buffer.from(letter));
const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';
const descriptor = (mediaType: string, bytes: Uint8Array) => ({ mediaType, digest: digestOf(bytes), size: bytes.length });

function image(letters: string, subject?: Uint8Array): Buffer {
  const [config = 'x', ...layers] = letters;
  const blob = (letter: string, mediaType: string) => descriptor(mediaType, Buffer.from(letter));
  return Buffer.from(
    JSON.stringify({
      ...{ schemaVersion: 2, mediaType: IMAGE, config: blob(config, 'application/vnd.oci.image.config.v1+json') },
      layers: layers.map((layer) => blob(layer, 'application/vnd.oci.image.layer.v1.tar')),
      ...(subject ? { subject: descriptor(IMAGE, subject) } : {}),
    }),
  );
}
const index = (...children: Buffer[]) =>
  Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests: children.map((child) => descriptor(IMAGE, child)) }));

async function push(bytes: Buffer, tags: string[] = [], into = repositoryId): Promise<string> {
  const manifest = parseManifest(bytes, undefined);
  const digest = digestOf(bytes);
  await database.write(async (tx) => {
    for (const { digest: blob, size } of manifest.blobs) await linkBlob(tx, into, { digest: blob, size }, now);
    const sparse = { children: false, blobs: false };
    await putManifest(tx, { repositoryId: into, digest, bytes, manifest, tags, sparse, by: 'ann', now });
  });
  return digest;
}
const remove = (digest: string) => database.write((tx) => deleteManifest(tx, repositoryId, digest, 'bob', now));
const untag = (name: string) => database.write((tx) => deleteTag(tx, { repositoryId, name, by: 'bob', now }));
const tag = (name: string, digest: string) => database.write((tx) => setTag(tx, { repositoryId, name, digest, by: 'ann', now }));
const trash = async () => (await listTrash(database, { projectId, order: 'asc', last: undefined, limit: 1000 })).items;
const itemOf = async (name: string) => (await trash()).findLast((item) => item.name === name);
async function required(name: string): Promise<TrashItem> {
  const item = await itemOf(name);
  if (!item) throw new Error(`${name} is not in the trash`);
  return item;
}
const how = (more: Partial<Restoring> = {}): Restoring => ({
  ...{ by: 'cat', now, replace: false, sparse: { children: false, blobs: false } },
  ...more,
});
const restore = async (name: string, more: Partial<Restoring> = {}, as?: string) => {
  const item = await required(name);
  return await database.write((tx) => restoreItem(tx, item, how(more), as));
};
const expire = async () => {
  now += 15 * DAY_MS;
  await jobs.runDue();
};

describe('a deleted manifest', () => {
  it('comes back byte for byte with its tags, and meanwhile its blobs are held', async () => {
    const bytes = image('ab');
    const digest = await push(bytes, ['v1', 'latest']);
    const before = await findManifest(database, repositoryId, digest);
    await remove(digest);
    expect(await findManifest(database, repositoryId, digest)).toBeUndefined();
    expect(await findTag(database, repositoryId, 'v1')).toBeUndefined();
    expect(await database.all(unneeded, { repositoryId })).toEqual([]);
    const restored = await restore(digest);
    expect(restored).toMatchObject({ manifests: 1, tags: ['latest', 'v1'], skipped: [], job: null });
    const after = await findManifest(database, repositoryId, digest);
    expect(after).toEqual(before);
    expect(Buffer.from((await manifestBytes(database, after?.id ?? 0)) ?? [])).toEqual(bytes);
    expect(await findTag(database, repositoryId, 'v1')).toBe(digest);
    expect(await trash()).toEqual([]);
    expect((await database.all(topics, {})).map(({ topic }) => topic).slice(-3)).toEqual(['manifest.restored', 'tag.moved', 'tag.moved']);
  });

  it('is gone after its time, and what only it needed may be collected', async () => {
    const kept = await push(image('ac'), ['kept']);
    const digest = await push(image('ab'), ['v1']);
    await remove(digest);
    now += 13 * DAY_MS;
    await jobs.runDue();
    expect(await trash()).toHaveLength(2);
    expect(await database.all(unneeded, { repositoryId })).toEqual([]);
    await expire();
    expect(await trash()).toEqual([]);
    expect(await database.all(unneeded, { repositoryId })).toEqual([{ digest: blobOf('b') }]);
    expect(await findManifest(database, repositoryId, kept)).toBeDefined();
  });

  it('that was pushed again and deleted again is in the trash once, with the tags of both times', async () => {
    const digest = await push(image('ab'), ['one']);
    await remove(digest);
    await push(image('ab'), ['two']);
    expect(await restore(digest)).toMatchObject({ tags: ['one'] });
    await remove(digest);
    await push(image('ab'), ['three']);
    await remove(digest);
    expect((await trash()).filter(({ kind }) => kind === 'manifest')).toHaveLength(1);
    expect(await restore(digest)).toMatchObject({ tags: ['one', 'three', 'two'] });
  });

  it('leaves tags that lead elsewhere meanwhile, unless told to move them back', async () => {
    const digest = await push(image('ab'), ['v1', 'v2']);
    await remove(digest);
    const other = await push(image('ac'), ['v1']);
    expect(await restore(digest)).toMatchObject({ tags: ['v2'], skipped: ['v1'] });
    expect(await findTag(database, repositoryId, 'v1')).toBe(other);
    expect(await restore('v1', { replace: true })).toMatchObject({ tags: ['v1'] });
    expect(await findTag(database, repositoryId, 'v1')).toBe(digest);
  });

  it('is refused where a blob of it was deleted, and where its bytes are damaged', async () => {
    const digest = await push(image('ab'));
    await remove(digest);
    await database.write((tx) => unlinkBlob(tx, repositoryId, blobOf('b'), now));
    await expect(restore(digest)).rejects.toMatchObject({ code: 'conflict', message: expect.stringContaining(blobOf('b')) });
    await database.write((tx) => linkBlob(tx, repositoryId, { digest: blobOf('b'), size: 1 }, now));
    const { id } = await required(digest);
    await database.write(async (tx) => void (await tx.run(spoil, { id, bytes: Buffer.from('{}') })));
    await expect(restore(digest)).rejects.toMatchObject({ message: expect.stringContaining('damaged') });
    expect(await findManifest(database, repositoryId, digest)).toBeUndefined();
  });

  it('of an index comes back with its children, those that needed them too', async () => {
    const [one, two] = [image('ab'), image('ac')];
    await push(one, ['linux']);
    await push(two);
    const digest = await push(index(one, two), ['multi']);
    await remove(digest);
    await remove(digestOf(one));
    await remove(digestOf(two));
    expect(await restore('multi')).toMatchObject({ manifests: 3, tags: ['multi'] });
    expect(await findTag(database, repositoryId, 'linux')).toBeUndefined(); // it was another deletion
    expect((await required('linux')).withId).toBeNull();
    expect(await restore('linux')).toMatchObject({ tags: ['linux'] });
    await remove(digest);
    await remove(digestOf(two));
    await expire();
    await push(one);
    expect(await itemOf(digest)).toBeUndefined();
  });

  it('of an index whose child is gone for good is refused', async () => {
    const one = image('ab');
    await push(one);
    const digest = await push(index(one));
    await remove(digest);
    await remove(digestOf(one));
    const child = await required(digestOf(one));
    await database.write((tx) => purgeItem(tx, child, now));
    await expect(restore(digest)).rejects.toMatchObject({ code: 'conflict', message: expect.stringContaining(digestOf(one)) });
    expect(await restore(digest, { sparse: { children: true, blobs: false } })).toMatchObject({ manifests: 1 });
  });
});

describe('a deleted tag', () => {
  it('comes back to what it had, and asks where the name is taken', async () => {
    const digest = await push(image('ab'), ['v1']);
    await untag('v1');
    expect(await restore('v1')).toMatchObject({ tags: ['v1'], manifests: 0 });
    await untag('v1');
    const other = await push(image('ac'), ['v1']);
    await expect(restore('v1')).rejects.toMatchObject({ code: 'conflict', message: expect.stringContaining(other) });
    expect(await restore('v1', { replace: true })).toMatchObject({ tags: ['v1'] });
    expect(await findTag(database, repositoryId, 'v1')).toBe(digest);
  });

  it('F2: does not come back over what a rule holds', async () => {
    await push(image('ab'), ['v1']);
    await untag('v1');
    const other = await push(image('ac'), ['v1']);
    const all = { include: ['**'], exclude: [] };
    await database.write((tx) =>
      addImmutabilityRule(
        tx,
        projectId,
        { name: 'all', description: '', selector: { repositories: all, tags: all }, enabled: true },
        { by: 'ann', now },
      ),
    );
    await expect(restore('v1', { replace: true })).rejects.toMatchObject({ code: 'tag_immutable' });
    expect(await findTag(database, repositoryId, 'v1')).toBe(other);
  });
});

describe('a deleted repository', () => {
  it('comes back with everything, under another name where its own is taken', async () => {
    const digest = await push(image('ab'), ['v1']);
    const gone = await push(image('ac'), ['old']);
    await remove(gone);
    await database.write((tx) => deleteRepository(tx, { id: repositoryId }, 'bob', now));
    await expect(restore(gone)).rejects.toMatchObject({ message: expect.stringContaining('demo/app was deleted') });
    await database.write((tx) => ensureRepository(tx, 'demo/app', 'ann', now));
    await jobs.runDue();
    await expect(restore('demo/app')).rejects.toMatchObject({ code: 'conflict' });
    for (const name of ['other/app', 'demo/App', '@deleted/9']) {
      await expect(restore('demo/app', {}, name)).rejects.toMatchObject({ code: 'name_invalid' });
    }
    await restore('demo/app', {}, 'demo/back');
    expect((await findRepository(database, 'demo/back'))?.id).toBe(repositoryId);
    expect(await findTag(database, repositoryId, 'v1')).toBe(digest);
    expect(await restore(gone)).toMatchObject({ tags: ['old'] });
  });

  it('is cleared away after its time, with its trash, and its project can go then and not before', async () => {
    await remove(await push(image('ac'), ['old']));
    await push(image('ab'), ['v1']);
    await database.write((tx) => deleteRepository(tx, { id: repositoryId }, 'bob', now));
    const project = await findProject(database, 'demo');
    if (!project) throw new Error('no project');
    await jobs.runDue();
    await expect(database.write((tx) => deleteProject(tx, project))).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('trash'),
    });
    await expire();
    expect(await trash()).toEqual([]);
    await database.write((tx) => deleteProject(tx, project));
  });
});

test('a large item is restored by a job, which goes on where it was interrupted', async () => {
  const children = Array.from({ length: 150 }, (_, at) => image(`a${String.fromCodePoint(0x4e00 + at)}`));
  for (const child of children) await push(child);
  const digest = await push(index(...children), ['multi', 'more']);
  await remove(digest);
  for (const child of children) await remove(digestOf(child));
  const { job } = await restore(digest);
  expect(job).toEqual(expect.any(Number));
  await expect(restore(digest)).rejects.toMatchObject({ message: expect.stringContaining('is being restored') });
  const item = await required(digest);
  // Each run is cut after one more step than the one before; all that is there is whole all the time.
  for (let steps = 1, ended = false; !ended; steps++) {
    let left = steps;
    const cut = new AbortController();
    const progress = async () => {
      if (--left === 0) cut.abort(new Error('killed'));
    };
    try {
      await restoreLarge(item.id, { database, how: how(), signal: cut.signal, progress });
      ended = true;
    } catch (error) {
      expect(error).toMatchObject({ message: 'killed' });
    }
    if (await findManifest(database, repositoryId, digest)) {
      for (const child of children) expect(await findManifest(database, repositoryId, digestOf(child))).toBeDefined();
    }
    expect(steps).toBeLessThan(30);
  }
  expect(await findTag(database, repositoryId, 'multi')).toBe(digest);
  expect(await findTag(database, repositoryId, 'more')).toBe(digest);
  expect(await trash()).toEqual([]);
  expect(await findTrashItem(database, item.id)).toBeUndefined();
});

test('a job that cannot restore says why at the item', async () => {
  const children = Array.from({ length: 101 }, (_, at) => image(`a${String.fromCodePoint(0x4e00 + at)}`));
  for (const child of children) await push(child);
  const digest = await push(index(...children), ['multi']);
  await remove(digest);
  for (const child of children) await remove(digestOf(child));
  await database.write((tx) => unlinkBlob(tx, repositoryId, blobOf(String.fromCodePoint(0x4e00)), now));
  await restore(digest);
  await jobs.runDue();
  expect(await required(digest)).toMatchObject({ jobId: null, problem: expect.stringContaining('was deleted meanwhile') });
  expect(await findManifest(database, repositoryId, digest)).toBeUndefined();
});

// The model: what is there and what is in the trash, of three images over three blobs, an index over two of them, and two tags.
const IMAGES = [image('ab'), image('ac'), image('bc')] as const;
const ALL = [...IMAGES, index(IMAGES[0], IMAGES[1])] as const;
const DIGESTS = ALL.map((bytes) => digestOf(bytes));
const which = fc.integer({ min: 0, max: 3 });
const name = fc.constantFrom('x', 'y');
const step = fc.oneof(
  fc.record({ do: fc.constant('push' as const), which, name }),
  fc.record({ do: fc.constant('tag' as const), which, name }),
  fc.record({ do: fc.constant('untag' as const), name }),
  fc.record({ do: fc.constant('delete' as const), which }),
  fc.record({ do: fc.constant('restore' as const), at: fc.nat(5), replace: fc.boolean() }),
  fc.record({ do: fc.constant('expire' as const) }),
  fc.record({ do: fc.constant('wait' as const) }),
  fc.record({ do: fc.constant('collect' as const) }),
);

test('invariant 2: whatever is pushed, tagged, deleted, restored, expired and collected, what is there is whole', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
      const { id } = await database.write((tx) => ensureRepository(tx, `demo/model-${Math.random()}`.slice(0, 60), 'ann', now));
      repositoryId = id;
      const live = new Set<number>();
      const tags = new Map<string, number>();
      for (const change of steps) {
        const mine = async () => (await trash()).filter((item) => item.repositoryId === id);
        try {
          switch (change.do) {
            case 'push': {
              if (change.which === 3 && !(live.has(0) && live.has(1))) break;
              const bytes = ALL[change.which];
              if (!bytes) break;
              await push(bytes, [change.name]);
              live.add(change.which);
              tags.set(change.name, change.which);
              break;
            }
            case 'tag':
              if (!live.has(change.which)) break;
              await tag(change.name, DIGESTS[change.which] ?? '');
              tags.set(change.name, change.which);
              break;
            case 'untag':
              await untag(change.name);
              tags.delete(change.name);
              break;
            case 'delete':
              await remove(DIGESTS[change.which] ?? '');
              live.delete(change.which);
              for (const [tagName, target] of tags) if (target === change.which) tags.delete(tagName);
              break;
            case 'restore': {
              const items = await mine();
              const item = items[change.at % Math.max(1, items.length)];
              if (!item) break;
              const before = new Map(tags);
              const done = await database.write((tx) => restoreItem(tx, item, how({ replace: change.replace })));
              const target = DIGESTS.indexOf(item.digest ?? '');
              live.add(target);
              if (target === 3) for (const child of [0, 1]) live.add(child);
              for (const each of done.tags) tags.set(each, target);
              // Without `replace` nothing that was there has moved.
              if (!change.replace) for (const [tagName, to] of before) expect(tags.get(tagName)).toBe(to);
              break;
            }
            case 'expire':
              await expire();
              expect(await mine()).toEqual([]);
              break;
            case 'wait':
              now += 5 * DAY_MS;
              break;
            case 'collect':
              await database.write(async (tx) => void (await tx.run(collect, {})));
              break;
          }
        } catch (error) {
          if (!(error instanceof AppError)) throw error;
          expect(['conflict', 'manifest_unknown', 'manifest_referenced']).toContain(error.code);
        }
        for (const [at, digest] of DIGESTS.entries()) {
          const stored = await findManifest(database, id, digest);
          expect([at, stored !== undefined]).toEqual([at, live.has(at)]);
          for (const blob of stored ? parseManifest(ALL[at] ?? Buffer.alloc(0), undefined).blobs : []) {
            expect(await findBlob(database, id, blob.digest)).toMatchObject({ unneededSince: null });
          }
        }
        if (live.has(3)) expect([live.has(0), live.has(1)]).toEqual([true, true]);
        for (const each of ['x', 'y']) expect(await findTag(database, id, each)).toBe(DIGESTS[tags.get(each) ?? 9]);
      }
    }),
    { numRuns: 40 },
  );
}, 60_000);
