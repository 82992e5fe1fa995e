import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { migrations, openDatabase } from './app.ts';
import { verifyAudit } from './audit.ts';
import { openBareStore } from './content/commands.ts';
import { moveBlobs as copyAllBlobs, type MovedBlobs, settleMoved, syncPath, writeDurably } from './lifecycle/commands.ts';
import { requireInstallation, withInstallation } from './local.ts';
import { fillPostgres, guardPostgres, postgresToSqlite, requireEmptyPostgres, type TransferOptions } from './platform/commands.ts';
import {
  audit,
  type Config,
  createLog,
  type Database,
  databaseAddress,
  dataPaths,
  isOnPostgres,
  lockData,
  MOVED,
  newId,
  settleShared,
  sharedValue,
} from './platform/index.ts';

export interface MoveBlobsOptions {
  /** The servers are stopped: whatever starts afterwards finds the blobs in the new place only. */
  readonly final: boolean;
  readonly signal: AbortSignal;
  progress(done: { blobs: number; copied: number; bytes: number }): void;
}

/** Copies all blobs to the storage of another configuration; the last time has the registry use that from then on. */
export async function moveBlobs(config: Config, to: Config, { final, signal, progress }: MoveBlobsOptions): Promise<MovedBlobs> {
  requireInstallation(config);
  if (placeOf(config) === placeOf(to)) throw new Error('both configurations name the same storage');
  if ((config.encryption === 'off') !== (to.encryption === 'off'))
    throw new Error('both configurations must agree on encryption: blobs move as they lie');
  if (config.coldStorage !== 'off' || to.coldStorage !== 'off')
    throw new Error('blobs of two tiers are not moved: coldStorage must be off in both');
  const release = final ? await takeAll(config) : () => undefined;
  try {
    const moved = await withInstallation(config, async ({ database, blobs, clock, actor }) => {
      const log = createLog('silent');
      const bare = config.encryption === 'off' ? blobs : (await openBareStore(config, log)).base;
      const { base: target } = await openBareStore(to, log);
      try {
        await target.ping();
        const memory = join(dataPaths(config).root, 'moved-blobs.db');
        const done = await copyAllBlobs({ database, clock, blobs, bare, target, place: placeOf(to), memory, signal, progress });
        if (!final) return done;
        await database.write(async (tx) => {
          await settleMoved(tx, to.storage);
          const after = { storage: to.storage, blobs: done.blobs, missing: done.missing.length };
          const resource = { type: 'storage', name: to.storage };
          await audit(tx, { actor, origin: null, action: 'storage.move', resource, outcome: 'success', after }, clock);
        });
        return done;
      } finally {
        await target.close?.();
        if (bare !== blobs) await bare.close?.();
      }
    });
    if (final && isOnPostgres(config)) await requireStopped(config); // one that was started meanwhile knows nothing of it
    return moved;
  } finally {
    release();
  }
}

/** Names a storage, so that two of them can be told apart. */
function placeOf(config: Config): string {
  const { storage, s3Endpoint, s3Bucket, s3Prefix } = config;
  return storage === 's3' ? `s3 ${s3Endpoint} ${s3Bucket} ${s3Prefix}` : `files ${dataPaths(config).blobs}`;
}

/** Keeps servers off for as long as a command works; throws where one runs. */
async function takeAll(config: Config): Promise<() => void> {
  if (!isOnPostgres(config)) return lockData(dataPaths(config).lock);
  await requireStopped(config);
  return () => undefined;
}

async function requireStopped(config: Config): Promise<void> {
  await (await guardPostgres(databaseAddress(config))).release();
}

export interface MovedDatabase {
  readonly from: string;
  readonly to: string;
  /** What verifying the audit trail in its new place came to, and whether it is sound. */
  readonly trail: { readonly sound: boolean; readonly told: string };
}

const SQLITE = 'SQLite';
const POSTGRES = 'PostgreSQL';

/**
 * Moves a stopped installation's database from SQLite to PostgreSQL, or back. What is cut off anywhere can be begun again; the
 * old database is kept, and refuses to be used.
 */
export async function moveDatabase(config: Config, to: Config, options: TransferOptions): Promise<MovedDatabase> {
  if (isOnPostgres(config) === isOnPostgres(to))
    throw new Error('one of the configurations must name a PostgreSQL database, the other not');
  requireSameKeys(config, to);
  await (isOnPostgres(to) ? toPostgres : toSqlite)(config, to, options);
  keepCheckpoints(config, to);
  const trail = await verifyAudit(to).then(
    (told) => ({ sound: true, told }),
    (error: unknown) => ({ sound: false, told: (error as Error).message }),
  );
  return { from: isOnPostgres(config) ? POSTGRES : SQLITE, to: isOnPostgres(to) ? POSTGRES : SQLITE, trail };
}

