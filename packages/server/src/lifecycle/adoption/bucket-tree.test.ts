import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { accessMigrations } from '../../access/index.ts';
import { catalogMigrations } from '../../catalog/index.ts';
import { openBucket } from '../../content/s3/bucket.ts';
import { type Fault, type FaultProxy, startFaultProxy } from '../../content/s3/testing-fault-proxy.ts';
import { describeOnS3, settingsOf, startS3, type TestS3 } from '../../content/s3/testing-server.ts';
import { sqliteData } from '../../platform/database/testing.ts';
import { auditMigrations, type Database, jobMigrations, outboxMigrations, systemClock } from '../../platform/index.ts';
import { type AdoptionReport, adoptStorage } from './adopt.ts';
import { createBucketTree } from './bucket-tree.ts';
import { openFileTree } from './file-tree.ts';
import { findingsAfterPosition } from './runs.ts';
import { adoptionMigrations } from './schema.ts';
import { stateOf } from './testing-state.ts';
import { fill, TestStorage } from './testing-storage.ts';
import { type TreeReader, type TreeWriter, Unreadable } from './tree.ts';

const migrations = [
  ...[...catalogMigrations, ...accessMigrations, ...auditMigrations],
  ...[...outboxMigrations, ...jobMigrations, ...adoptionMigrations],
];
const ERROR = (code: string) => `<?xml version="1.0"?><Error><Code>${code}</Code><Message>so it is</Message></Error>`;
const FAULTS: [string, Fault][] = [
  ['500', { kind: 'answer', status: 500, body: ERROR('InternalError') }],
  ['503', { kind: 'answer', status: 503, body: ERROR('SlowDown') }],
  ['a cut connection', { kind: 'cut' }],
  ['a truncated body', { kind: 'truncate', bytes: 20 }],
  ['a body that stands still', { kind: 'stall', bytes: 20 }],
  ['no answer', { kind: 'silent' }],
];

