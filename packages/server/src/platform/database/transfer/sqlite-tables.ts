import { DatabaseSync } from 'node:sqlite';
import type { Migration } from '../database.ts';
import { applyMigrations, MIGRATION_TABLE } from '../sqlite-migrations.ts';
import { BATCH_BYTES, BATCH_ROWS, type Row, weightOf } from './rows.ts';
import type { Table } from './shape.ts';
import type { Source, Target } from './transfer.ts';

/** Tables of a file of SQLite that nobody writes to meanwhile. */
export function openSqliteTables(path: string): Source {
  const raw = new DatabaseSync(path, { readOnly: true });
  return { ...readerOf(raw), end: async () => raw.close() };
}

function readerOf(raw: DatabaseSync): Omit<Source, 'end'> {
  return {
    async migrations() {
      const rows = raw.prepare('SELECT name FROM migration').all();
      return rows.map(({ name }) => String(name));
    },

    async *rows({ name, columns }) {
      const statement = raw.prepare(`SELECT ${columns.map((column) => `"${column.name}"`).join(', ')} FROM "${name}"`);
      statement.setReadBigInts(true);
      statement.setReturnArrays(true);
      let batch: Row[] = [];
      let bytes = 0;
      for (const row of statement.iterate() as unknown as Iterable<Row>) {
        batch.push(row);
        bytes += weightOf(row);
        if (batch.length < BATCH_ROWS && bytes < BATCH_BYTES) continue;
        yield batch;
        batch = [];
        bytes = 0;
      }
      if (batch.length > 0) yield batch;
    },

    async lastNumber({ name, numbered }) {
      if (numbered === undefined) return 0n;
      const statement = raw.prepare('SELECT seq FROM sqlite_sequence WHERE name = ?');
      statement.setReadBigInts(true);
      return (statement.get(name) as { seq: bigint } | undefined)?.seq ?? 0n;
    },
  };
}

/**
 * Makes a database of SQLite in a new file. It is whole once `finish` has resolved, and not synced: until then it is of no
 * use to anybody, so it is written without a journal, in one go, and its indexes are built at the end.
 */
export function makeSqliteTables(path: string, migrations: readonly Migration[], tables: readonly Table[]): Target {
  const raw = new DatabaseSync(path);
  raw.exec('PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA foreign_keys=OFF; PRAGMA locking_mode=EXCLUSIVE; BEGIN');
  raw.exec(MIGRATION_TABLE);
  applyMigrations(raw, migrations);
  const indexes = raw.prepare("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL").all();
  for (const { name } of indexes) raw.exec(`DROP INDEX "${String(name)}"`);
  // What migrations put there.
  for (const { name } of tables) raw.exec(`DELETE FROM "${name}"`);

  return {
    ...readerOf(raw),

    async insert({ name, columns }: Table, rows) {
      const names = columns.map((column) => `"${column.name}"`).join(', ');
      const statement = raw.prepare(`INSERT INTO "${name}" (${names}) VALUES (${columns.map(() => '?').join(', ')})`);
      for (const row of rows) statement.run(...row);
    },

    async setLastNumber({ name }, value) {
      raw.prepare('DELETE FROM sqlite_sequence WHERE name = ?').run(name);
      raw.prepare('INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)').run(name, value);
    },

    async build() {
      for (const { sql } of indexes) raw.exec(String(sql));
      const astray = raw.prepare('PRAGMA foreign_key_check').all() as { table: string; rowid: number | null; parent: string }[];
      return astray.map(({ table, rowid, parent }) => `row ${rowid} of ${table} has no row of ${parent}`);
    },

    async finish() {
      raw.exec('COMMIT');
      raw.close();
    },

    async end() {
      if (raw.isOpen) raw.close();
    },
  };
}
