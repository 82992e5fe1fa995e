import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { digestOf } from '@entrepot/oci';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { insertUpload } from '../../catalog/index.ts';
import { type AuditActor, createJobRunner, enqueue, latestJob, loadConfig, sqliteProblems } from '../../platform/index.ts';
import { type TestStorage, testStorage } from '../scrub/testing-storage.ts';
import type { Check, Mend, Report } from './finding.ts';
import { graphChecks } from './graph.ts';
import { hostChecks } from './host.ts';
import { doctorJob } from './jobs.ts';
import { runChecks } from './run.ts';
import { storeChecks } from './store.ts';
import { usageCheck } from './usage.ts';

const actor: AuditActor = { kind: 'command-line', id: null, name: 'test', credential: null };
const config = loadConfig({ env: {}, flags: { dataDir: '/nowhere' } });
const mend = (how: Mend) => how.run();
const other = digestOf('not there');
const HOUR_MS = 3_600_000;

let at: TestStorage;
let layer: string;
let image: { id: number; digest: string };
beforeEach(async () => {
  at = await testStorage();
  at.clock.set(Date.now());
  layer = await at.push();
  image = await at.pushImage('v1', layer, 1000);
});
afterEach(() => at.remove());

/** A statement behind the back of everybody. */
function sql(...statements: string[]): void {
  const database = new DatabaseSync(at.file, { timeout: 5000 });
  database.exec(`PRAGMA foreign_keys=OFF; ${statements.join(';')}`);
  database.close();
}

function examine({
  deep = false,
  over = {},
  ...options
}: {
  deep?: boolean;
  over?: object;
  mend?: (how: Mend) => Promise<void>;
} = {}): Promise<Report> {
  const parts = {
    database: at.database,
    blobs: at.blobs,
    clock: at.clock,
    log: at.log,
    actor,
    sources: [],
    config: { ...config, ...over },
  };
  const checks = [...graphChecks(parts), ...storeChecks({ ...parts, deep })];
  return runChecks(checks, { now: at.clock.now(), signal: new AbortController().signal, ...options });
}
const told = ({ checks }: Report) =>
  checks.flatMap(({ name, findings }) => findings.map(({ severity, where, what }) => `${name} ${severity}: ${where} ${what}`));

it('finds nothing where all is well', async () => {
  expect(await examine({ deep: true })).toMatchObject({ errors: 0, warnings: 0, notices: 0, mended: 0 });
});

