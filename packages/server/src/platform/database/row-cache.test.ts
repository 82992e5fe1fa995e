import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { queriesOf } from './query.ts';
import { RowCache } from './row-cache.ts';

interface Tables {
  apple: { id: number; name: string };
  pear: { id: number; name: string };
}
const query = queriesOf<Tables>('row-cache-test');
const apple = query<{ id: number }>()('apple', (db, p) => db.selectFrom('apple').select('name').where('id', '=', p('id')));
const both = query<{ id: number }>()('both', (db, p) =>
  db.selectFrom('pear').innerJoin('apple', 'apple.id', 'pear.id').select('apple.name').where('pear.id', '=', p('id')),
);

let folder: string;
let own: DatabaseSync;
let rows: RowCache;
let reads: number;

const open = () => {
  const database = new DatabaseSync(join(folder, 'x.db'));
  database.exec('PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0');
  return database;
};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'entrepot-rows-'));
  own = open();
  own.exec(
    "CREATE TABLE apple (id, name); CREATE TABLE pear (id, name); INSERT INTO apple VALUES (1, 'a'); INSERT INTO pear VALUES (1, 'p')",
  );
  rows = new RowCache(join(folder, 'x.db-shm'));
  reads = 0;
});
afterEach(() => {
  rows.close();
  own.close();
  rmSync(folder, { recursive: true });
});

const read = (of = apple) =>
  rows.first(of, { id: 1 }, () => {
    reads++;
    return own.prepare('SELECT name FROM apple WHERE id = 1').get() as { name: string };
  })?.name;

/** What this process writes, as the database does it. */
function write(sql: string, tables: string[], between: () => void = () => undefined): void {
  own.exec('BEGIN IMMEDIATE');
  rows.locked();
  own.exec(sql);
  own.exec('COMMIT');
  between();
  rows.committed(new Set(tables));
}

/** Later, as another request would be. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

test('a row is read once, and again after its table changed', () => {
  expect([read(), read(), reads]).toEqual(['a', 'a', 1]);
  write("UPDATE apple SET name = 'b'", ['apple']);
  expect([read(), read(), reads]).toEqual(['b', 'b', 2]);
});

test('own changes of other tables leave it, those of any table of a join do not', () => {
  expect([read(), read(both), reads]).toEqual(['a', 'a', 2]);
  write("UPDATE pear SET name = 'q'", ['pear']);
  expect([read(), reads]).toEqual(['a', 2]);
  expect([read(both), reads]).toEqual(['a', 3]);
  write('SELECT 1', []);
  expect([read(), read(both), reads]).toEqual(['a', 'a', 3]);
});

test("another process' change drops all rows: before, between and right after our own", async () => {
  const other = open();
  const change = (name: string) => other.exec(`UPDATE apple SET name = '${name}'`);
  expect(read()).toBe('a');
  change('before');
  await turn();
  expect([read(), reads]).toEqual(['before', 2]);

  change('unseen');
  write("UPDATE pear SET name = 'r'", ['pear']);
  expect([read(), reads]).toEqual(['unseen', 3]);

  write("UPDATE pear SET name = 's'", ['pear'], () => change('at once'));
  expect([read(), reads]).toEqual(['at once', 4]);
  other.close();
});

test('a checkpoint that begins the log anew costs no more than reading again', async () => {
  expect(read()).toBe('a');
  own.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  write("UPDATE apple SET name = 'c'", ['apple']);
  await turn();
  expect(read()).toBe('c');
  write("UPDATE pear SET name = 't'", ['pear']);
  expect([read(), reads]).toEqual(['c', 2]);
});
