import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { roomData } from '../platform/database/testing.ts';
import { type Database, jobMigrations, outboxMigrations } from '../platform/index.ts';
import { firstImmutable, immutabilityOf } from './immutability.ts';
import { addImmutabilityRule, changeImmutabilityRule, deleteImmutabilityRule, immutabilityRulesIn } from './immutability-rules.ts';
import { deleteManifest, putManifest } from './manifests.ts';
import { createProject, deleteProject, ensureRepository, findProject, type Project } from './projects.ts';
import { deleteRepository } from './repository-removal.ts';
import { catalogMigrations } from './schema.ts';
import type { Patterns } from './tag-selectors.ts';
import { deleteTag, findTag, setTag } from './tags.ts';

let store: ReturnType<typeof roomData>;
let database: Database;
let projectId: number;
let repositoryId: number;
let otherId: number;

beforeEach(async () => {
  store = roomData([...catalogMigrations, ...outboxMigrations, ...jobMigrations]);
  database = await store.open();
  await database.write(async (tx) => {
    for (const name of ['demo', 'other']) await createProject(tx, { name, public: false, by: 'ann', now: 1 });
    const repository = await ensureRepository(tx, 'demo/app', 'ann', 1);
    repositoryId = repository.id;
    projectId = repository.projectId;
    otherId = (await ensureRepository(tx, 'other/app', 'ann', 1)).id;
  });
});
afterEach(() => store.remove());

const digest = (letter: string) => `sha256:${letter.repeat(64)}`;
const all: Patterns = { include: ['**'], exclude: [] };
const by = 'ann';

const rule = (name: string, tags: Patterns, { repositories = all, project = projectId as number | null, enabled = true } = {}) =>
  database.write((tx) =>
    addImmutabilityRule(tx, project, { name, description: '', selector: { repositories, tags }, enabled }, { by, now: 1 }),
  );
const tag = (name: string, letter: string, repository = repositoryId) =>
  database.write((tx) => setTag(tx, { repositoryId: repository, name, digest: digest(letter), by, now: 2 }));
const untag = (name: string, repository = repositoryId) =>
  database.write((tx) => deleteTag(tx, { repositoryId: repository, name, by, now: 3 }));
const refused = { code: 'tag_immutable', status: 409 };

const mediaType = 'application/vnd.oci.image.index.v1+json';
const push = (letter: string, tags: string[]) =>
  database.write((tx) =>
    putManifest(tx, {
      ...{ repositoryId, digest: digest(letter), bytes: Buffer.from(letter), tags, by, now: 2 },
      manifest: {
        kind: 'index',
        mediaType,
        blobs: [],
        children: [],
        artifactType: undefined,
        annotations: undefined,
        subject: undefined,
      },
      sparse: { children: false, blobs: false },
    }),
  );

describe('an immutable tag', () => {
  test('can be made and set to what it is, and neither moved nor deleted; the refusal names the rule', async () => {
    await rule('releases', { include: ['v*'], exclude: [] });
    await tag('v1', 'a');
    await tag('v1', 'a');
    await expect(tag('v1', 'b')).rejects.toMatchObject({ ...refused, message: expect.stringContaining('rule releases of the project') });
    await expect(untag('v1')).rejects.toMatchObject(refused);
    expect(await findTag(database, repositoryId, 'v1')).toBe(digest('a'));
    await tag('latest', 'a');
    await tag('latest', 'b');
    await untag('latest');
    await tag('v1', 'a', otherId);
    await tag('v1', 'b', otherId); // of another project
  });

  test('of several that are set at once refuses all of them', async () => {
    await rule('releases', { include: ['v*'], exclude: [] });
    await push('a', ['v1']);
    await expect(push('b', ['new', 'v1'])).rejects.toMatchObject(refused);
    expect(await findTag(database, repositoryId, 'new')).toBeUndefined();
  });

  test('keeps its manifest and its repository, and so its project', async () => {
    await push('a', ['x', 'v1']);
    await rule('releases', { include: ['v*'], exclude: [] });
    await expect(database.write((tx) => deleteManifest(tx, repositoryId, digest('a'), by, 3))).rejects.toMatchObject(refused);
    expect(await findTag(database, repositoryId, 'x')).toBe(digest('a'));
    await expect(database.write((tx) => deleteRepository(tx, { id: repositoryId }, by, 3))).rejects.toMatchObject(refused);
    const project = await findProject(database, 'demo');
    await expect(database.write(async (tx) => project && (await deleteProject(tx, project)))).rejects.toMatchObject({ code: 'conflict' });
  });

  test('is free once its rule is deleted, disabled or matches it no more', async () => {
    await tag('v1', 'a');
    const made = await rule('releases', { include: ['v*'], exclude: [] });
    await expect(tag('v1', 'b')).rejects.toMatchObject(refused);
    const off = await database.write((tx) => changeImmutabilityRule(tx, made, { ...made, enabled: false }));
    await tag('v1', 'b');
    const on = await database.write((tx) => changeImmutabilityRule(tx, off, { ...off, enabled: true }));
    await expect(tag('v1', 'c')).rejects.toMatchObject(refused);
    const { selector } = on;
    const tags = { ...selector.tags, exclude: ['v1'] };
    const spared = await database.write((tx) => changeImmutabilityRule(tx, on, { ...on, selector: { ...selector, tags } }));
    await tag('v1', 'c');
    await database.write((tx) => changeImmutabilityRule(tx, spared, { ...spared, selector }));
    await database.write((tx) => deleteImmutabilityRule(tx, made));
    await tag('v1', 'd');
  });
});

