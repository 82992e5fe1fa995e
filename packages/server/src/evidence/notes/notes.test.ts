import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { roomData, type TestData } from '../../platform/database/testing.ts';
import { type AuditNote, auditMigrations, type Database, queriesOf } from '../../platform/index.ts';
import { createNotes, type NoteWriter } from './notes.ts';

const query = queriesOf<{ audit_record: { seq: number; body: string } }>('evidence-notes-test');
const bodies = query()('bodies', (db) => db.selectFrom('audit_record').select('body').orderBy('seq'));

interface Recorded {
  readonly action: string;
  readonly outcome: string;
  readonly reason?: string;
  readonly count?: number;
  readonly resource: { readonly name?: string; readonly type: string };
}

let data: TestData;
let database: Database;
let now: number;
let notes: NoteWriter;

beforeEach(async () => {
  now = Date.UTC(2026, 0, 1);
  data = roomData(auditMigrations);
  database = await data.open();
  notes = make();
});
afterEach(() => data.remove());

function make(): NoteWriter {
  const parts = { database, clock: { now: () => now }, log: pino({ level: 'silent' }) };
  return createNotes({ ...parts, sourceOf: (client) => client, isKnown: async (name) => name === 'alice' });
}

function note(client: string, more: Partial<AuditNote> = {}): AuditNote & { reason: string } {
  const actor = { kind: 'anonymous', id: null, name: 'anonymous', credential: null } as const;
  const origin = { client, userAgent: 'test', requestId: 'r' };
  return { actor, origin, action: 'session.create', resource: { type: 'session' }, reason: 'wrong', ...more };
}

async function written(): Promise<Recorded[]> {
  await notes.flush();
  return (await database.all(bodies, {})).map(({ body }) => JSON.parse(body) as Recorded);
}

test('equal denials of a window are one record with their count; the next window begins anew', async () => {
  for (let i = 0; i < 1000; i++) notes.denied(note('192.0.2.1'));
  notes.denied(note('192.0.2.2'));
  expect((await written()).map(({ count, outcome, reason }) => [count, outcome, reason])).toEqual([
    [1000, 'denied', 'wrong'],
    [undefined, 'denied', 'wrong'],
  ]);
  notes.denied(note('192.0.2.1'));
  expect(await written()).toHaveLength(3);
});

test('a source that makes every denial different fills no disk, and takes no room from another', async () => {
  for (let i = 0; i < 5000; i++) notes.denied(note('192.0.2.1', { reason: `wrong ${i}` }));
  notes.denied(note('192.0.2.2'));
  const records = await written();
  expect(records).toHaveLength(22);
  expect(records.find(({ action }) => action === 'audit.denials')?.count).toBe(4980);
  expect(records.at(-1)?.action).toBe('session.create');
});

test('many sources together are bounded too, and after a while there is room again', async () => {
  for (let i = 0; i < 5000; i++) notes.denied(note(`2001:db8::${i.toString(16)}`));
  const records = await written();
  expect(records).toHaveLength(1001);
  expect(records.at(-1)).toMatchObject({ action: 'audit.denials', count: 4000, reason: 'different denials of many sources' });
  now += 10_000;
  for (let i = 0; i < 100; i++) notes.denied(note(`192.0.2.${i}`));
  expect(await written()).toHaveLength(1001 + 30 + 1);
});

test('F4 the name of a failed login is told only where somebody has it: it may be a password in the wrong place', async () => {
  notes.denied(note('192.0.2.1'), 'alice');
  notes.denied(note('192.0.2.1'), 'hunter2');
  expect((await written()).map(({ resource }) => resource.name)).toEqual(['alice', undefined]);
});

test('equal pulls are one record with their count', async () => {
  const pull = note('192.0.2.1', { action: 'artifact.pull', resource: { type: 'artifact', repository: 'demo/app' } });
  for (let i = 0; i < 3; i++) notes.pulled(pull);
  expect(await written()).toMatchObject([{ action: 'artifact.pull', outcome: 'success', count: 3 }]);
});
