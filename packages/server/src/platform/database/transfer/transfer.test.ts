import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import fc from 'fast-check';
import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Migration } from '../database.ts';
import { openSqlite } from '../sqlite.ts';
import { type Cluster, newDatabase, sharedCluster } from '../testing-postgres.ts';
import { differencesBetween, postgresToSqlite, sqliteToPostgres } from './transfer.ts';

const migrations: readonly Migration[] = [
  {
    name: 'test-transfer',
    up: ({ db, types }) => [
      db.schema
        .createTable('parent')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('text', 'text')
        .addColumn('whole', 'bigint')
        .addColumn('real', 'double precision')
        .addColumn('bytes', types.bytes as 'blob'),
      db.schema.createIndex('parent_whole').on('parent').columns(['whole', 'id']),
      db.schema
        .createTable('child')
        .addColumn('name', 'text', (c) => c.primaryKey())
        .addColumn('parent_id', 'integer', (c) => c.notNull().references('parent.id')),
      db.schema.createTable('made').addColumn('id', 'integer', (c) => c.primaryKey()),
      db.insertInto('made' as never).values({ id: sql.lit(1) } as never),
    ],
  },
];

const options = { signal: new AbortController().signal, progress: () => undefined };
let cluster: Pick<Cluster, 'url' | 'sql'>;
let made: Awaited<ReturnType<typeof newDatabase>>;
let folder: string;
let file: string;
let back: string;