describe('rules', () => {
  test('F2: every selector counts, not only the first, and so do exclusions', async () => {
    await rule('many', { include: ['release-*', 'v*', '*-{rc,final}'], exclude: ['v0*', '*-dev'] });
    const names = ['release-1', 'v1', 'x-rc', 'x-final', 'v0.1', 'v1-dev', 'free'];
    const { ruleOf } = await immutabilityOf(database, repositoryId);
    expect(names.filter((name) => ruleOf(name))).toEqual(['release-1', 'v1', 'x-rc', 'x-final']);
  });

  test('F2: what one rule excludes another still holds, of the project or of the system', async () => {
    await rule('some', { include: ['**'], exclude: ['v*'] });
    await rule('others', { include: ['v1'], exclude: [] }, { project: null });
    const { ruleOf } = await immutabilityOf(database, repositoryId);
    expect([ruleOf('v1')?.name, ruleOf('v2')?.name, ruleOf('x')?.name]).toEqual(['others', undefined, 'some']);
    expect((await immutabilityOf(database, otherId)).ruleOf('v1')?.projectId).toBeNull();
  });

  test('hold in the repositories that their patterns name', async () => {
    await rule('apps', all, { repositories: { include: ['*/app', '*/base'], exclude: ['other/**'] }, project: null });
    expect((await immutabilityOf(database, repositoryId)).ruleOf('x')?.name).toBe('apps');
    expect((await immutabilityOf(database, otherId)).ruleOf('x')).toBeUndefined();
  });

  test('of the last transaction count, also for another connection, and what was rolled back never does', async () => {
    const other = await store.open();
    await tag('v1', 'a');
    const failing = database.write(async (tx) => {
      await addImmutabilityRule(
        tx,
        projectId,
        { name: 'never', description: '', selector: { repositories: all, tags: all }, enabled: true },
        { by, now: 1 },
      );
      await expect(setTag(tx, { repositoryId, name: 'v1', digest: digest('b'), by, now: 2 })).rejects.toMatchObject(refused);
      throw new Error('changed its mind');
    });
    await expect(failing).rejects.toThrow('changed its mind');
    await tag('v1', 'b');
    await rule('late', all);
    await expect(other.write((tx) => setTag(tx, { repositoryId, name: 'v1', digest: digest('c'), by, now: 2 }))).rejects.toMatchObject(
      refused,
    );
  });

  test('are refused for patterns that are none and for names that are taken', async () => {
    await expect(rule('broken', { include: ['{a'], exclude: [] })).rejects.toMatchObject({ code: 'bad_request' });
    await expect(rule('broken', { include: ['a'], exclude: ['}'] })).rejects.toMatchObject({ code: 'bad_request' });
    await rule('one', all);
    await expect(rule('one', all)).rejects.toMatchObject({ code: 'conflict' });
    await rule('one', all, { project: null });
    expect(await immutabilityRulesIn(database, projectId)).toHaveLength(1);
  });

  test('go with their project', async () => {
    await rule('one', { include: ['v*'], exclude: [] });
    await database.write((tx) => deleteProject(tx, { id: projectId, name: 'demo' } as Project)).catch(() => undefined);
    expect(await immutabilityRulesIn(database, projectId)).toHaveLength(1); // it had a repository
    const { id } = await database.write(async (tx) => {
      await createProject(tx, { name: 'empty', public: false, by, now: 1 });
      return (await findProject(tx, 'empty')) as Project;
    });
    await rule('one', all, { project: id });
    await database.write((tx) => deleteProject(tx, { id, name: 'empty' } as Project));
    expect(await immutabilityRulesIn(database, id)).toEqual([]);
  });
});

describe('of a repository with many tags', () => {
  test('one that is held is found behind all that is not', async () => {
    await database.write(async (tx) => {
      for (let at = 0; at < 2500; at++) await setTag(tx, { repositoryId, name: `b_${at}`, digest: digest('a'), by, now: 2 });
      await setTag(tx, { repositoryId, name: 'zz-b_1', digest: digest('a'), by, now: 2 });
    });
    await rule('many', { include: ['*b_?'], exclude: ['b*'] });
    expect(await firstImmutable(database, repositoryId)).toMatchObject({ tag: 'zz-b_1', rule: { name: 'many' } });
    await untag('b_1');
    await expect(untag('zz-b_1')).rejects.toMatchObject(refused);
    expect(await firstImmutable(database, otherId)).toBeUndefined();
  });
});
