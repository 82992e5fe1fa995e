import { mkdtempSync, rmSync } from 'node:fs';
import { utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { migrations } from './app.ts';
import { countUploads, findUpload, insertUpload, leaseUpload, uploadLease } from './catalog/index.ts';
import { type BlobStore, openFileStore } from './content/index.ts';
import { housekeepingJobs } from './housekeeping.ts';
import { roomData } from './platform/database/testing.ts';
import { createJobRunner, type Database } from './platform/index.ts';

const HOUR = 3_600_000;
let folder: string;
let store: ReturnType<typeof roomData>;
let database: Database;
let blobs: BlobStore;
let now: number;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'entrepot-test-'));
  store = roomData(migrations);
  database = await store.open();
  blobs = openFileStore(folder);
  now = Date.now();
});
afterEach(async () => {
  await store.remove();
  rmSync(folder, { recursive: true });
});

async function keepHouse(onRow: () => Promise<void> = async () => undefined): Promise<void> {
  const watched: Database = Object.assign(Object.create(database) as Database, {
    all: async (...words: Parameters<Database['all']>) => {
      const rows = await database.all(...words);
      await onRow();
      return rows;
    },
    write: database.write.bind(database),
    first: database.first.bind(database),
  });
  const clock = { now: () => now };
  const definitions = housekeepingJobs({ database: watched, blobs, clock, uploadExpiryHours: 24, consumers: [] });
  await createJobRunner({ database, clock, log: pino({ level: 'silent' }), definitions, holder: 'test' }).runDue();
}

/** An upload of a few bytes, last touched so many hours ago; without a row it is what a crash left. */
async function upload(id: string, hours: number, row = true): Promise<void> {
  const at = now - hours * HOUR;
  const writer = await blobs.openUpload(id, { fence: false });
  await writer.write(Buffer.from('some'), 4, 0);
  await writer.close();
  await utimes(join(folder, 'uploads', id), at / 1000, at / 1000);
  if (row) await database.write((tx) => insertUpload(tx, { id, repository: 'demo/app', owner: 'user:1', algorithm: 'sha256', now: at }));
}

test('uploads that nobody continued expire, others stay, and so do those under way', async () => {
  await upload('old', 25);
  await upload('young', 23);
  await upload('held', 25);
  await upload('left-by-a-crash', 25, false);
  await upload('just-begun', 0, false);
  await database.write((tx) => leaseUpload(tx, 'held', uploadLease('one'), now - 25 * HOUR, now + 1000));
  await keepHouse();
  expect(await countUploads(database)).toBe(2);
  const sizes = async (...ids: string[]) => await Promise.all(ids.map((id) => blobs.uploadSize(id)));
  expect(await sizes('old', 'left-by-a-crash')).toEqual([0, 0]);
  expect(await sizes('young', 'held', 'just-begun')).toEqual([4, 4, 4]);
});

test('an upload that goes on just when it would expire is kept whole', async () => {
  await upload('late', 25);
  let once = true;
  await keepHouse(async () => {
    if (!once) return;
    once = false;
    await database.write((tx) => leaseUpload(tx, 'late', uploadLease('one'), now, now + 30_000));
  });
  expect(await findUpload(database, 'late')).toBeDefined();
  expect(await blobs.uploadSize('late')).toBe(4);
});
