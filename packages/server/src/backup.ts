import { createPrivateKey, sign } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { migrations, openDatabase } from './app.ts';
import { holdsInForce, releaseHold, takeHold } from './catalog/index.ts';
import { commandLine } from './command-line.ts';
import { forgetPlaces, MEND_JOB, openBareStore } from './content/commands.ts';
import {
  type BackedUp,
  chooseSnapshot,
  createBackup,
  listSnapshots,
  placeFile,
  pruneSnapshots,
  type Restored,
  readSnapshot,
  restoreSnapshot,
  type Snapshot,
  settleRestored,
  type Verified,
  verifySnapshot,
} from './lifecycle/commands.ts';
import { requireInstallation, withInstallation } from './local.ts';
import { fillPostgres, postgresToSqlite, requireEmptyPostgres } from './platform/commands.ts';
import {
  audit,
  type Config,
  copySqlite,
  createLog,
  type Database,
  databaseAddress,
  dataPaths,
  enqueue,
  isOnPostgres,
  newId,
  openSqlite,
  systemClock,
} from './platform/index.ts';

const HOUR_MS = 3_600_000;

export interface BackupOptions {
  /** File with the passphrase that seals the keys. */
  readonly passphraseFile?: string | undefined;
  readonly plainKeys?: boolean;
  readonly withoutKeys?: boolean;
  readonly keep?: number | undefined;
  /** The blobs are kept elsewhere, as in a bucket with versions. */
  readonly leaveBlobs?: boolean;
  readonly signal: AbortSignal;
  progress(done: { blobs: number; copied: number; bytes: number }): void;
}

/** Adds a snapshot to a backup of an installation, beside its running server too. */
export async function backUp(config: Config, folder: string, options: BackupOptions): Promise<BackedUp> {
  requireInstallation(config);
  const keys = keysToKeep(config, options);
  const paths = dataPaths(config);
  return await withInstallation(config, async ({ database, blobs, clock, actor }) => {
    const bare = config.encryption === 'off' ? undefined : (await openBareStore(config, createLog('silent'))).base;
    try {
      return await createBackup(folder, {
        ...{ database, blobs, ...(bare ? { bare } : {}), clock, actor, keys, keep: options.keep },
        ...{ signal: options.signal, progress: options.progress, leaveBlobs: options.leaveBlobs === true },
        checkpoints: paths.checkpoints,
        copyDatabase: (target) => copyDatabase(config, target, options.signal),
        sign: (text) => signatureOf(join(paths.keys, 'audit.key'), text),
      });
    } finally {
      await bare?.close?.();
    }
  });
}

/** Writes the database as it is at one moment into a file of SQLite, whichever kind it is. */
async function copyDatabase(config: Config, target: string, signal: AbortSignal): Promise<void> {
  if (!isOnPostgres(config)) return await copySqlite(dataPaths(config).database, target, signal);
  await postgresToSqlite(databaseAddress(config), target, migrations, { signal, progress: () => undefined });
}

function keysToKeep(config: Config, { passphraseFile, plainKeys, withoutKeys }: BackupOptions) {
  const ways = [passphraseFile !== undefined, plainKeys === true, withoutKeys === true].filter(Boolean).length;
  if (ways !== 1) {
    throw new Error(
      'say what becomes of the keys: --passphrase-file FILE seals them, --plain-keys copies them as they are (whoever has the ' +
        'backup then has the installation), --without-keys leaves them out (keep a copy elsewhere: without them secrets and the audit trail are lost)',
    );
  }
  if (withoutKeys === true) return { kept: 'none' } as const;
  const folder = dataPaths(config).keys;
  const names = existsSync(folder)
    ? readdirSync(folder).filter((name) => statSync(join(folder, name)).isFile() && !name.startsWith('.'))
    : [];
  if (names.length === 0) throw new Error(`there are no keys in ${folder}`);
  const files = new Map(names.map((name) => [name, readFileSync(join(folder, name))]));
  if (passphraseFile === undefined) return { kept: 'plain', files } as const;
  return { kept: 'sealed', files, passphrase: readPassphrase(passphraseFile) } as const;
}

/** The first line of a file that only its owner may read. */
function readPassphrase(file: string): string {
  if ((statSync(file).mode & 0o077) !== 0) throw new Error(`${file} may be read by others; run: chmod 600 ${file}`);
  return readFileSync(file, 'utf8').split('\n')[0] ?? '';
}

function signatureOf(keyFile: string, text: string): string | null {
  if (!existsSync(keyFile)) return null;
  return sign(null, Buffer.from(text), createPrivateKey(readFileSync(keyFile))).toString('base64');
}

/** Snapshots of a backup, oldest first. */
export function snapshotsOf(folder: string): Snapshot[] {
  return listSnapshots(folder).map((id) => readSnapshot(folder, id).snapshot);
}

export interface VerifyOptions {
  readonly snapshot?: string | undefined;
  readonly quick?: boolean;
  readonly publicKey?: string | undefined;
  readonly discardDamaged?: boolean;
  readonly signal: AbortSignal;
  progress(blobs: number): void;
}