async function toPostgres(config: Config, to: Config, options: TransferOptions): Promise<void> {
  requireInstallation(config);
  const paths = dataPaths(config);
  if (existsSync(paths.moved)) throw new Error(`the database of ${paths.root} was moved already`);
  const journal = join(paths.root, 'moving');
  const address = databaseAddress(to);
  const release = lockData(paths.lock);
  try {
    if (!existsSync(journal)) {
      await requireEmptyPostgres(address);
      await recordMove(config, to);
      writeDurably(journal, `${newId()}\n`);
    }
    await fillPostgres(paths.database, address, migrations, options);
    writeDurably(paths.moved, `to PostgreSQL, ${new Date().toISOString()}\n`);
    rmSync(journal);
  } finally {
    release();
  }
}

/**
 * In this order: a whole copy beside, then PostgreSQL says that it was moved, then the copy takes its place. A crash in between
 * leaves one database that can be used, or none until the command is run again; never two.
 */
async function toSqlite(config: Config, to: Config, options: TransferOptions): Promise<void> {
  const paths = dataPaths(to);
  const [journal, copy] = [join(paths.root, 'moving'), `${paths.database}.moving`];
  mkdirSync(paths.root, { recursive: true, mode: 0o700 });
  if (existsSync(paths.database) && !existsSync(paths.moved) && !existsSync(journal))
    throw new Error(`there is a registry in ${paths.root}; a move never overwrites`);
  const release = lockData(paths.lock);
  try {
    const address = databaseAddress(config);
    await requireStopped(config);
    const begun = existsSync(journal) ? readFileSync(journal, 'utf8').trim() : undefined;
    const id = begun ?? newId();
    const mark = await movedMark(config);
    if (mark !== undefined && !mark.endsWith(id)) throw new Error(`this database was moved to ${mark} already`);
    if (mark === undefined) {
      if (begun === undefined) {
        await recordMove(config, to);
        writeDurably(journal, `${id}\n`);
      }
      const guard = await guardPostgres(address);
      try {
        await postgresToSqlite(address, copy, migrations, options);
        syncPath(copy);
        syncPath(paths.root);
        await guard.requireAlone();
      } finally {
        await guard.release();
      }
      await change(config, (tx) => settleShared(tx, { name: MOVED, value: `${paths.root}, ${id}` }));
    }
    if (existsSync(copy)) {
      for (const end of ['', '-wal', '-shm'])
        if (existsSync(paths.database + end)) renameSync(paths.database + end, `${paths.database}.${id}${end}`);
      renameSync(copy, paths.database);
      syncPath(paths.root);
    }
    rmSync(paths.moved, { force: true });
    rmSync(journal);
    syncPath(paths.root);
  } finally {
    release();
  }
}

async function movedMark(config: Config): Promise<string | undefined> {
  const database = await openDatabase(config, { checkpoint: false, migrate: false });
  return await Promise.resolve(sharedValue(database, MOVED)).finally(() => database.close());
}

/** Says in the audit trail that the database is about to move; the record moves with it. */
async function recordMove(config: Config, to: Config): Promise<void> {
  await withInstallation(config, async ({ database, clock, actor }) => {
    const storage = (await sharedValue(database, 'storage')) ?? config.storage;
    if (storage !== to.storage) throw new Error(`the blobs are in ${storage}, not ${to.storage}: entrepot move blobs moves them`);
    if (to.storage === 'files' && storage === config.storage && placeOf(config) !== placeOf(to))
      throw new Error(`the blobs are in ${dataPaths(config).blobs}, not ${dataPaths(to).blobs}: give storageDir, or move them`);
    const resource = { type: 'database', name: isOnPostgres(to) ? POSTGRES : SQLITE };
    await database.write((tx) => audit(tx, { actor, origin: null, action: 'database.move', resource, outcome: 'success' }, clock));
  });
}

async function change(config: Config, work: Parameters<Database['write']>[0]): Promise<void> {
  const database = await openDatabase(config, { checkpoint: false, migrate: false });
  await database.write(work).finally(() => database.close());
}

/** The new installation must open what the old one sealed, and go on with its audit trail. */
function requireSameKeys(config: Config, to: Config): void {
  const [from, into] = [dataPaths(config).keys, dataPaths(to).keys];
  for (const name of ['master.key', 'audit.key']) {
    const [own, other] = [join(from, name), join(into, name)];
    if (!existsSync(own)) throw new Error(`${own} is missing`);
    if (!existsSync(other)) throw new Error(`${other} is missing: copy the folder ${from} to ${into} first`);
    if (!readFileSync(own).equals(readFileSync(other))) throw new Error(`${other} is another key than ${own}`);
  }
}

/** Checkpoints of the trail that are kept outside the database go with it. */
function keepCheckpoints(config: Config, to: Config): void {
  const [from, into] = [dataPaths(config).checkpoints, dataPaths(to).checkpoints];
  if (!existsSync(from) || existsSync(into)) return;
  mkdirSync(dirname(into), { recursive: true, mode: 0o700 });
  copyFileSync(from, into);
  syncPath(into);
}
