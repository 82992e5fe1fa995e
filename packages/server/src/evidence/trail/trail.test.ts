import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSqlite } from '../../platform/database/sqlite.ts';
import {
  type AuditEntry,
  audit,
  auditHead,
  auditMigrations,
  createJobRunner,
  createLog,
  type Database,
  jobMigrations,
} from '../../platform/index.ts';
import { forwardingMigrations } from '../forwarding/schema.ts';
import { allCheckpoints, checkpointJob, readCheckpointFile } from './checkpoints.ts';
import { exportLines, openExport } from './export.ts';
import { isHeldBy, pageOfHolds, placeHold, releaseHold } from './holds.ts';
import { recordsInOrder } from './records.ts';
import { firstRecordOf, retentionJob } from './retention.ts';
import { trailMigrations } from './schema.ts';
import { verifyTrail } from './trail.ts';

const START = Date.UTC(2026, 0, 1);
const DAY = 24 * 3_600_000;
let folder: string;
let path: string;
let file: string;
let database: Database;
let now: number;
let keys: { privateKey: KeyObject; publicKey: KeyObject };
const clock = { now: () => now };
const log = createLog('silent');

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'entrepot-trail-'));
  path = join(folder, 'test.db');
  file = join(folder, 'audit', 'checkpoints.ndjson');
  now = START;
  keys = generateKeyPairSync('ed25519');
  database = openSqlite(path, { checkpoint: false });
  await database.migrate([...jobMigrations, ...auditMigrations, ...forwardingMigrations, ...trailMigrations]);
});
afterEach(async () => {
  await database.close();
  rmSync(folder, { recursive: true });
});

function entry(number: number): AuditEntry {
  const actor = { kind: 'user', id: number, name: `user-${number}`, credential: { kind: 'password', id: null } } as const;
  const origin = { client: '192.0.2.1', userAgent: 'test', requestId: `r${number}` };
  return { actor, origin, action: 'project.create', resource: { type: 'project', project: `p${number}` }, outcome: 'success' };
}

async function record(count: number): Promise<void> {
  for (let number = 0; number < count; number++) {
    now += 1000;
    await database.write((tx) => audit(tx, entry(number), clock));
  }
}

/** Runs what is due, a minute later. */
async function sign(): Promise<void> {
  now += 61_000;
  const definitions = [checkpointJob({ database, clock, log, key: keys.privateKey, file })];
  const runner = createJobRunner({ database, clock, log, holder: 'test', definitions });
  await runner.runDue();
  await runner.stop();
}

async function verify() {
  const checkpoints = [];
  for await (const checkpoint of allCheckpoints(database)) checkpoints.push(checkpoint);
  const head = await auditHead(database);
  const first = (await firstRecordOf(database)) ?? 1;
  const records = recordsInOrder(database, first, Number.MAX_SAFE_INTEGER);
  return await verifyTrail(
    { records, head, checkpoints: [...checkpoints, ...readCheckpointFile(file)], first, isWhole: true },
    keys.publicKey,
  );
}

/** Does what somebody with the database in hand could. */
function tamper(sql: string): void {
  const raw = new DatabaseSync(path);
  raw.exec(sql);
  raw.close();
}

