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