describe('tables that contradict each other', () => {
  it.each<[string, () => string, RegExp]>([
    ['a tag that leads nowhere', () => `UPDATE tag SET digest = '${other}'`, /tags error: demo\/app:v1 leads to manifest sha256:/],
    ['a history that says something else', () => `UPDATE tag_history SET digest = '${other}'`, /tags warning: demo\/app:v1 is not what/],
    ['a tag without history', () => 'DELETE FROM tag_history', /tags warning: demo\/app:v1 is not what its history says last \(nothing\)/],
    ['a manifest without bytes', () => 'DELETE FROM manifest_content', /manifests error: demo\/app@sha256:\w+ has no bytes/],
    ['a manifest of another size', () => 'UPDATE manifest SET size = 1', /manifests error: demo\/app@sha256:\w+ has other bytes/],
    [
      'a child that is not there',
      () => `INSERT INTO manifest_reference VALUES (${image.id}, ${at.repositoryId}, '${other}', 'manifest')`,
      /manifests error: .* needs manifest/,
    ],
    ['a blob that is no member', () => 'DELETE FROM repository_blob', /manifests error: demo\/app@sha256:\w+ needs blob/],
    ['a member that the store has no row of', () => 'DELETE FROM stored_blob', /memberships error: .* the store has no row of it/],
    [
      'a member that is being deleted',
      () => "UPDATE stored_blob SET state = 'deleting'",
      /memberships error: .* the store has deleting row/,
    ],
    ['a member of another size', () => 'UPDATE stored_blob SET size = 7', /memberships error: .* has another size/],
  ])('%s', async (_, statement, expected) => {
    sql(statement());
    const report = await examine();
    expect(
      told(report).some((line) => expected.test(line)),
      told(report).join('\n'),
    ).toBe(true);
    const after = await examine({ mend }); // takes a decision
    expect(after.errors + after.warnings).toBeGreaterThan(0);
  });

  it.each<[string, () => string, RegExp]>([
    [
      'a blob that is needed, and marked for collection',
      () => 'UPDATE repository_blob SET unneeded_since = 1',
      /memberships error: .* is needed, but marked/,
    ],
    [
      'needs of a manifest that is gone',
      () => `INSERT INTO manifest_reference VALUES (99, ${at.repositoryId}, '${layer}', 'blob')`,
      /manifests warning: manifest number 99/,
    ],
  ])('%s, which is mended', async (_, statement, expected) => {
    sql(statement());
    expect(told(await examine())).toEqual([expect.stringMatching(expected)]);
    expect(await examine({ mend })).toMatchObject({ mended: 1, errors: 0, warnings: 0 });
    expect(await examine()).toMatchObject({ errors: 0, warnings: 0 });
  });

  it('a project that is counted otherwise than it is, which is mended', async () => {
    sql('UPDATE project_usage SET bytes = bytes + 7');
    const look = (how?: typeof mend) =>
      runChecks([usageCheck(at.database)], { now: 1, signal: new AbortController().signal, ...(how ? { mend: how } : {}) });
    expect(told(await look())).toEqual([
      expect.stringMatching(/^usage error: project demo is counted with \d+ bytes, .* it has \d+ bytes/),
    ]);
    expect(await look(mend)).toMatchObject({ mended: 1, errors: 0 });
    expect(await look()).toMatchObject({ errors: 0 });
  });

  it('blobs that would stay for good are given to collection, however many there are', async () => {
    const rows = Array.from({ length: 1500 }, (__, at) => digestOf(String(at)));
    sql(
      ...rows.map((digest) => `INSERT INTO stored_blob (digest, size, state, stored_at) VALUES ('${digest}', 1, 'live', 1)`),
      ...rows
        .slice(0, 1200)
        .map(
          (digest) =>
            `INSERT INTO repository_blob (repository_id, digest, size, created_at) VALUES (${at.repositoryId}, '${digest}', 1, 1)`,
        ),
    );
    const parts = { database: at.database, clock: at.clock, config };
    const look = (how?: typeof mend) =>
      runChecks(graphChecks(parts), { now: 1, signal: new AbortController().signal, ...(how ? { mend: how } : {}) });
    expect(await look()).toMatchObject({ warnings: 1000 + 300 });
    expect(await look(mend)).toMatchObject({ warnings: 0, mended: 1500 });
    expect(await look()).toMatchObject({ warnings: 0 });
  });

  it('what the configuration allows is only told', async () => {
    sql('DELETE FROM repository_blob');
    expect(await examine({ over: { sparseImages: true } })).toMatchObject({ errors: 0, notices: 1 });
  });
});

describe('the store', () => {
  it('lacks an object, or has another size; with deep, other bytes: quarantine keeps clients from it', async () => {
    const cut = await at.push();
    const flipped = await at.push();
    await at.cut(cut, 10);
    await at.overwrite(flipped, randomBytes(1000));
    expect(told(await examine())).toEqual([`blobs error: ${cut} has 10 bytes, not 1000`]);
    expect(await examine({ deep: true })).toMatchObject({ errors: 2 });
    expect(await examine({ deep: true, mend })).toMatchObject({ errors: 2 + 2, mended: 0 });
    expect(told(await examine({ deep: true })).sort()).toEqual(
      [cut, flipped].sort().map((digest) => expect.stringMatching(`scrub error: ${digest} is in quarantine`)),
    );
  });

  it('has manifests whose bytes are others, or say other things than their rows', async () => {
    sql(`UPDATE manifest_content SET bytes = replace(bytes, '2', '3')`);
    expect(told(await examine())).toEqual([]);
    expect(told(await examine({ deep: true }))).toEqual([expect.stringContaining('content error')]);
  });

  it('has objects that nothing knows of, and leftovers of uploads', async () => {
    const bytes = randomBytes(10);
    await at.blobs.put(digestOf(bytes), bytes);
    for (const id of ['left', 'under-way']) {
      const writer = await at.blobs.openUpload(id, { fence: false });
      await writer.write(bytes, 10, 0);
      await writer.close();
    }
    const row = { id: 'under-way', repository: 'demo/app', owner: 'ann', algorithm: 'sha256', now: at.clock.now() };
    await at.database.write((tx) => insertUpload(tx, row));
    at.clock.set(Date.now() + 26 * HOUR_MS);
    expect(told(await examine())).toEqual([
      expect.stringContaining('objects notice: the store 1 objects (10 bytes)'),
      'uploads warning: upload left was left by a crash, and nobody can go on with it',
    ]);
    expect(await examine({ mend })).toMatchObject({ mended: 1, warnings: 0 });
    expect(await at.blobs.uploadSize('under-way')).toBe(10);
    expect(await at.blobs.uploadSize('left')).toBe(0);
  });
});