describe('the audit trail', () => {
  it('is as it was written', async () => {
    await record(5);
    await sign();
    await record(3);
    expect(await verify()).toEqual({ seq: 8, records: 8, checkpoints: 1 });
    expect(readCheckpointFile(file)).toHaveLength(1);
  });

  it('is empty where nothing was recorded', async () => {
    expect(await verify()).toEqual({ seq: 0, records: 0, checkpoints: 0 });
  });

  it.each([
    ['a changed text', `UPDATE audit_record SET body = replace(body, 'user-3', 'user-9') WHERE seq = 4`, 4],
    ['a changed column', `UPDATE audit_record SET actor = 'user:nobody' WHERE seq = 4`, 4],
    ['a changed time', 'UPDATE audit_record SET at = at + 1 WHERE seq = 4', 4],
    ['a changed hash', `UPDATE audit_record SET hash = 'ff' WHERE seq = 4`, 4],
    ['a deletion', 'DELETE FROM audit_record WHERE seq = 4', 4],
    ['a deletion at the beginning', 'DELETE FROM audit_record WHERE seq = 1', 1],
    [
      'records that changed places',
      'UPDATE audit_record SET seq = 100 WHERE seq = 4; UPDATE audit_record SET seq = 4 WHERE seq = 5; UPDATE audit_record SET seq = 5 WHERE seq = 100',
      4,
    ],
    ['an end cut off', 'DELETE FROM audit_record WHERE seq = 8', 8],
    [
      'an end cut off, and the head with it',
      'DELETE FROM audit_record WHERE seq > 3; UPDATE audit_head SET seq = 3, hash = (SELECT hash FROM audit_record WHERE seq = 3)',
      4,
    ],
    ['everything deleted', 'DELETE FROM audit_record; DELETE FROM audit_head; DELETE FROM audit_checkpoint', 1],
    ['another head', 'UPDATE audit_head SET seq = 7', 8],
    ['a changed checkpoint', `UPDATE audit_checkpoint SET body = replace(body, '"seq":5', '"seq":4')`, 4],
    [
      'an inserted record',
      `INSERT INTO audit_record SELECT 9, at, actor, action, outcome, project, repository, body, hash FROM audit_record WHERE seq = 8`,
      9,
    ],
  ])('names the first record of %s', async (_, sql, seq) => {
    await record(5);
    await sign();
    await record(3);
    tamper(sql);
    expect(await verify()).toMatchObject({ seq });
    expect(await verify()).toHaveProperty('problem');
  });

  it('names what was signed, also where the whole chain was computed anew', async () => {
    await record(5);
    await sign();
    tamper('DELETE FROM audit_record; DELETE FROM audit_head');
    now = START + 5;
    await record(5);
    expect(await verify()).toMatchObject({ seq: 5, problem: expect.stringContaining('written anew') });
  });

  it('shows any single change of any record', async () => {
    await record(6);
    await sign();
    const columns = ['at', 'actor', 'action', 'outcome', 'project', 'repository', 'body', 'hash'];
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 6 }),
        fc.constantFrom(...columns),
        fc.string({ minLength: 1 }),
        async (seq, column, text) => {
          const raw = new DatabaseSync(path);
          const before = raw.prepare(`SELECT ${column} AS value FROM audit_record WHERE seq = ?`).get(seq)?.value ?? null;
          const after = column === 'at' ? text.length : text;
          fc.pre(before !== after);
          raw.prepare(`UPDATE audit_record SET ${column} = ? WHERE seq = ?`).run(after, seq);
          const found = await verify();
          raw.prepare(`UPDATE audit_record SET ${column} = ? WHERE seq = ?`).run(before, seq);
          raw.close();
          expect(found).toMatchObject({ seq });
        },
      ),
      { numRuns: 60 },
    );
    expect(await verify()).toMatchObject({ records: 6 });
  });

  it('is not signed any more once it was changed', async () => {
    await record(3);
    await sign();
    await record(3);
    tamper(`UPDATE audit_record SET actor = 'user:other' WHERE seq = 5`);
    await sign();
    expect(readCheckpointFile(file)).toHaveLength(1);
  });

  it('accepts no checkpoint of another key', async () => {
    await record(3);
    await sign();
    keys = generateKeyPairSync('ed25519');
    expect(await verify()).toMatchObject({ seq: 3, problem: expect.stringContaining('signature') });
  });

  describe('exported', () => {
    const exported = async (from: number, to: number) => {
      let text = '';
      for await (const line of exportLines(database, { from, to })) text += line;
      const target = join(folder, 'export.ndjson');
      writeFileSync(target, text);
      return target;
    };

    it('verifies from its beginning, and from a checkpoint on', async () => {
      await record(5);
      await sign();
      await record(5);
      await sign();
      expect(await verifyTrail(await openExport(await exported(1, 100)), keys.publicKey)).toMatchObject({ seq: 10, records: 10 });
      expect(await verifyTrail(await openExport(await exported(6, 8)), keys.publicKey)).toMatchObject({ seq: 8, records: 3 });
    });

    it('names the first bad record after any line was changed, removed or moved', async () => {
      await record(5);
      await sign();
      const target = await exported(1, 100);
      const lines = readFileSync(target, 'utf8').trimEnd().split('\n');
      const records = lines.findIndex((line) => line.includes('"record"'));
      for (let at = records; at < lines.length; at++) {
        const seq = at - records + 1;
        const without = lines.filter((_, index) => index !== at);
        const changed = lines.map((line, index) => (index === at ? line.replace('192.0.2.1', '192.0.2.2') : line));
        for (const some of [without, changed]) {
          writeFileSync(target, `${some.join('\n')}\n`);
          expect(await verifyTrail(await openExport(target), keys.publicKey)).toMatchObject({ seq, problem: expect.any(String) });
        }
      }
    });
  });

  describe('after retention', () => {
    const retain = async (legalHold = false) => {
      const definition = retentionJob({ database, clock, days: 30, legalHold });
      if ((await definition.ready?.()) === false) return;
      const context = { signal: new AbortController().signal, attempt: 1, hold: async () => undefined, progress: async () => undefined };
      await definition.run(null, context);
    };

    it('begins at a signed place, and still verifies', async () => {
      await record(5);
      await sign();
      now += 40 * DAY;
      await record(2);
      await retain(true);
      expect(await firstRecordOf(database)).toBe(1);
      await retain();
      expect(await firstRecordOf(database)).toBe(6);
      await sign();
      expect(await verify()).toMatchObject({ seq: 8, records: 3 });
    });

    it('waits for holds, also for one that is placed while it goes on, and goes on where they are released', async () => {
      for (let segment = 0; segment < 3; segment++) {
        await record(4);
        await sign();
        now += 1000;
      }
      now += 40 * DAY;
      const place = (name: string) => database.write((tx) => placeHold(tx, { name, reason: 'case 17' }, 'ann', now));
      const first = await place('case');
      expect(await database.write((tx) => isHeldBy(tx, 'case'))).toBe(true);
      await retain();
      expect(await firstRecordOf(database)).toBe(1);
      await database.write((tx) => releaseHold(tx, first, 'bob', now));
      expect(await database.write((tx) => releaseHold(tx, first, 'bob', now))).toBe(false);
      // A hold that comes after the record of retention, and before its first step.
      const definition = retentionJob({ database, clock, days: 30, legalHold: false });
      let second: number | undefined;
      const slow: Database = Object.assign(Object.create(database) as Database, {
        write: async (work: never, options?: { durable?: boolean }) => {
          if (options?.durable === false) second ??= await place('late');
          return await database.write(work, options);
        },
        all: database.all.bind(database),
        first: database.first.bind(database),
      });
      const context = { signal: new AbortController().signal, attempt: 1, hold: async () => undefined, progress: async () => undefined };
      expect(await retentionJob({ database: slow, clock, days: 30, legalHold: false }).run(null, context)).toEqual({
        dropped: 0,
        held: true,
      });
      expect(await firstRecordOf(database)).toBe(1);
      expect(await definition.ready?.()).toBe(false);
      await database.write((tx) => releaseHold(tx, second ?? 0, 'bob', now));
      await retain();
      expect(await firstRecordOf(database)).toBe(13);
      await sign();
      expect(await verify()).not.toHaveProperty('problem');
      expect(await pageOfHolds(database, Number.MAX_SAFE_INTEGER, 10)).toMatchObject([
        { name: 'late', releasedBy: 'bob' },
        { name: 'case', reason: 'case 17', placedBy: 'ann', releasedBy: 'bob' },
      ]);
    });

    it('differs from a deletion of the same records', async () => {
      await record(5);
      await sign();
      await record(2);
      tamper('DELETE FROM audit_record WHERE seq <= 5');
      expect(await verify()).toMatchObject({ seq: 1, problem: expect.stringContaining('retention') });
    });
  });
});
