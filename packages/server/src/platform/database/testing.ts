import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Database, Migration } from './database.ts';
import { openPostgres } from './open-postgres.ts';
import { openSqlite } from './sqlite.ts';
import { type Cluster, newDatabase, sharedCluster } from './testing-postgres.ts';

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

/** A database of its own in the PostgreSQL that the tests share, or in another. */
export const postgresData: TestDatabase = (migrations) => postgresDataIn(sharedCluster)(migrations);

export function postgresDataIn(cluster: () => Promise<Pick<Cluster, 'url' | 'sql'>>): TestDatabase {
  return (migrations) => {
    const opened: Database[] = [];
    let made: ReturnType<typeof newDatabase> | undefined;
    return {
      async open() {
        made ??= cluster().then(newDatabase);
        const database = await openPostgres((await made).url);
        opened.push(database);
        await database.migrate(migrations);
        return database;
      },
      async remove() {
        await Promise.all(opened.map((database) => database.close()));
        await (await made)?.drop();
      },
    };
  };
}

/** What tests of rooms stand on: SQLite, or PostgreSQL where a run asks for that. */
export const roomData: TestDatabase = process.env.ENTREPOT_TEST_DATABASE === 'postgres' ? postgresData : sqliteData;