describe('the host', () => {
  it('lets others read keys, or lacks them; modes are mended', async () => {
    const root = mkdtempSync(join(tmpdir(), 'entrepot-doctor-'));
    try {
      const paths = {
        root,
        database: join(root, 'entrepot.db'),
        keys: join(root, 'keys'),
        blobs: join(root, 'storage'),
        restoring: join(root, 'restoring'),
      };
      mkdirSync(paths.keys, { mode: 0o700 });
      writeFileSync(join(paths.keys, 'master.key'), 'x', { mode: 0o600 });
      writeFileSync(paths.restoring, 'x');
      chmodSync(join(paths.keys, 'master.key'), 0o640);
      const look = async (how?: typeof mend) =>
        told(
          await runChecks(hostChecks(paths).slice(0, 1), { now: 1, signal: new AbortController().signal, ...(how ? { mend: how } : {}) }),
        );
      expect(await look()).toEqual([
        `files error: ${root} is the half of a restore`,
        expect.stringContaining('audit.key is missing: without it checkpoints'),
        expect.stringContaining('master.key may be used by others (mode 640)'),
      ]);
      await look(mend);
      expect(statSync(join(paths.keys, 'master.key')).mode & 0o777).toBe(0o600);
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  });

  it('has a damaged database file', () => {
    expect(sqliteProblems(at.file)).toEqual([]);
    sql(
      `INSERT INTO tag_history (repository_id, name, changed_at, changed_by) SELECT 1, 'x', 1, hex(randomblob(200)) FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) SELECT i FROM n)`,
      'PRAGMA wal_checkpoint(TRUNCATE)',
    );
    const bytes = Buffer.from(randomBytes(4096 * 8));
    const copy = `${at.file}.copy`;
    const whole = new DatabaseSync(at.file, { readOnly: true });
    whole.prepare('VACUUM INTO ?').run(copy);
    whole.close();
    const size = statSync(copy).size;
    const file = new Uint8Array(size);
    file.set(bytes.subarray(0, Math.min(bytes.length, size)), 0);
    writeFileSync(copy, file);
    expect(sqliteProblems(copy).length).toBeGreaterThan(0);
    sql('DELETE FROM project');
    expect(sqliteProblems(at.file)).toEqual([expect.stringMatching(/^row \d+ of repository has no row of project$/)]);
  });
});

describe('a check', () => {
  it('that fails is an error of its own, and ends no other', async () => {
    const failing: Check = {
      name: 'failing',
      title: 'what fails',
      // biome-ignore lint/correctness/useYield: it fails before
      async *run() {
        throw new Error('out of reach');
      },
    };
    const report = await runChecks([failing, ...graphChecks({ database: at.database, clock: at.clock, config })], {
      now: 1,
      signal: new AbortController().signal,
    });
    expect(report).toMatchObject({ errors: 1, checks: [{ failure: 'out of reach' }, {}, {}, {}] });
  });

  it('runs in the server when it is asked for, and its report is kept', async () => {
    sql(`UPDATE tag SET digest = '${other}'`);
    const definitions = [doctorJob({ database: at.database, blobs: at.blobs, clock: at.clock, log: at.log, config })];
    const jobs = createJobRunner({ database: at.database, clock: at.clock, log: at.log, holder: 'test', definitions });
    await at.database.write((tx) => enqueue(tx, { kind: 'doctor', payload: { deep: true }, now: at.clock.now() }));
    await jobs.runDue();
    expect((await latestJob(at.database, 'doctor', 'done'))?.result).toMatchObject({ errors: 1 });
  });
});