beforeAll(async () => {
  cluster = await sharedCluster();
  made = await newDatabase(cluster);
  folder = mkdtempSync(join(tmpdir(), 'entrepot-transfer-'));
});
afterAll(async () => {
  await made.drop();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => fresh());

/** An empty PostgreSQL database, and a migrated file of SQLite. */
async function fresh(): Promise<void> {
  await cluster.sql('DROP SCHEMA public CASCADE; CREATE SCHEMA public', made.name);
  file = join(folder, `${Math.random()}.db`);
  back = `${file}.back`;
  const database = openSqlite(file, { checkpoint: true });
  await database.migrate(migrations);
  await database.close();
}

function sqlite<T>(work: (raw: DatabaseSync) => T, path = file): T {
  const raw = new DatabaseSync(path, { enableForeignKeyConstraints: false });
  try {
    return work(raw);
  } finally {
    raw.close();
  }
}

function everything(path: string): unknown {
  return sqlite((raw) => {
    const tables = raw.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").all();
    const objects = raw.prepare("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite%' ORDER BY name").all();
    const rows = tables.map(({ name }) => {
      const statement = raw.prepare(`SELECT * FROM "${String(name)}" ORDER BY 1`);
      statement.setReadBigInts(true);
      return { name, rows: statement.all() };
    });
    return { objects, rows };
  }, path);
}

const toPostgres = () => sqliteToPostgres(file, made.url, migrations, options);
const toSqlite = () => postgresToSqlite(made.url, back, migrations, options);
const differs = () => differencesBetween(file, made.url, migrations, options);

describe('copying a database to another kind', () => {
  it('keeps every value, there and back', { timeout: 60_000 }, async () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 200 }).map((value) => value.replaceAll('\0', '').toWellFormed()),
      fc.constantFrom('', '\\', '{}', '{"a",NULL}', 'NULL', '"', "'", '\r\n\t', 'é\u0301\u{10ffff}\u200b', '\\x00', 'x'.repeat(9000)),
    );
    const whole = fc.oneof(
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      fc.constantFrom(-(2n ** 63n), 2n ** 63n - 1n, 2n ** 53n + 1n, 0n),
    );
    const real = fc.oneof(
      fc.double({ noNaN: true }),
      fc.constantFrom(Number.MAX_VALUE, Number.MIN_VALUE, 5e-324, 0.1, Infinity, -Infinity),
    );
    const bytes = fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.constantFrom(new Uint8Array(0), new Uint8Array(40_000).fill(0xff)));
    const nullable = <T>(values: fc.Arbitrary<T>) => fc.option(values, { nil: null, freq: 4 });
    const row = fc.record({ text: nullable(text), whole: nullable(whole), real: nullable(real), bytes: nullable(bytes) });
    await fc.assert(
      fc.asyncProperty(fc.array(row, { maxLength: 25 }), fc.nat(5), async (rows, gone) => {
        await fresh();
        sqlite((raw) => {
          const insert = raw.prepare('INSERT INTO parent (text, whole, real, bytes) VALUES (?, ?, ?, ?)');
          for (const each of rows) insert.run(each.text, each.whole, each.real, each.bytes);
          raw.prepare('DELETE FROM parent WHERE id > ?').run(rows.length - gone);
          raw.exec('DELETE FROM made');
          raw.exec("INSERT INTO child SELECT 'of ' || id, id FROM parent");
        });
        const sums = await toPostgres();
        expect(sums.get('parent')?.rows).toBe(Math.max(0, rows.length - gone));
        expect(await differs()).toEqual([]);
        await toSqlite();
        expect(everything(back)).toEqual(everything(file));
      }),
      { numRuns: 5, endOnFailure: true },
    );
  });

  it('goes on counting where the other stopped, though the last rows are gone', async () => {
    sqlite((raw) => raw.exec("INSERT INTO parent (id, text) VALUES (41, 'a'), (42, 'b'); DELETE FROM parent"));
    await toPostgres();
    expect(await cluster.sql('INSERT INTO parent (text) VALUES (NULL) RETURNING id::int', made.name)).toEqual([{ id: 43 }]);
    await cluster.sql('DELETE FROM parent', made.name);
    await toSqlite();
    expect(sqlite((raw) => raw.prepare('INSERT INTO parent (text) VALUES (NULL) RETURNING id').all(), back)).toEqual([{ id: 44 }]);
  });

  it('names every row that PostgreSQL would not take, and stores nothing', async () => {
    sqlite((raw) => {
      raw.exec("INSERT INTO parent (id, text) VALUES (1, 'a' || char(0)); INSERT INTO parent (id, whole) VALUES (2, 'eleven'), (3, 1.5)");
      raw.exec("INSERT INTO parent (id, text) VALUES (4, x'00'); INSERT INTO child VALUES (NULL, 1)");
    });
    const refused = expect(toPostgres()).rejects;
    await refused.toThrow(
      /child \(name null\): name is NULL\n.*\(id 1\): text has the character U\+0000.*\n.*\(id 2\): whole is no whole.*\n.*\(id 3\): whole.*\n.*\(id 4\): text is no text/,
    );
    expect(await cluster.sql("SELECT 1 FROM pg_class WHERE relname = 'parent'", made.name)).toEqual([]);
  });

  it('says which row names another one that is not there', async () => {
    sqlite((raw) => raw.exec("INSERT INTO child VALUES ('orphan', 7)"));
    await expect(toPostgres()).rejects.toThrow(/nothing was stored.*child.*foreign key.*parent_id.*7/);
    expect(await cluster.sql("SELECT 1 FROM pg_class WHERE relname = 'parent'", made.name)).toEqual([]);
  });

  it('refuses a database in which there is something, and one of another version', async () => {
    await cluster.sql('CREATE TABLE other (id int)', made.name);
    await expect(toPostgres()).rejects.toThrow('is not empty: it has other');
    await cluster.sql('DROP TABLE other', made.name);
    sqlite((raw) => raw.exec("INSERT INTO migration VALUES ('9999-later', 1)"));
    await expect(toPostgres()).rejects.toThrow('newer version, which made 9999-later');
    sqlite((raw) => raw.exec('DELETE FROM migration'));
    await expect(toPostgres()).rejects.toThrow('older version');
    await expect(toSqlite()).rejects.toThrow('older version');
  });

  it('leaves nothing of what was cut off, and may be done again', async () => {
    sqlite((raw) =>
      raw.exec('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) INSERT INTO parent (whole) SELECT i FROM n'),
    );
    const stop = new AbortController();
    const cut = { signal: stop.signal, progress: (_: string, rows: number) => rows > 1500 && stop.abort(new Error('ended')) };
    await expect(sqliteToPostgres(file, made.url, migrations, { ...cut, progress: (t, n) => void cut.progress(t, n) })).rejects.toThrow(
      'ended',
    );
    await toPostgres();
    const again = new AbortController();
    const progress = () => again.abort(new Error('ended'));
    await expect(postgresToSqlite(made.url, back, migrations, { signal: again.signal, progress })).rejects.toThrow('ended');
    expect(() => sqlite((raw) => raw.exec('SELECT * FROM parent'), back)).toThrow('no such table');
    await toSqlite();
    expect(everything(back)).toEqual(everything(file));
  });

  it('is of one moment, whatever is written meanwhile', async () => {
    await toPostgres();
    const late: Promise<unknown>[] = [];
    const progress = (table: string) =>
      void (table === 'child' && late.length === 0 && late.push(cluster.sql('INSERT INTO parent (id) VALUES (2)', made.name)));
    await cluster.sql("INSERT INTO parent (id) VALUES (1); INSERT INTO child VALUES ('early', 1)", made.name);
    const sums = await postgresToSqlite(made.url, back, migrations, { ...options, progress });
    expect(await Promise.all(late)).toHaveLength(1);
    expect([sums.get('parent')?.rows, sums.get('child')?.rows]).toEqual([1, 1]);
  });

  it.each(["UPDATE child SET name = 'b'", "INSERT INTO child VALUES ('c', 1)", 'DELETE FROM child', 'UPDATE parent SET bytes = NULL'])(
    'notices that a copy is another: %s',
    async (change) => {
      sqlite((raw) => raw.exec("INSERT INTO parent (id, bytes) VALUES (1, x'00'); INSERT INTO child VALUES ('a', 1)"));
      await toPostgres();
      expect(await differs()).toEqual([]);
      await cluster.sql(change, made.name);
      expect(await differs()).toHaveLength(1);
    },
  );
});
