import { existsSync } from 'node:fs';
import { migrations, openDatabase } from './app.ts';
import { commandLine } from './command-line.ts';
import { type ContentStore, openStore } from './content/index.ts';
import {
  type AuditActor,
  type Clock,
  type Config,
  createLog,
  createOutbound,
  type Database,
  dataPaths,
  isOnPostgres,
  type Log,
  queriesOf,
} from './platform/index.ts';

const query = queriesOf<{ migration: { name: string } }>('local');
const appliedMigrations = query()('appliedMigrations', (db) => db.selectFrom('migration').select('name').orderBy('name'));

/** An installation as a command beside the server sees it. */
export interface Installation {
  readonly database: Database;
  readonly blobs: ContentStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly actor: AuditActor;
}

/** Migrations that the database has not had yet, and such that this version does not know. */
export async function migrationState(database: Database): Promise<{ pending: string[]; unknown: string[] }> {
  const applied = new Set((await database.all(appliedMigrations, {})).map(({ name }) => name));
  const known = new Set(migrations.map(({ name }) => name));
  return { pending: [...known].filter((name) => !applied.has(name)), unknown: [...applied].filter((name) => !known.has(name)) };
}

/** Throws where there is no registry: a folder named by mistake must not become one. */
export function requireInstallation(config: Config): void {
  const { root, database } = dataPaths(config);
  if (!isOnPostgres(config) && !existsSync(database)) throw new Error(`there is no registry in ${root}; entrepot serve makes one`);
}

/**
 * Opens an installation whose server may run, does something with it, and closes it. The tables are not brought up to date:
 * that is for the server to do. Throws where they are of an older version.
 */
export async function withInstallation<T>(config: Config, work: (installation: Installation) => Promise<T>): Promise<T> {
  requireInstallation(config);
  const log = createLog('silent'); // a command says itself what it did
  const database = await openDatabase(config, { checkpoint: false, migrate: false });
  try {
    const { pending } = await migrationState(database);
    if (pending.length > 0) throw new Error('the database is of an older version; start the server of this version once');
    return await withStore(config, database, (blobs) => work({ database, blobs, clock: database.clock, log, actor: commandLine() }));
  } finally {
    await database.close();
  }
}

/** Opens the store of an installation, does something with it, and closes it. */
export async function withStore<T>(config: Config, database: Database, work: (blobs: ContentStore) => Promise<T>): Promise<T> {
  const outbound = createOutbound(config);
  try {
    const blobs = await openStore(config, { database, outbound, clock: database.clock, log: createLog('silent') });
    try {
      return await work(blobs);
    } finally {
      await blobs.close?.();
    }
  } finally {
    await outbound.close();
  }
}
