import { createHash } from 'node:crypto';
import { parseManifest } from '@entrepot/oci';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  addImmutabilityRule,
  catalogMigrations,
  createProject,
  createPullNotes,
  deleteTag,
  ensureRepository,
  findManifest,
  findProject,
  findTag,
  linkBlob,
  pageOfTags,
  putManifest,
} from '../../catalog/index.ts';
import type { BlobReader } from '../../content/index.ts';
import { roomData, type TestData } from '../../platform/database/testing.ts';
import {
  auditMigrations,
  createJobRunner,
  createLog,
  type Database,
  enqueue,
  type JobContext,
  type JobRunner,
  jobMigrations,
  outboxMigrations,
  queriesOf,
} from '../../platform/index.ts';
import { retentionJobs } from './jobs.ts';
import type { PolicySettings, Rule } from './policy.ts';
import { doRun, startRun } from './run.ts';
import { imageLabelMigration, retentionMigration, useExpiryMigration } from './schema.ts';
import { addPolicy, findPolicy, findRun, pageOfResults, type Run } from './store.ts';
import { UNDO } from './undo.ts';
import { forgetUnseen, noteUse, pageOfUses } from './uses.ts';

const DAY = 24 * 3_600_000;
const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';
const sha = (text: string) => `sha256:${createHash('sha256').update(text).digest('hex')}`;
const blob = (text: string) => ({ mediaType: 'application/octet-stream', digest: sha(text), size: text.length });

const endings = queriesOf<{ outbox_event: { id: number; topic: string; payload: string } }>('test')()('endings', (db) =>
  db.selectFrom('outbox_event').select('payload').where('topic', '=', 'retention.finished').orderBy('id'),
);

/** A blob of the store. */
const readerOf = (bytes: Buffer): BlobReader => ({
  size: bytes.length,
  read: async (buffer, length, position) => bytes.copy(buffer, 0, position, position + length),
  close: async () => undefined,
});

