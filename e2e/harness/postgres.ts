import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import {
  type Cluster,
  type ClusterOptions,
  newDatabase,
  sharedCluster,
  startCluster,
} from '../../packages/server/src/platform/database/testing-postgres.ts';
import { atEnd } from './at-end.ts';

/** A PostgreSQL server for the tests of one file, which may stop, kill and restart it. */
export async function ownPostgres(options: ClusterOptions = {}): Promise<Cluster> {
  const cluster = await startCluster(options);
  atEnd(() => cluster.remove());
  return cluster;
}

/** Address of a new database in a PostgreSQL: the one that all test files share, unless another is given. */
export async function freshDatabase(cluster?: Pick<Cluster, 'url' | 'sql'>): Promise<string> {
  const made = await newDatabase(cluster ?? (await sharedCluster()));
  if (cluster === undefined) atEnd(() => made.drop());
  return made.url;
}

const ofFolder = new Map<string, Promise<string>>();

/** Where a run asks for all servers to be on PostgreSQL: one database for each data directory. */
export function databaseOfRun(dataDir: string): Promise<string> | undefined {
  if (process.env.ENTREPOT_TEST_DATABASE !== 'postgres') return undefined;
  let made = ofFolder.get(dataDir);
  if (made === undefined) {
    made = freshDatabase();
    ofFolder.set(dataDir, made);
  }
  return made;
}

/** All rows of a PostgreSQL database as they are at one instant, in a SQLite of the test's own. */
export async function copyOfDatabase(url: string): Promise<DatabaseSync> {
  const { Client, types } = await import('pg');
  const getTypeParser = (oid: number): unknown => (oid === 20 ? Number : types.getTypeParser(oid as never, 'text'));
  const client = new Client({ connectionString: url, types: { getTypeParser: getTypeParser as never } });
  const copy = new DatabaseSync(':memory:');
  await client.connect();
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const { rows: tables } = await client.query<{ name: string }>("SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'");
    for (const { name } of tables) {
      const { rows, fields } = await client.query<Record<string, SQLInputValue>>(`SELECT * FROM "${name}"`);
      const columns = fields.map((field) => `"${field.name}"`);
      copy.exec(`CREATE TABLE "${name}" (${columns.join(', ')})`);
      const insert = copy.prepare(`INSERT INTO "${name}" VALUES (${columns.map(() => '?').join(', ')})`);
      for (const row of rows) insert.run(...fields.map((field) => row[field.name] ?? null));
    }
  } finally {
    await client.end();
  }
  return copy;
}
