import { createHash, createSecretKey, type KeyObject } from 'node:crypto';
import { existsSync, mkdirSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import {
  accessMigrations,
  assignmentMigrations,
  createAccess,
  createIssuerKeys,
  createKeyUse,
  createLdapLogins,
  createPasswordChecker,
  createRules,
  createSessions,
  createThrottle,
  createTokenHandler,
  createTokenIssuer,
  createWorkloads,
  findAccount,
  hasSecondFactor,
  keyAuthenticator,
  localMigrations,
  machineMigrations,
  PROVIDER_SECRETS,
  passwordAuthenticator,
  providerMigrations,
  sessionMigrations,
  sourceOf,
  tokenAuthenticator,
} from './access/index.ts';
import {
  catalogJobs,
  catalogMigrations,
  clearUploadLeases,
  collectionBacklog,
  countUploads,
  createPullNotes,
  freeDeletions,
  lapseReservations,
  type PullNotes,
  repositoryKeyOf,
} from './catalog/index.ts';
import { contentMigrations, freeMoves, HashThreads, openStore, readSmall, SlabPool } from './content/index.ts';
import {
  checkpointJob,
  createNotes,
  forwardingCounts,
  forwardingJob,
  forwardingMigrations,
  openAuditKeys,
  retentionJob,
  trailMigrations,
} from './evidence/index.ts';
import { housekeepingJobs } from './housekeeping.ts';
import { isHeatRecorded, layout, lifecycleJobs, lifecycleMigrations, scrubState, suspectBlob, tiering } from './lifecycle/index.ts';
import { type AdaptRoutes, createManagement } from './management.ts';
import {
  AppError,
  auditMigrations,
  type Config,
  createJobRunner,
  createLog,
  createMetrics,
  createOperations,
  createOutbound,
  createRequestOrigin,
  createSeal,
  type Database,
  databaseAddress,
  dataPaths,
  describeRequest,
  ERRORS,
  folderMark,
  freeJobs,
  idempotencyMigrations,
  installationMigrations,
  isOnPostgres,
  jobCounts,
  jobMigrations,
  type Listener,
  listen,
  logRequest,
  type Metrics,
  type OutboxConsumer,
  openPostgres,
  openSecrets,
  openSqlite,
  outboxBacklog,
  outboxDelivery,
  outboxMigrations,
  requestIdOf,
  requireShared,
  requireUnmoved,
  type Shared,
  toAppError,
} from './platform/index.ts';
import { createRegistry } from './registry/index.ts';
import { projectsHearingPulls, webhookConsumer, webhookJob, webhookMigrations, webhookPruneJob } from './release/index.ts';
import { supplyChainConsumers, supplyChainJobs, supplyChainMigrations } from './supply-chain/index.ts';

/** Large transfer buffers of one process: 64 MiB at most. */
const SLABS = 128;
const HASH_THREADS = 2;
/** Jobs of one process at once, those that read layers aside. */
const JOBS = 4;
/** With so many requests at once, work in the background steps back. */
const BUSY_REQUESTS = 8;
/** Addresses besides those of the distribution API. */
const KNOWN = new Set(['/token', '/livez', '/readyz', '/metrics']);

export interface App {
  readonly port: number;
  /** Finishes what runs, then closes everything. */
  stop(): Promise<void>;
}

export interface Instance extends App {
  /** What this process counts. */
  readonly metrics: Metrics['registry'];
}

interface Role {
  /** Several processes share the port. */
  readonly shared: boolean;
  /** This process keeps the database's log short for all of them. */
  readonly leader: boolean;
  /** Names this process in the leases it holds. */
  readonly holder: string;
  /** Metrics of all processes; undefined where there is only this one. */
  readonly collectAll?: () => Promise<string | undefined>;
}

/** All tables, in the order in which they are made. */
export const migrations = [
  ...catalogMigrations,
  ...contentMigrations,
  ...accessMigrations,
  ...assignmentMigrations,
  ...sessionMigrations,
  ...localMigrations,
  ...machineMigrations,
  ...providerMigrations,
  ...jobMigrations,
  ...outboxMigrations,
  ...auditMigrations,
  ...forwardingMigrations,
  ...trailMigrations,
  ...webhookMigrations,
  ...lifecycleMigrations,
  ...idempotencyMigrations,
  ...installationMigrations,
  ...supplyChainMigrations,
];

/** Opens the database, of the data directory or on a server, and brings it up to date, unless that is left to the server. */
export async function openDatabase(
  config: Config,
  options: { checkpoint: boolean; onWrite?: (seconds: number) => void; migrate?: boolean; cacheMib?: number },
): Promise<Database> {
  const paths = dataPaths(config);
  mkdirSync(paths.root, { recursive: true, mode: 0o700 });
  const { databaseConnections: connections } = config;
  if (!isOnPostgres(config) && existsSync(paths.moved)) throw new Error(movedAway(paths.root));
  const database = isOnPostgres(config)
    ? await openPostgres(databaseAddress(config), { connections, ...options })
    : openSqlite(paths.database, options);
  try {
    if (options.migrate !== false) await database.migrate(migrations);
    return database;
  } catch (error) {
    await database.close();
    throw error;
  }
}

function movedAway(root: string): string {
  return `the database of ${root} was moved to PostgreSQL: give databaseUrlFile (docs/reference/from-one-machine-to-many.md)`;
}

/** Builds every room, hands each what it needs, and listens. The only place that knows all rooms. */
export async function startApp(config: Config, role: Role, adapt?: AdaptRoutes): Promise<Instance> {
  const metrics = createMetrics();
  const database = await openDatabase(config, { checkpoint: role.leader, onWrite: metrics.database('write') });
  try {
    return await buildApp(config, role, { database, metrics }, adapt);
  } catch (error) {
    await database.close(); // its connections would keep the process
    throw error;
  }
}

async function buildApp(
  config: Config,
  { shared, holder, collectAll }: Role,
  { database, metrics }: { readonly database: Database; readonly metrics: Metrics },
  adapt: AdaptRoutes | undefined,
): Promise<Instance> {
  const log = createLog(config.logLevel);
  const paths = dataPaths(config);
  const { clock } = database;
  const now = () => clock.now();
  const secrets = openSecrets(paths.keys);
  const outbound = createOutbound(config);
  const suspect = (digest: string) =>
    void database
      .write((tx) => suspectBlob(tx, digest, clock.now()), { durable: false })
      .catch((error: unknown) => log.error({ err: error, digest }, 'a suspected blob cannot be looked at'));
  const blobs = await openStore(config, { database, outbound, clock, log, onDamaged: suspect });
  const origin = createRequestOrigin(config);
  const throttle = createThrottle({ database, key: secrets.derive('logins'), now });
  const directories = createLdapLogins({
    ...{ database, outbound, clock, seal: createSeal(secrets.derive(PROVIDER_SECRETS)) },
    onFailure: (provider, error) => log.warn({ err: error, provider }, 'a directory does not answer as it should'),
  });
  const passwords = createPasswordChecker(database, throttle, directories);
  const tokens = createTokenIssuer({
    key: secrets.derive('tokens'),
    clock,
    accessSeconds: config.tokenSeconds,
    refreshSeconds: config.refreshTokenDays * 86_400,
  });
  const sessions = createSessions({
    database,
    now,
    idleMinutes: config.sessionIdleMinutes,
    maxHours: config.sessionHours,
  });
  const keyUse = createKeyUse(database);
  const workloads = createWorkloads({ database, issuers: createIssuerKeys(outbound, now), clock });
  const access = createAccess({
    session: database,
    rules: createRules(database),
    authenticators: [
      tokenAuthenticator(database, tokens, now),
      keyAuthenticator(database, keyUse, now),
      workloads.authenticate,
      passwordAuthenticator(passwords, (userId) => hasSecondFactor(database, userId)),
      sessions.authenticate,
    ],
    now,
  });
  const isKnown = async (name: string) => (await findAccount(database, name)) !== undefined;
  const notes = createNotes({ database, clock, log, sourceOf, isKnown });
  const counted = createPullNotes({ database, clock, listeners: projectsHearingPulls });
  const tierRoom = isHeatRecorded(config) ? await tiering() : undefined;
  const heat = tierRoom?.openHeatNotes({ database, clock, log }, config);
  const pulls: PullNotes = heat
    ? {
        ...counted,
        pulled(pull) {
          counted.pulled(pull);
          heat.pulled(pull.repositoryId, pull.digest);
        },
      }
    : counted;
  const slabs = new SlabPool(SLABS);
  const hashThreads = new HashThreads(HASH_THREADS);
  const registry = createRegistry({
    projectKeys: blobs.encryption?.projectKeys,
    ...{ database, blobs, access, slabs, hashThreads, clock, log, metrics, origin, holder, notes, pulls },
    uploadKey: createSecretKey(secrets.derive('uploads')),
    suspect,
    onBlobRead: heat?.read,
    options: config,
  });
  const token = createTokenHandler({ session: database, access, tokens, workloads, origin, now, notes });
  const auditKeys = openAuditKeys(paths.keys);
  await requireUnmoved(database);
  await requireShared(database, sharedOf(config, secrets.fingerprint, auditKeys.publicKey));
  const sinkSeal = createSeal(secrets.derive('audit-sinks'));
  const webhookSeal = createSeal(secrets.derive('webhooks'));
  const registryUrl = config.publicUrl === '' ? `http://${config.listen}` : config.publicUrl;
  const consumers: OutboxConsumer[] = [webhookConsumer({ database, clock, registry: registryUrl })];
  const compatible = config.layoutCompatible ? await layout() : undefined;
  const layoutParts = await compatible?.openLayout({ database, blobs, config });
  if (compatible && layoutParts) consumers.push(compatible.layoutConsumer(layoutParts));
  const isBusy = () => running >= BUSY_REQUESTS;
  const repairSources = blobs.spare ? [blobs.spare] : [];
  const lifecycleParts = {
    database,
    blobs,
    encryption: blobs.encryption,
    tiers: blobs.tiers,
    clock,
    log,
    config,
    metrics,
    repairSources,
    isBusy,
  };
  const supplyChainParts = { database, blobs, clock, log, config, isBusy, suspect };
  consumers.push(...supplyChainConsumers(supplyChainParts));
  const jobs = createJobRunner({
    database,
    clock,
    log,
    holder,
    // What reads layers takes no turn of the others.
    concurrency: JOBS + config.inventoryWorkers,
    definitions: [
      ...housekeepingJobs({
        database,
        blobs,
        clock,
        uploadExpiryHours: config.uploadExpiryHours,
        consumers: consumers.map(({ name }) => name),
      }),
      ...catalogJobs({ database, clock }),
      ...(blobs.encryption?.jobs ?? []),
      ...(blobs.tiers?.jobs ?? []),
      ...lifecycleJobs(lifecycleParts),
      ...(tierRoom?.tierJobs(lifecycleParts) ?? []),
      ...(compatible && layoutParts ? [compatible.layoutJob(layoutParts, clock)] : []),
      ...consumers.map((consumer) => outboxDelivery(database, clock, consumer)),
      ...supplyChainJobs(supplyChainParts),
      webhookJob({ database, outbound, seal: webhookSeal, clock, log, failureHours: config.webhookFailureHours }),
      webhookPruneJob({ database, clock, logDays: config.webhookLogDays }),
      checkpointJob({ database, clock, log, key: auditKeys.privateKey, file: paths.checkpoints }),
      retentionJob({ database, clock, days: config.auditRetentionDays, legalHold: config.auditLegalHold }),
      forwardingJob({ database, outbound, seal: sinkSeal, clock, log, onFailure: metrics.sinkFailure }),
    ],
    onOutcome: metrics.job,
  });
  metrics.watch({
    uploadsOpen: () => countUploads(database),
    jobs: () => jobCounts(database),
    outboxBacklog: () => outboxBacklog(database),
    auditSinks: () => forwardingCounts(database),
    storage: () => scrubState(database),
    ...(tierRoom && blobs.tiers ? { tiers: () => tierRoom.tierAmounts(database) } : {}),
    async collection() {
      const now = clock.now();
      return { ...(await collectionBacklog(database, now, config.collectionGraceSeconds * 1000)), now };
    },
  });
  const readBlob = async (digest: string, most: number, repositoryId: number) =>
    await readSmall(blobs, digest, most, (blobs.encryption && (await repositoryKeyOf(database, repositoryId))) ?? undefined);
  const stopping = new AbortController();
  const management = createManagement(
    {
      database,
      stopping: stopping.signal,
      blobs,
      tiers: blobs.tiers,
      encryption: blobs.encryption,
      readBlob,
      access,
      sessions,
      passwords,
      throttle,
      clock,
      log,
      origin,
      notes,
      secrets,
      config,
      outbound,
      auditKey: auditKeys.publicKey,
      sinkSeal,
      webhookSeal,
      registry: registryUrl,
    },
    adapt,
  );
  let draining = false;
  let running = 0;
  const { encryption } = blobs;
  const operations = createOperations({
    metrics,
    origin,
    log,
    metricsPublic: config.metricsPublic,
    checks: {
      'the database cannot be written to': () => database.ping(),
      // Before the store, whose own check needs them.
      ...(encryption ? { 'the provider of encryption keys cannot be used': () => encryption.keys.health() } : {}),
      'storage cannot be written to': () => blobs.ping(),
    },
    isDraining: () => draining,
    collectAll,
  });

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = request.url ?? '/';
    if (draining) response.setHeader('Connection', 'close');
    if (url.startsWith('/v2')) return await registry(request, response);
    if (url.startsWith('/api/')) return await management(request, response);
    const mark = url.indexOf('?');
    const path = mark < 0 ? url : url.slice(0, mark);
    describeRequest(response, KNOWN.has(path) ? path.slice(1) : 'none');
    try {
      if (path === '/token') return await token(request, response);
      if (path === '/livez' || path === '/readyz' || path === '/metrics') return await operations(request, response, path);
      throw new AppError('not_found', 'no such address');
    } catch (error) {
      const shown = answerProblem(response, error);
      if (shown.status >= 500) log.error({ err: shown.cause ?? shown, requestId: requestIdOf(response), path }, 'request failed');
    }
  };

  const { host, port } = addressOf(config.listen);
  const listener: Listener = await listen(
    (request, response) => {
      running++;
      if (config.logRequests) logRequest(log, request, response, origin.clientAddress(request));
      handle(request, response)
        .catch((error: unknown) => {
          log.error({ err: error, requestId: requestIdOf(response) }, 'a request handler failed');
          response.destroy();
        })
        .finally(() => running--);
    },
    { host, port, shared, idleMs: config.idleTimeoutSeconds * 1000 },
  );

  await jobs.start();

  async function stop(): Promise<void> {
    draining = true;
    stopping.abort();
    const drained = (async () => {
      if (config.drainDelaySeconds > 0) await delay(config.drainDelaySeconds * 1000);
      await listener.drain(config.drainSeconds * 1000, () => running);
    })();
    await Promise.all([jobs.stop(config.drainSeconds * 1000), drained]);
    if (compatible && layoutParts) {
      // Whoever starts the other registry next finds all that was acknowledged.
      await compatible
        .deliverEvents(layoutParts, clock)
        .catch((error: unknown) => log.error({ err: error }, 'files of registry:2 could not be written; the next start goes on'));
    }
    layoutParts?.tree.close?.();
    await hashThreads.close();
    await outbound.close();
    await blobs.close?.();
    await notes.flush();
    await pulls.flush();
    await heat?.flush();
    await keyUse.flush().catch((error: unknown) => log.error({ err: error }, 'the last uses of access keys are lost'));
    await database.close();
  }

  let stopped: Promise<void> | undefined;
  // Asked again, as by a second signal, it waits for the same drain.
  return { port: listener.port, metrics: metrics.registry, stop: () => (stopped ??= stop()) };
}