/** Verifies a snapshot, the newest unless one is named. */
export async function verifyBackup(folder: string, options: VerifyOptions): Promise<Verified & { snapshot: Snapshot }> {
  const signed = chooseSnapshot(folder, options.snapshot);
  const found = await verifySnapshot(folder, signed, {
    deep: options.quick !== true,
    publicKey: options.publicKey === undefined ? undefined : readFileSync(options.publicKey, 'utf8'),
    discard: options.discardDamaged === true,
    signal: options.signal,
    progress: options.progress,
  });
  return { ...found, snapshot: signed.snapshot };
}

/** Removes all but the newest snapshots of a backup. */
export async function pruneBackup(folder: string, keep: number): Promise<string[]> {
  return await pruneSnapshots(folder, keep);
}

export interface RestoreOptions {
  readonly snapshot?: string | undefined;
  readonly passphraseFile?: string | undefined;
  readonly signal: AbortSignal;
  progress(blobs: number): void;
}

/** Makes a new data directory from a backup, and fills the PostgreSQL database that is configured. Throws where there is something already. */
export async function restore(config: Config, folder: string, options: RestoreOptions): Promise<Restored & { snapshot: Snapshot }> {
  const signed = chooseSnapshot(folder, options.snapshot);
  const { signal } = options;
  const restored = await restoreSnapshot(folder, signed, {
    ...{ paths: dataPaths(config), signal, progress: options.progress },
    requireEmpty: async () => {
      if (isOnPostgres(config)) await requireEmptyPostgres(databaseAddress(config));
    },
    openBlobs: () => openBareStore(config, createLog('silent')),
    passphrase: options.passphraseFile === undefined ? undefined : readPassphrase(options.passphraseFile),
    placeDatabase: (file, snapshot) => (isOnPostgres(config) ? placeInPostgres : placeInFolder)(config, file, snapshot, signal),
  });
  return { ...restored, snapshot: signed.snapshot };
}

async function placeInFolder(config: Config, file: string, snapshot: Snapshot): Promise<void> {
  const { database } = dataPaths(config);
  removeSqlite(database); // of a run that died here
  placeFile(file, database);
  await settle(await openDatabase(config, { checkpoint: false }), config, snapshot);
}

/** Settles a copy in the folder, so that the database on the server is filled with all that belongs to it in one go. */
async function placeInPostgres(config: Config, file: string, snapshot: Snapshot, signal: AbortSignal): Promise<void> {
  const settled = `${dataPaths(config).database}.restored`;
  if (!existsSync(settled)) {
    const half = `${settled}.half`;
    removeSqlite(half);
    placeFile(file, half);
    const database = openSqlite(half, { checkpoint: true });
    await database.migrate(migrations).catch(async (error: unknown) => {
      await database.close();
      throw error;
    });
    await settle(database, config, snapshot);
    placeFile(half, settled);
    removeSqlite(half);
  }
  await fillPostgres(settled, databaseAddress(config), migrations, { signal, progress: () => undefined });
  removeSqlite(settled);
}

function removeSqlite(path: string): void {
  for (const end of ['', '-wal', '-shm']) rmSync(`${path}${end}`, { force: true });
}

/** Ends what was under way in a restored database, records whence it comes, and closes it. */
async function settle(database: Database, config: Config, { id, takenAt }: Snapshot): Promise<void> {
  try {
    await database.write(async (tx) => {
      await settleRestored(tx);
      await forgetPlaces(tx);
      if (config.coldStorage !== 'off') await enqueue(tx, { kind: MEND_JOB, now: systemClock.now() });
      const entry = { actor: commandLine(), origin: null, action: 'backup.restore', outcome: 'success' } as const;
      await audit(tx, { ...entry, resource: { type: 'backup', name: id }, after: { takenAt } }, systemClock);
    });
  } finally {
    await database.close();
  }
}

/** Holds collection for whoever copies the database with tools of its own; gives the id that releases it. */
export async function holdCollection(config: Config, hours: number): Promise<{ id: string; until: Date }> {
  if (!(hours > 0 && hours <= 168)) throw new Error('a hold lasts at most 168 hours');
  return await withInstallation(config, async ({ database, clock, actor }) => {
    const id = newId();
    const now = clock.now();
    const until = now + hours * HOUR_MS;
    await database.write(async (tx) => {
      await takeHold(tx, { id, reason: `command line, by ${actor.name}`, now, until });
      const resource = { type: 'collection-hold', name: id };
      const after = { until: new Date(until).toISOString() };
      await audit(tx, { actor, origin: null, action: 'collection-hold.create', resource, outcome: 'success', after }, clock);
    });
    return { id, until: new Date(until) };
  });
}

export async function releaseCollection(config: Config, id: string): Promise<void> {
  await withInstallation(config, async ({ database, clock, actor }) => {
    await database.write(async (tx) => {
      if (!(await releaseHold(tx, id)))
        throw new Error(`there is no hold ${id}; in force are ${await idsOf(holdsInForce(tx, clock.now()))}`);
      const resource = { type: 'collection-hold', name: id };
      await audit(tx, { actor, origin: null, action: 'collection-hold.delete', resource, outcome: 'success' }, clock);
    });
  });
}

async function idsOf(holds: ReturnType<typeof holdsInForce>): Promise<string> {
  return (await holds).map(({ id }) => id).join(', ') || 'none';
}

export type { Snapshot } from './lifecycle/commands.ts';