describeOnS3('a storage in a bucket', () => {
  let server: TestS3;
  let proxy: FaultProxy;
  let tree: TreeReader & TreeWriter;
  let close: () => void;
  const cleanups: (() => void | Promise<void>)[] = [];
  const root = 'some/prefix/docker/registry/v2/';

  beforeAll(async () => {
    server = await startS3();
    proxy = await startFaultProxy(server.endpoint);
    const bucket = await openBucket(settingsOf(proxy.endpoint), { patience: 0.05 });
    close = () => bucket.close();
    tree = await createBucketTree(bucket, { root, name: 's3://registry', pauses: [1, 1, 1, 1, 1] });
  });
  afterEach(() => proxy.inject());
  afterAll(async () => {
    close();
    for (const cleanup of cleanups) await cleanup();
    await proxy.close();
    await server.close();
  });

  const file = (path: string, content: string) => {
    mkdirSync(dirname(join(server.folder, root, path)), { recursive: true });
    writeFileSync(join(server.folder, root, path), content);
  };
  async function adopt(from: TreeReader): Promise<{ report: AdoptionReport; database: Database }> {
    const data = sqliteData(migrations);
    cleanups.push(() => data.remove());
    const database = await data.open();
    const report = await adoptStorage({
      ...{ database, clock: systemClock, tree: from, verify: false, update: false, public: false },
      config: { sparseImages: false, sparseIndexes: false, manifestMaxBytes: 100_000 },
      actor: { kind: 'command-line', id: null, name: 'operator', credential: null },
      lease: { who: 'somebody', isAlone: true },
      onProgress: () => undefined,
    });
    return { report, database };
  }
  async function gather<T>(all: Iterable<T> | AsyncIterable<T>): Promise<T[]> {
    const gathered: T[] = [];
    for await (const one of all) gathered.push(one);
    return gathered;
  }

  it('is adopted as the same files are, while every fifth request fails, with the same findings', async () => {
    const folder = join(server.folder, root);
    fill(new TestStorage(folder));
    const files = await adopt(openFileTree(folder));
    let count = 0;
    proxy.inject(() => (++count % 5 === 0 ? FAULTS[(count / 5) % 4]?.[1] : undefined));
    const bucket = await adopt(tree);
    const findings = async ({ database, report }: typeof files) =>
      await findingsAfterPosition(database, { runId: report.run, only: '', kind: '', repository: '', subject: '', limit: 100 });
    expect(bucket.report.counts).toEqual(files.report.counts);
    expect(await findings(bucket)).toEqual(await findings(files));
    // S3 tells times in seconds, as does the storage's.
    expect(await stateOf(bucket.database)).toEqual(await stateOf(files.database));
  });

  it('is listed whole, however many pages it takes and whatever names there are', async () => {
    for (let number = 0; number < 1100; number++) file(`many/sub-${number}/link`, 'x');
    for (const name of ['a b', 'plus+', 'per%20cent', 'ä']) file(`odd/${name}/link`, 'x');
    expect((await gather(tree.entries('many'))).length).toBe(1100);
    expect(new Set((await gather(tree.files('many'))).map(({ path }) => path)).size).toBe(1100);
    expect((await gather(tree.entries('odd'))).map(({ name }) => name).sort()).toEqual(['a b', 'per%20cent', 'plus+', 'ä']);
    expect(await gather(tree.entries('nothing'))).toEqual([]);
    await tree.removeFolder('odd');
    expect(await gather(tree.files('odd'))).toEqual([]);
  });

  it.each(FAULTS)('F: %s is asked again, and is never taken for what is there', async (_, fault) => {
    file('one/link', 'a text of more than twenty bytes');
    const works: [string, () => Promise<unknown>, unknown][] = [
      ['read', async () => Buffer.from((await tree.read('one/link', 100))?.bytes ?? []).toString(), 'a text of more than twenty bytes'],
      ['stat', async () => (await tree.stat('one/link'))?.size, 32],
      ['list', async () => (await gather(tree.files('one'))).map(({ path }) => path), ['link']],
      ['stream', async () => Buffer.concat(await gather(tree.stream('one/link', 32))).toString(), 'a text of more than twenty bytes'],
      ['write', async () => await tree.write('other/new', Buffer.from('x')), undefined],
    ];
    for (const [what, work, expected] of works) {
      let left = 2;
      proxy.inject(() => (left-- > 0 ? fault : undefined));
      expect(await work(), what).toEqual(expected);
    }
  });

  it('F: a server that stays down ends in an error, and in no answer', async () => {
    file('one/link', 'x');
    proxy.inject(() => ({ kind: 'answer', status: 503, body: ERROR('SlowDown') }));
    await expect(tree.read('one/link', 100)).rejects.toThrow(/^s3:\/\/registry\/one\/link: (SlowDown|AbortError)/);
    await expect(gather(tree.files('one'))).rejects.toThrow(/SlowDown|AbortError/);
  });

  it('says at once what the server refuses, and what lies in an archive', async () => {
    file('one/link', 'x');
    proxy.inject(() => ({ kind: 'answer', status: 403, body: ERROR('AccessDenied') }));
    proxy.seen.length = 0;
    await expect(tree.read('one/link', 100)).rejects.toThrow('AccessDenied: so it is');
    expect(proxy.seen.length).toBe(1);
    proxy.inject(() => ({ kind: 'answer', status: 403, body: ERROR('InvalidObjectState') }));
    await expect(tree.read('one/link', 100)).rejects.toBeInstanceOf(Unreadable);
  });

  it('gives small files alone, and knows what is not there', async () => {
    file('one/link', 'x'.repeat(100));
    expect(await tree.read('one/link', 99)).toMatchObject({ size: 100 });
    expect((await tree.read('one/link', 99))?.bytes).toBeUndefined();
    expect(await tree.read('one/none', 99)).toBeUndefined();
    expect(await tree.stat('one/none')).toBeUndefined();
    await tree.remove('one/none');
  });
});