/**
 * Frees what processes that are no more held: uploads and jobs. Without a holder what any process did, which only the
 * first process may do, before it starts others.
 */
export async function freeLeases(database: Database, holder?: string): Promise<void> {
  await database.write(async (tx) => {
    await clearUploadLeases(tx, holder);
    await lapseReservations(tx, holder);
    if (holder === undefined) {
      await freeDeletions(tx, database.clock.now());
      await freeMoves(tx);
    }
    await freeJobs(tx, holder, database.clock.now());
  });
}

/** What all instances on one database must have in common; where there is only one, what it must not forget. */
function sharedOf(config: Config, fingerprint: string, auditKey: KeyObject): Shared[] {
  const { keys, blobs } = dataPaths(config);
  const otherStorage = `the blobs of this registry are in another storage than ${config.storage}: entrepot move blobs moves them`;
  const storage = { name: 'storage', value: config.storage, refusal: otherStorage };
  if (!isOnPostgres(config)) return [storage];
  const audit = createHash('sha256')
    .update(auditKey.export({ type: 'spki', format: 'der' }))
    .digest('hex')
    .slice(0, 16);
  const otherKeys = `the keys in ${keys} are not those of this database: give all instances the same folder keysDir`;
  const otherFiles = `the blobs of this database are not in ${blobs}: all instances must see one folder (storageDir), or use storage s3`;
  return [
    storage,
    { name: 'master-key', value: fingerprint, refusal: otherKeys },
    { name: 'audit-key', value: audit, refusal: otherKeys },
    ...(config.storage === 'files' ? [{ name: 'files', value: folderMark(blobs), refusal: otherFiles }] : []),
  ];
}

function addressOf(listenOn: string): { host: string; port: number } {
  const colon = listenOn.lastIndexOf(':');
  return { host: listenOn.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(listenOn.slice(colon + 1)) };
}

function answerProblem(response: ServerResponse, thrown: unknown): AppError {
  const error = toAppError(thrown);
  if (response.headersSent) {
    response.destroy();
    return error;
  }
  const body = JSON.stringify({ errors: [{ code: ERRORS[error.code].oci, message: error.message }] });
  response.writeHead(error.status, {
    ...error.headers,
    'Content-Type': 'application/json',
    'X-Content-Type-Options': 'nosniff',
    'Content-Length': Buffer.byteLength(body),
  });
  response.end(body);
  return error;
}
