import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Database, Migration } from './database.ts';
import { openSqlite } from './sqlite.ts';

/** One set of data, and connections to it, for the contract suites that each kind of database must pass. */
export interface TestData {
  /** Each call opens another connection, as another process would. */
  open(): Promise<Database>;
  /** Closes all connections and forgets the data. */
  remove(): Promise<void>;
}

export type TestDatabase = (migrations: readonly Migration[]) => TestData;

/** A SQLite file in a temporary folder. */
export const sqliteData: TestDatabase = (migrations) => {
  const folder = mkdtempSync(join(tmpdir(), 'entrepot-db-'));
  const opened: Database[] = [];
  return {
    async open() {
      const database = openSqlite(join(folder, 'test.db'), { checkpoint: false });
      opened.push(database);
      await database.migrate(migrations);
      return database;
    },
    async remove() {
      for (const database of opened) await database.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
};