describe('retention runs', () => {
  let store: TestData;
  let database: Database;
  let now: number;
  let clock: { now(): number };
  let projectId: number;
  let jobs: JobRunner;
  /** Configs that the store has, what was opened, and whether it fails. */
  let stored: Map<string, string>;
  let opened: string[];
  let isBroken: boolean;
  const labelsOf = () => Promise.resolve([]);

  beforeEach(async () => {
    stored = new Map();
    opened = [];
    isBroken = false;
    now = Date.UTC(2026, 5, 1);
    clock = { now: () => now };
    store = roomData([
      ...catalogMigrations,
      ...jobMigrations,
      ...outboxMigrations,
      ...auditMigrations,
      retentionMigration,
      imageLabelMigration,
      useExpiryMigration,
    ]);
    database = await store.open();
    await database.write((tx) => createProject(tx, { name: 'demo', public: false, by: 'ann', now }));
    projectId = (await findProject(database, 'demo'))?.id ?? 0;
    const log = createLog('silent');
    const config = { sparseIndexes: false, sparseImages: false };
    const blobs = {
      async open(digest: string) {
        opened.push(digest);
        if (isBroken) throw new Error('the store is out of reach');
        const text = stored.get(digest);
        return text === undefined ? undefined : readerOf(Buffer.from(text));
      },
    };
    jobs = createJobRunner({ database, clock, log, holder: 'one', definitions: retentionJobs({ database, clock, log, blobs, config }) });
  });
  afterEach(() => store.remove());

  const repository = (name = 'demo/app') => database.write((tx) => ensureRepository(tx, name, 'ann', now));

  async function put(manifest: object, tags: readonly string[], name = 'demo/app'): Promise<string> {
    const { id: repositoryId } = await repository(name);
    const bytes = Buffer.from(JSON.stringify(manifest));
    const parsed = parseManifest(bytes, (manifest as { mediaType: string }).mediaType);
    await database.write(async (tx) => {
      for (const part of parsed.blobs) await linkBlob(tx, repositoryId, part, now);
      const sparse = { children: false, blobs: false };
      await putManifest(tx, { repositoryId, digest: sha(bytes.toString()), bytes, manifest: parsed, tags, sparse, by: 'ann', now });
    });
    return sha(bytes.toString());
  }

  const image = (text: string, more: object = {}, layers: readonly string[] = [text]) => ({
    ...{ schemaVersion: 2, mediaType: IMAGE, config: blob(`config of ${text}`), layers: layers.map(blob) },
    ...more,
  });
  const descriptor = (digest: string, mediaType = IMAGE) => ({ mediaType, digest, size: 1 });

  async function policy(rules: readonly Rule[], more: Partial<PolicySettings> = {}, at: number | null = projectId) {
    const defaults = { description: '', enabled: true, projects: null, uncovered: 'keep', untaggedDays: null, schedule: '' } as const;
    const settings = { name: 'p', ...defaults, rules, ...more };
    const id = await database.write((tx) => addPolicy(tx, at, settings, { nextAt: null, by: 'ann', now }));
    const found = await findPolicy(database, id);
    if (!found) throw new Error('no policy');
    return found;
  }

  async function run(of: Awaited<ReturnType<typeof policy>>, dry = false): Promise<Run> {
    const { id } = await database.write((tx) => startRun(tx, of, { dry, by: 'ann', now }));
    await jobs.runDue();
    return await runOf(id);
  }
  async function runOf(id: number): Promise<Run> {
    const found = await findRun(database, id);
    if (!found) throw new Error('no run');
    return found;
  }
  const results = async (of: Run) =>
    (await pageOfResults(database, { runId: of.id, last: 0, limit: 1000 })).map(({ tag, outcome }) => `${tag} ${outcome}`).sort();
  /** What was told of the ends of runs. */
  const ended = async () =>
    (await database.all(endings, {})).map(({ payload }) => JSON.parse(payload) as { by: string; retention: { artifacts: object[] } });
  const tagsNow = async (name = 'demo/app') => await pageOfTags(database, (await repository(name)).id, '', 1000);
  const isThere = async (digest: string, name = 'demo/app') =>
    (await findManifest(database, (await repository(name)).id, digest)) !== undefined;

  it('delete what a dry run of the same instant said, and nothing that it kept', async () => {
    for (let at = 0; at < 40; at++) {
      now += DAY;
      await put(image(`${at}`), [`v${at}`]);
    }
    const of = await policy(
      [
        { template: 'latestPushedK', n: 5 },
        { template: 'nDaysSinceLastPush', n: 10, tags: { include: ['v3*'] } },
      ],
      {
        uncovered: 'delete',
      },
    );
    const dry = await run(of, true);
    expect(dry).toMatchObject({ state: 'done', lookedAt: 40, kept: 10, deleted: 30 });
    expect(await tagsNow()).toHaveLength(40);
    const said = (await results(dry)).filter((each) => each.endsWith('keep')).map((each) => each.split(' ')[0]);
    const real = await run(of);
    expect(real).toMatchObject({ state: 'done', lookedAt: 40, kept: 10, deleted: 30, failed: 0 });
    expect(await tagsNow()).toEqual(said.sort());
    expect((await run(of)).deleted).toBe(0);
  });

  it('judge tags, not what they lead to; the last tag takes its manifest with it', async () => {
    const both = await put(image('shared'), ['old', 'new']);
    await policy([{ template: 'always', tags: { include: ['new'] } }], { name: 'other', enabled: false }); // one that is off keeps nothing
    const of = await policy([{ template: 'always', tags: { include: ['new'] } }], { uncovered: 'delete' });
    await run(of);
    expect(await tagsNow()).toEqual(['new']);
    expect(await isThere(both)).toBe(true);
    const none = await policy([{ template: 'always', tags: { include: ['none'] } }], { name: 'none', uncovered: 'delete' });
    await run(none);
    expect(await tagsNow()).toEqual(['new']); // the first one keeps it
    await database.write(async (tx) => deleteTag(tx, { repositoryId: (await repositoryIn(tx)).id, name: 'new', by: 'x', now }));
    expect(await isThere(both)).toBe(true); // whoever deletes a tag by hand leaves the manifest
  });
  const repositoryIn = (tx: Parameters<typeof ensureRepository>[0]) => ensureRepository(tx, 'demo/app', 'ann', now);

  it('take signatures, attestations and children along, and leave what has a tag of its own', async () => {
    const [one, two] = [await put(image('one'), []), await put(image('two'), ['kept'])];
    const index = await put({ schemaVersion: 2, mediaType: INDEX, manifests: [descriptor(one), descriptor(two)] }, ['gone']);
    const referrer = await put(image('sbom', { subject: descriptor(index, INDEX) }), []);
    const ofReferrer = await put(image('signature of the sbom', { subject: descriptor(referrer) }), []);
    const signature = await put(image('signature'), [`${index.replace(':', '-')}.sig`]);
    const ofOther = await put(image('signature of two'), [`${two.replace(':', '-')}.sig`]);
    const of = await policy([{ template: 'always', tags: { include: ['kept'] } }], { uncovered: 'delete' });
    const dry = await run(of, true);
    expect((await results(dry)).filter((each) => each.endsWith('delete'))).toEqual(['gone delete']);
    expect(await run(of)).toMatchObject({ deleted: 1, failed: 0 });
    for (const digest of [one, index, referrer, ofReferrer, signature]) expect(await isThere(digest)).toBe(false);
    for (const digest of [two, ofOther]) expect(await isThere(digest)).toBe(true);
    expect(await tagsNow()).toEqual(['kept', `${two.replace(':', '-')}.sig`]);
  });

  it('leave what is part of an index, and immutable tags', async () => {
    const child = await put(image('child'), ['child']);
    await put({ schemaVersion: 2, mediaType: INDEX, manifests: [descriptor(child)] }, ['index']);
    await put(image('release'), ['release']);
    const patterns = { repositories: { include: ['**'], exclude: [] }, tags: { include: ['release'], exclude: [] } };
    await database.write((tx) =>
      addImmutabilityRule(tx, projectId, { name: 'releases', description: '', selector: patterns, enabled: true }, { by: 'ann', now }),
    );
    const of = await policy([{ template: 'always', tags: { include: ['index'] } }], { uncovered: 'delete' });
    await run(of);
    expect(await tagsNow()).toEqual(['index', 'release']);
    expect(await isThere(child)).toBe(true);
  });

  it('leave what is pushed, moved or pulled while they run', async () => {
    for (const name of ['a', 'b', 'c']) await put(image(name), [name]);
    now += DAY;
    await put(image('latest'), ['latest']);
    const of = await policy([{ template: 'latestPushedK', n: 1 }]);
    const { id } = await database.write((tx) => startRun(tx, of, { dry: false, by: 'ann', now }));
    const pulls = createPullNotes({ database, clock });
    let isFirst = true;
    const context: JobContext = {
      signal: new AbortController().signal,
      attempt: 1,
      progress: async () => undefined,
      // Called at the begin of each transaction of the run: here before any deletion.
      hold: async () => undefined,
    };
    const slow: Database = Object.assign(Object.create(database) as Database, {
      write: async (work: never, options: { scope?: string[] }) => {
        if (isFirst && options?.scope?.[0] === 'repository:demo/app') {
          isFirst = false;
          now += 1000;
          await put(image('a again'), ['a']);
          await put(image('fresh'), ['fresh']);
          const target = (await findTag(database, (await repository()).id, 'b')) ?? '';
          pulls.pulled({ repositoryId: (await repository()).id, digest: target, tag: 'b', client: 'x', by: 'bob' });
          await pulls.flush();
        }
        return await database.write(work, options);
      },
      all: database.all.bind(database),
      first: database.first.bind(database),
    });
    await doRun({ database: slow, clock, labelsOf }, id, context);
    expect(isFirst).toBe(false);
    expect(await tagsNow()).toEqual(['a', 'b', 'fresh', 'latest']);
    expect(await results(await runOf(id))).toEqual(['a changed', 'b changed', 'c deleted']);
  });

  it('go on where they were interrupted, with the verdicts of their begin', async () => {
    for (const name of ['demo/a', 'demo/b', 'demo/c']) for (let at = 0; at < 60; at++) await put(image(`${name} ${at}`), [`v${at}`], name);
    const of = await policy([{ template: 'latestPushedK', n: 10 }]);
    const { id } = await database.write((tx) => startRun(tx, of, { dry: false, by: 'ann', now }));
    for (const after of [2, 4, 3]) {
      const stop = new AbortController();
      let writes = 0;
      const hold = async () => {
        if (++writes > after) stop.abort(new Error('the process stops'));
        if (stop.signal.aborted) throw stop.signal.reason;
      };
      await expect(
        doRun({ database, clock, labelsOf }, id, { signal: stop.signal, attempt: 1, progress: async () => undefined, hold }),
      ).rejects.toThrow();
      expect((await runOf(id)).state).toBe('running');
      now += DAY;
    }
    await jobs.runDue();
    await jobs.runDue();
    for (const name of ['demo/a', 'demo/b', 'demo/c']) expect(await tagsNow(name)).toHaveLength(10);
    const [told, ...more] = await ended();
    expect(more).toEqual([]);
    expect(told).toMatchObject({ by: 'ann', retention: { policy: 'p', run: id, state: 'done', deleted: 150, failed: 0 } });
    expect(told?.retention.artifacts).toHaveLength(100);
    const done = await runOf(id);
    expect(done).toMatchObject({ state: 'done', deleted: 150, failed: 0 });
    expect(await results(done)).toHaveLength(150);
  });

  it('end where they are cancelled', async () => {
    for (let at = 0; at < 60; at++) await put(image(`${at}`), [`v${at}`]);
    const of = await policy([{ template: 'latestPushedK', n: 10 }]);
    const { id } = await database.write((tx) => startRun(tx, of, { dry: false, by: 'ann', now }));
    const stop = new AbortController();
    let writes = 0;
    const hold = async () => {
      if (++writes === 2) stop.abort(Object.assign(new Error('cancelled'), { name: 'Cancelled' }));
    };
    await expect(
      doRun({ database, clock, labelsOf }, id, { signal: stop.signal, attempt: 1, progress: async () => undefined, hold }),
    ).rejects.toThrow();
    expect(await runOf(id)).toMatchObject({ state: 'cancelled', deleted: 25 });
    await run(of, true); // of which nobody is told
    expect(await ended()).toMatchObject([{ retention: { state: 'cancelled', deleted: 25 } }]);
    expect(await tagsNow()).toHaveLength(35);
  });

  it('delete manifests that nothing holds after their days, but none that is in use, pulled, part of something or about it', async () => {
    const alone = await put(image('alone'), []);
    const used = await put(image('used'), []);
    const pulled = await put(image('pulled'), []);
    const child = await put(image('child'), []);
    const index = await put({ schemaVersion: 2, mediaType: INDEX, manifests: [descriptor(child)] }, ['index']);
    const about = await put(image('about', { subject: descriptor(index, INDEX) }), []);
    const of = await policy([], { untaggedDays: 7 });
    now += 6 * DAY;
    expect((await run(of)).deleted).toBe(0);
    now += 2 * DAY;
    const { id: repositoryId } = await repository();
    await database.write((tx) => noteUse(tx, { repositoryId, digest: used, source: 'cluster', now: now - DAY }));
    const pulls = createPullNotes({ database, clock });
    pulls.pulled({ repositoryId, digest: pulled, tag: undefined, client: 'x', by: 'bob' });
    await pulls.flush();
    const fresh = await put(image('fresh'), []);
    expect((await run(of)).deleted).toBe(1);
    expect(await isThere(alone)).toBe(false);
    for (const digest of [used, pulled, child, index, about, fresh]) expect(await isThere(digest)).toBe(true);
  });

  it('know the labels of images, read each config once, and keep what they cannot read', async () => {
    const configOf = (labels: object) => JSON.stringify({ os: 'linux', architecture: 'amd64', config: { Labels: labels } });
    const labelled = async (tag: string, config: string, isThere = true) => {
      const media = 'application/vnd.oci.image.config.v1+json';
      if (isThere) stored.set(sha(config), config);
      return await put({ ...image(tag), config: { mediaType: media, digest: sha(config), size: config.length } }, [tag]);
    };
    await labelled('prod', configOf({ env: 'prod', tier: 'web' }));
    await labelled('test', configOf({ env: 'test', count: 7 }));
    await labelled('none', JSON.stringify({ config: null }));
    await labelled('unreadable', configOf({ env: 'lost' }), false);
    const child = await labelled('child', configOf({ env: 'prod' }));
    await put({ schemaVersion: 2, mediaType: INDEX, manifests: [descriptor(child)] }, ['index']);
    await put(image('artifact'), ['artifact']); // its config is none of an image
    const of = await policy([{ template: 'always', imageLabels: { env: 'pr*' } }], { uncovered: 'delete' });
    const first = await run(of, true);
    const reads = opened.length;
    expect(reads).toBeGreaterThan(0);
    expect(await results(first)).toEqual(
      ['artifact delete', 'child keep', 'index keep', 'none delete', 'prod keep', 'test delete', 'unreadable keep'].sort(),
    );
    opened.length = 0;
    expect(await results(await run(of, true))).toEqual(await results(first));
    expect(opened).toEqual([sha(configOf({ env: 'lost' }))]); // what is known is not read again
    const [unread] = (await pageOfResults(database, { runId: first.id, last: 0, limit: 100 })).filter(({ tag }) => tag === 'unreadable');
    expect(unread?.reasons).toContain('the labels of its image cannot be read');
  });

  it('fail where the store cannot be read, and delete nothing', async () => {
    const media = 'application/vnd.oci.image.config.v1+json';
    await put({ ...image('a'), config: { mediaType: media, digest: sha('broken'), size: 6 } }, ['a']);
    isBroken = true;
    const of = await policy([{ template: 'always', imageLabels: { env: 'prod' } }], { uncovered: 'delete' });
    const { state } = await run(of);
    expect(state).not.toBe('done');
    expect(await tagsNow()).toEqual(['a']);
  });

  it('keep what is in use until that expires, or its source tells that it is not', async () => {
    const at = { repositoryId: (await repository()).id, source: 'cluster' };
    const [lapsed, kept, gone] = [
      await put(image('lapsed'), ['lapsed']),
      await put(image('kept'), ['kept']),
      await put(image('gone'), ['gone']),
    ];
    await database.write(async (tx) => {
      await noteUse(tx, { ...at, digest: lapsed, now, expiresAt: now + DAY });
      await noteUse(tx, { ...at, digest: gone, now });
      await noteUse(tx, { ...at, digest: gone, source: 'other cluster', now: now - 9 * DAY });
    });
    now += 2 * DAY;
    await database.write(async (tx) => {
      await noteUse(tx, { ...at, digest: kept, now, expiresAt: now + DAY });
      expect(await forgetUnseen(tx, { ...at, now })).toBe(2);
    });
    expect(await pageOfUses(database, { repositoryId: at.repositoryId, source: 'cluster', digest: kept, limit: 9 })).toEqual([
      { source: 'other cluster', digest: gone, seenAt: now - 11 * DAY, expiresAt: null },
    ]);
    await run(await policy([{ template: 'inUse', n: 7 }]));
    expect(await tagsNow()).toEqual(['kept']);
  });

  it('keep what is a base of others, and what was told to be in use', async () => {
    await put(image('base', {}, ['os', 'runtime']), ['base']);
    await put(image('app', {}, ['os', 'runtime', 'code']), ['app'], 'demo/other');
    await put(image('sibling', {}, ['os', 'tools']), ['sibling']);
    const running = await put(image('running'), ['running']);
    await database.write(async (tx) => noteUse(tx, { repositoryId: (await repositoryIn(tx)).id, digest: running, source: 'cluster', now }));
    const repositories = { include: ['demo/app'] };
    const of = await policy([
      { template: 'isBase', repositories },
      { template: 'inUse', n: 7, repositories },
    ]);
    await run(of);
    expect(await tagsNow()).toEqual(['base', 'running']);
    expect(await tagsNow('demo/other')).toEqual(['app']);
    now += 8 * DAY;
    await run(of);
    expect(await tagsNow()).toEqual(['base']);
  });

  it('of the system reach the projects that they name, and rules of projects keep there too', async () => {
    await database.write((tx) => createProject(tx, { name: 'spared', public: false, by: 'ann', now }));
    for (const name of ['demo/app', 'spared/app']) for (const each of ['x', 'y']) await put(image(`${name} ${each}`), [each], name);
    await policy([{ template: 'always', tags: { include: ['y'] } }], { name: 'ours' });
    const of = await policy(
      [{ template: 'always', tags: { include: ['none'] } }],
      { uncovered: 'delete', projects: { exclude: ['spared'] } },
      null,
    );
    await run(of);
    expect(await tagsNow()).toEqual(['y']);
    expect(await tagsNow('spared/app')).toEqual(['x', 'y']);
  });

  it('are undone as a whole, but for tags that lead elsewhere meanwhile', async () => {
    const child = await put(image('child'), []);
    const index = await put({ schemaVersion: 2, mediaType: INDEX, manifests: [descriptor(child)] }, ['index', 'same']);
    const signature = await put(image('signature'), [`${index.replace(':', '-')}.sig`]);
    const referrer = await put(image('sbom', { subject: descriptor(index, INDEX) }), []);
    for (let at = 0; at < 120; at++) await put(image(`${at}`), [`v${at}`]);
    const of = await policy([{ template: 'always', tags: { include: ['none'] } }], { uncovered: 'delete' });
    const before = await tagsNow();
    const { id } = await run(of);
    expect(await tagsNow()).toEqual([]);
    const other = await put(image('other'), ['v7']);
    await database.write((tx) => enqueue(tx, { kind: UNDO, payload: { runId: id, by: 'ann' }, now }));
    await jobs.runDue();
    expect(await tagsNow()).toEqual(before);
    for (const digest of [child, index, signature, referrer]) expect(await isThere(digest)).toBe(true);
    expect(await findTag(database, (await repository()).id, 'v7')).toBe(other);
    const undone = await runOf(id);
    expect(undone.undo).toBe('failed');
    expect(undone.error).toMatch(/^1 could not be brought back, the last as: tag v7 leads to/);
  });

  it('are begun by their schedule, one at a time', async () => {
    await put(image('x'), ['x']);
    now += 1000;
    await put(image('y'), ['y']);
    const defaults = { description: '', enabled: true, projects: null, uncovered: 'keep', untaggedDays: null } as const;
    const settings = { ...defaults, name: 'nightly', schedule: '0 3 * * *', rules: [{ template: 'latestPushedK' as const, n: 1 }] };
    const id = await database.write((tx) => addPolicy(tx, projectId, settings, { nextAt: now + 1000, by: 'ann', now }));
    now += 2000;
    await jobs.start();
    await expect.poll(() => tagsNow(), { timeout: 20_000 }).toEqual(['y']);
    await jobs.stop();
    expect((await findPolicy(database, id))?.nextAt).toBe(Date.UTC(2026, 5, 1, 3));
  });
});
