import cluster, { type Worker } from 'node:cluster';
import { createUser, hashPassword, isAcceptablePassword, PASSWORD_MIN_LENGTH, randomPassword, userCount } from './access/index.ts';
import { type App, openDatabase, prepare, startApp } from './app.ts';
import { type Config, systemClock, workerCount } from './platform/index.ts';

export { openDatabase } from './app.ts';

const ADMIN = 'admin';
/** A worker that dies is replaced, but not faster than this. */
const RESPAWN_MS = 1000;

export interface Server {
  readonly port: number;
  /** Password of an admin just made; undefined where there was one, or where the password was given. */
  readonly newPassword: string | undefined;
  readonly firstStart: boolean;
  stop(): Promise<void>;
}

/**
 * Starts the registry and resolves once it takes requests. With several workers this process only watches over them.
 * `adminPassword` is that of the first admin; random if absent.
 */
export async function serve(config: Config, adminPassword: string | undefined): Promise<Server> {
  const first = await bootstrap(config, adminPassword);
  const count = workerCount(config);
  const running = count === 1 ? await startApp(config, { shared: false, leader: true }) : await startWorkers(config, count);
  return { ...first, port: running.port, stop: () => running.stop() };
}

/** Migrates, makes the first admin, frees what a crash left locked. */
async function bootstrap(config: Config, given: string | undefined): Promise<{ newPassword: string | undefined; firstStart: boolean }> {
  const database = await openDatabase(config, { checkpoint: false });
  try {
    await prepare(database);
    if ((await userCount(database)) > 0) return { newPassword: undefined, firstStart: false };
    if (given !== undefined && !isAcceptablePassword(given)) {
      throw new Error(`ENTREPOT_ADMIN_PASSWORD must have at least ${PASSWORD_MIN_LENGTH} characters`);
    }
    const password = given ?? randomPassword();
    const hash = await hashPassword(password);
    await database.write((tx) => createUser(tx, { name: ADMIN, hash, admin: true, now: systemClock.now() }));
    return { newPassword: given === undefined ? password : undefined, firstStart: true };
  } finally {
    await database.close();
  }
}

type Message = { readonly type: 'ready'; readonly port: number } | { readonly type: 'failed'; readonly error: string };

async function startWorkers(config: Config, count: number): Promise<App> {
  const { AggregatorRegistry } = await import('prom-client');
  new AggregatorRegistry(); // answers the workers' requests for the sum of all metrics
  cluster.setupPrimary({ exec: new URL('./worker.ts', import.meta.url).pathname, args: [], serialization: 'advanced' });
  let stopping = false;
  const workers = new Set<Worker>();
  let port = 0;

  const start = (leader: boolean): Promise<number> =>
    new Promise((resolve, reject) => {
      const settings = port === 0 ? config : { ...config, listen: config.listen.replace(/:[0-9]+$/, `:${port}`) };
      const worker = cluster.fork({ ENTREPOT_WORKER: JSON.stringify({ config: settings, leader }) });
      workers.add(worker);
      worker.on('message', (message: Message) => {
        if (message.type === 'ready') resolve(message.port);
        else if (message.type === 'failed') reject(new Error(message.error));
      });
      worker.on('exit', (code) => {
        workers.delete(worker);
        reject(new Error(`a worker ended with code ${code}`));
        if (!stopping && port !== 0) setTimeout(() => stopping || void start(leader).catch(() => undefined), RESPAWN_MS);
      });
    });

  port = await start(true);
  await Promise.all(Array.from({ length: count - 1 }, () => start(false)));
  return {
    port,
    async stop() {
      stopping = true;
      await Promise.all(
        Array.from(workers, (worker) => {
          const gone = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
          worker.kill('SIGTERM');
          return gone;
        }),
      );
    },
  };
}
