import { existsSync } from 'node:fs';
import { openDatabase } from './app.ts';
import { commandLine } from './command-line.ts';
import { encryptionCommands } from './content/index.ts';
import { audit, type Config, type Database, dataPaths, isOnPostgres, parseKeyNames } from './platform/index.ts';

export interface KeyCount {
  readonly provider: string;
  readonly version: string;
  readonly keys: number;
  readonly copied: number;
}

/** How many data keys are wrapped under which version; beside a running server too. */
export async function encryptionStatus(config: Config): Promise<readonly KeyCount[]> {
  const { countKeys } = await encryptionCommands();
  return await withDatabase(config, countKeys);
}

/** Adds a version to a key file, under which data keys are wrapped from now on, and gives it. `name`: of the key of projects. */
export async function addEncryptionKey(config: Config, name?: string): Promise<string> {
  const { addKeyVersion, keyFileOf } = await encryptionCommands();
  const file = name === undefined ? keyFileOf(config) : projectKeyFile(config, name);
  if (!existsSync(file)) throw new Error(`there is no ${file}; the first start with it makes it`);
  return await withDatabase(config, async (database) => {
    // First the record: a version that nobody knows of is worse than a record of one that could not be made.
    await database.write((tx) =>
      audit(
        tx,
        {
          actor: commandLine(),
          origin: null,
          outcome: 'success',
          action: 'encryption.add-key',
          resource: { type: 'encryption', name: name ?? 'file' },
        },
        database.clock,
      ),
    );
    return addKeyVersion(file);
  });
}

function projectKeyFile(config: Config, name: string): string {
  const key = parseKeyNames(config.encryptionProjectKeys).find((each) => each.name === name);
  if (!key) throw new Error(`there is no key ${name} in encryptionProjectKeys`);
  if (key.provider !== 'file') throw new Error(`the key ${name} is no file: rotate it where it is kept`);
  return key.at;
}

/** Asks for all data keys to be wrapped anew, which the running server does, or the next one that is started; gives the job's id. */
export async function rewrapKeys(config: Config): Promise<number> {
  if (config.encryption === 'off') throw new Error('blobs of this registry are not encrypted; see the option encryption');
  const { startRewrap } = await encryptionCommands();
  return await withDatabase(config, (database) =>
    database.write(async (tx) => {
      const job = await startRewrap(tx, database.clock.now());
      const resource = { type: 'encryption', name: config.encryption } as const;
      await audit(
        tx,
        { actor: commandLine(), origin: null, outcome: 'success', action: 'encryption.rewrap', resource, after: { job } },
        database.clock,
      );
      return job;
    }),
  );
}

async function withDatabase<T>(config: Config, work: (database: Database) => Promise<T>): Promise<T> {
  const { root, database: path } = dataPaths(config);
  if (!isOnPostgres(config) && !existsSync(path)) throw new Error(`there is no registry in ${root}`);
  const database = await openDatabase(config, { checkpoint: false });
  try {
    return await work(database);
  } finally {
    await database.close();
  }
}
