import { existsSync } from 'node:fs';
import {
  createUser,
  hashPassword,
  isAcceptablePassword,
  PASSWORD_MAX_LENGTH,
  PASSWORD_MIN_LENGTH,
  randomPassword,
  userCount,
} from './access/index.ts';
import { freeLeases, openDatabase, startApp } from './app.ts';
import { type Config, dataPaths, isOnPostgres, newId, workerCount } from './platform/index.ts';
import { takeData } from './take-data.ts';
import { startWorkers } from './workers.ts';

export { openDatabase } from './app.ts';

const ADMIN = 'admin';

export interface Server {
  readonly port: number;
  /** Password of an admin just made; undefined where there was one, or where the password was given. */
  readonly newPassword: string | undefined;
  readonly firstStart: boolean;
  stop(): Promise<void>;
}

/**
 * Starts the registry and resolves once it takes requests. With several workers this process only watches over them.
 * `adminPassword` is that of the first admin; random if absent. One server at a time has a data directory, unless the database
 * is one that servers share.
 */
export async function serve(config: Config, adminPassword: string | undefined): Promise<Server> {
  const { restoring } = dataPaths(config);
  if (existsSync(restoring)) throw new Error(`${config.dataDir} is the half of a restore; run the same entrepot restore again`);
  const release = await takeData(config);
  try {
    const first = await bootstrap(config, adminPassword);
    const count = workerCount(config);
    const running =
      count === 1 ? await startApp(config, { shared: false, leader: true, holder: newId() }) : await startWorkers(config, count);
    return { ...first, port: running.port, stop: () => running.stop().finally(release) };
  } catch (error) {
    release();
    throw error;
  }
}

/** Migrates, makes the first admin, frees what a crash left locked. */
async function bootstrap(config: Config, given: string | undefined): Promise<{ newPassword: string | undefined; firstStart: boolean }> {
  const database = await openDatabase(config, { checkpoint: false });
  try {
    // Where others may be at work, what a crash left locked lapses instead.
    if (!isOnPostgres(config)) await freeLeases(database);
    if ((await userCount(database)) > 0) return { newPassword: undefined, firstStart: false };
    if (given !== undefined && !isAcceptablePassword(given)) {
      throw new Error(`ENTREPOT_ADMIN_PASSWORD must have ${PASSWORD_MIN_LENGTH} to ${PASSWORD_MAX_LENGTH} characters`);
    }
    const password = given ?? randomPassword();
    const hash = await hashPassword(password);
    const made = await database.write((tx) => createUser(tx, { name: ADMIN, hash, admin: true, now: database.clock.now() }));
    if (!made) return { newPassword: undefined, firstStart: false }; // another instance was first
    return { newPassword: given === undefined ? password : undefined, firstStart: true };
  } finally {
    await database.close();
  }
}
