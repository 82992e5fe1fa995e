import { mkdirSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { accessMigrations, createAccess, createPasswordChecker, createTokenHandler, createTokenIssuer } from './access/index.ts';
import { catalogMigrations, clearUploadLeases, expiredUploads, removeUpload } from './catalog/index.ts';
import { HashThreads, openFileStore, SlabPool } from './content/index.ts';
import {
  AppError,
  type Config,
  createLog,
  createMetrics,
  createOperations,
  createRequestOrigin,
  type Database,
  dataPaths,
  ERRORS,
  type Listener,
  listen,
  openSecrets,
  openSqlite,
  systemClock,
  toAppError,
} from './platform/index.ts';
import { createRegistry } from './registry/index.ts';

/** Large transfer buffers of one process: 64 MiB at most. */
const SLABS = 128;
const HASH_THREADS = 2;
const HOUSEKEEPING_MS = 10 * 60_000;

export interface App {
  readonly port: number;
  /** Finishes what runs, then closes everything. */
  stop(): Promise<void>;
}

interface Role {
  /** Several processes share the port. */
  readonly shared: boolean;
  /** This process does what only one of them should. */
  readonly leader: boolean;
  readonly collectAll?: () => Promise<string>;
}

/** Opens the database of a data directory and brings it up to date. */
export async function openDatabase(config: Config, options: { checkpoint: boolean }): Promise<Database> {
  const paths = dataPaths(config);
  mkdirSync(paths.root, { recursive: true, mode: 0o700 });
  const database = openSqlite(paths.database, options);
  await database.migrate([...catalogMigrations, ...accessMigrations]);
  return database;
}

/** Builds every room, hands each what it needs, and listens. The only place that knows all rooms. */
export async function startApp(config: Config, { shared, leader, collectAll }: Role): Promise<App> {
  const log = createLog(config.logLevel);
  const clock = systemClock;
  const metrics = createMetrics();
  const paths = dataPaths(config);
  const database = await openDatabase(config, { checkpoint: leader });
  const secrets = openSecrets(paths.keys);
  const blobs = openFileStore(paths.blobs);
  const origin = createRequestOrigin(config);
  const passwords = createPasswordChecker(database);
  const tokens = createTokenIssuer({
    key: secrets.derive('tokens'),
    clock,
    accessSeconds: config.tokenSeconds,
    refreshSeconds: config.refreshTokenDays * 86_400,
  });
  const access = createAccess({ session: database, passwords, tokens });
  const slabs = new SlabPool(SLABS);
  const hashThreads = new HashThreads(HASH_THREADS);
  const registry = createRegistry({ database, blobs, access, slabs, hashThreads, clock, log, metrics, origin, options: config });
  const token = createTokenHandler({ session: database, access, passwords, tokens });
  let draining = false;
  let running = 0;
  const operations = createOperations({
    metrics,
    origin,
    log,
    metricsPublic: config.metricsPublic,
    check: async () => {
      await database.ping();
      await blobs.ping();
    },
    isDraining: () => draining,
    collectAll,
  });

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = request.url ?? '/';
    if (draining) response.setHeader('Connection', 'close');
    if (url.startsWith('/v2')) return await registry(request, response);
    const mark = url.indexOf('?');
    const path = mark < 0 ? url : url.slice(0, mark);
    try {
      if (path === '/token') return await token(request, response);
      if (path === '/livez' || path === '/readyz' || path === '/metrics') return await operations(request, response, path);
      throw new AppError('not_found', 'no such address');
    } catch (error) {
      answerProblem(response, error);
    }
  };

  const { host, port } = addressOf(config.listen);
  const listener: Listener = await listen(
    (request, response) => {
      running++;
      handle(request, response)
        .catch((error: unknown) => {
          log.error({ err: error }, 'a request handler failed');
          response.destroy();
        })
        .finally(() => running--);
    },
    { host, port, shared, idleMs: config.idleTimeoutSeconds * 1000 },
  );

  const housekeeping = leader
    ? setInterval(
        () => void expireUploads().catch((error: unknown) => log.error({ err: error }, 'expiring uploads failed')),
        HOUSEKEEPING_MS,
      )
    : undefined;

  async function expireUploads(): Promise<void> {
    const before = clock.now() - config.uploadExpiryHours * 3_600_000;
    for (const id of await expiredUploads(database, before, clock.now(), 1000)) {
      await database.write((tx) => removeUpload(tx, id));
      await blobs.removeUpload(id);
    }
    for await (const id of blobs.staleUploads(before)) await blobs.removeUpload(id);
  }

  async function stop(): Promise<void> {
    draining = true;
    clearInterval(housekeeping);
    await listener.drain(config.drainSeconds * 1000, () => running);
    await hashThreads.close();
    await database.close();
  }

  let stopped: Promise<void> | undefined;
  // Asked again, as by a second signal, it waits for the same drain.
  return { port: listener.port, stop: () => (stopped ??= stop()) };
}

/** What the first process does before any other starts: frees uploads that a crash left locked. */
export async function prepare(database: Database): Promise<void> {
  await database.write((tx) => clearUploadLeases(tx));
}

function addressOf(listenOn: string): { host: string; port: number } {
  const colon = listenOn.lastIndexOf(':');
  return { host: listenOn.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(listenOn.slice(colon + 1)) };
}

function answerProblem(response: ServerResponse, thrown: unknown): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const error = toAppError(thrown);
  const body = JSON.stringify({ errors: [{ code: ERRORS[error.code].oci, message: error.message }] });
  response.writeHead(error.status, { ...error.headers, 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) });
  response.end(body);
}
