import { existsSync } from 'node:fs';
import { openDatabase } from './app.ts';
import { verifyAudit } from './audit.ts';
import { commandLine } from './command-line.ts';
import { recordsInOrder } from './evidence/index.ts';
import {
  type Check,
  type Finding,
  graphChecks,
  hostChecks,
  type Report,
  runChecks,
  storeChecks,
  usageCheck,
} from './lifecycle/commands.ts';
import { migrationState, requireInstallation, withStore } from './local.ts';
import { postgresProblems, raiseSequence } from './platform/commands.ts';
import {
  audit,
  auditHead,
  type Config,
  createLog,
  type Database,
  databaseAddress,
  dataPaths,
  isOnPostgres,
  jobCounts,
  outboxBacklog,
  sqliteProblems,
  systemClock,
  workerCount,
} from './platform/index.ts';

const YEAR_MS = 366 * 24 * 3_600_000;
/** A clock that is behind what was recorded by more was set back. */
const CLOCK_MS = 5 * 60_000;
/** Of a version of 2026. */
const EARLIEST = Date.UTC(2026, 0, 1);
const BACKLOG_MOST = 100_000;

export interface DoctorOptions {
  /** Reads and hashes everything. */
  readonly deep: boolean;
  /** Does the repairs that are safe. */
  readonly mend: boolean;
  readonly signal: AbortSignal;
  begun(check: string): void;
}

/**
 * Looks whether an installation is as it must be, beside its running server too. Without `mend` nothing is changed; with it
 * each repair has its audit record. A database that cannot be opened ends no check that needs none.
 */
export async function examineInstallation(config: Config, { deep, mend, signal, begun }: DoctorOptions): Promise<Report> {
  requireInstallation(config);
  const paths = dataPaths(config);
  const alone: Check[] = [
    { name: 'configuration', title: 'the configuration', run: () => configuration(config) },
    ...hostChecks(paths),
    isOnPostgres(config)
      ? { name: 'postgresql', title: 'the PostgreSQL server and database', run: (during) => postgres(config, deep, during) }
      : { name: 'database', title: 'the database file', run: () => databaseFile(paths.database) },
  ];
  const common = { now: systemClock.now(), signal, begun: ({ name }: Check) => begun(name) };
  const repaired: [NonNullable<Finding['mend']>, Finding][] = []; // recorded once the database is known to be sound
  const repairHost = async (how: NonNullable<Finding['mend']>, finding: Finding) => {
    await how.run();
    repaired.push([how, finding]);
  };
  const first = await runChecks(alone, { ...common, ...(mend ? { mend: repairHost } : {}) });
  if (first.checks.some(({ name, found }) => name === 'database' && found > 0)) return first; // nothing it says can be relied on
  const database = await openDatabase(config, { checkpoint: false, migrate: false });
  try {
    const { pending } = await migrationState(database);
    if (pending.length > 0) return merge(first, await runChecks([migrationCheck(database)], common));
    const log = createLog('silent');
    return await withStore(config, database, async (blobs) => {
      const actor = commandLine();
      const parts = { database, blobs, clock: database.clock, log, actor, config, sources: blobs.spare ? [blobs.spare] : [] };
      const checks = [
        migrationCheck(database),
        { name: 'clock', title: 'the clock', run: () => clock(database) },
        ...graphChecks(parts),
        usageCheck(parts.database),
        ...storeChecks({ ...parts, deep }),
        { name: 'work', title: 'work in the background', run: () => work(database) },
        { name: 'audit', title: 'the audit trail', run: () => trail(config) },
      ];
      const record = async (how: NonNullable<Finding['mend']>, { where, what }: Finding) => {
        const entry = { actor, origin: null, action: how.audit, outcome: 'success' } as const;
        const after = { found: what, done: how.does };
        await database.write((tx) => audit(tx, { ...entry, resource: { type: 'doctor', name: where }, after }, database.clock));
      };
      const repair = async (how: NonNullable<Finding['mend']>, finding: Finding) => {
        await how.run();
        await record(how, finding);
      };
      for (const [how, finding] of repaired) await record(how, finding);
      return merge(first, await runChecks(checks, { ...common, ...(mend ? { mend: repair } : {}) }));
    });
  } finally {
    await database.close();
  }
}

function merge(first: Report, second: Report): Report {
  return {
    at: first.at,
    checks: [...first.checks, ...second.checks],
    errors: first.errors + second.errors,
    warnings: first.warnings + second.warnings,
    notices: first.notices + second.notices,
    mended: first.mended + second.mended,
  };
}

async function* configuration(config: Config): AsyncGenerator<Finding> {
  const { publicUrl, listen, trustedProxies, storageDir, outboundCaFile } = config;
  const isLocal = /^(127\.|\[::1\]|localhost)/.test(listen);
  if (!isLocal && publicUrl === '') {
    const remedy = 'set it to the address that clients use';
    yield { severity: 'notice', where: 'publicUrl', what: 'is empty, so links and tokens take the address from each request', remedy };
  }
  if (publicUrl.startsWith('http://') && !/^http:\/\/(localhost|127\.|\[::1\])/.test(publicUrl)) {
    const remedy = 'put a proxy with TLS in front';
    yield { severity: 'warning', where: 'publicUrl', what: 'is http: passwords and tokens cross the network in the clear', remedy };
  }
  if (/(^|[,\s])(0\.0\.0\.0|::)\/0/.test(trustedProxies)) {
    const remedy = 'name the proxies only';
    yield { severity: 'warning', where: 'trustedProxies', what: 'believes anybody who says from where a request comes', remedy };
  }
  for (const [key, path] of Object.entries({ storageDir, outboundCaFile })) {
    if (path !== '' && !existsSync(path))
      yield { severity: 'error', where: key, what: `names ${path}, which is not there`, remedy: 'mount or mend it' };
  }
}

async function* databaseFile(path: string): AsyncGenerator<Finding> {
  const remedy = 'stop the server, keep a copy of the folder, and entrepot restore the newest backup';
  for (const what of sqliteProblems(path)) yield { severity: 'error', where: path, what, remedy };
}

async function* postgres(config: Config, deep: boolean, signal: AbortSignal): AsyncGenerator<Finding> {
  const url = databaseAddress(config);
  const { databaseConnections } = config;
  const looked = { deep, connections: databaseConnections, processes: workerCount(config), now: systemClock.now(), signal };
  for await (const { setSequence, ...found } of postgresProblems(url, looked)) {
    const run = async () => void (setSequence && (await raiseSequence(url, setSequence)));
    yield { ...found, ...(setSequence ? { mend: { audit: 'database.mend', does: 'counts on from there', run } } : {}) };
  }
}

function migrationCheck(database: Database): Check {
  return {
    name: 'migrations',
    title: 'tables of this version',
    async *run() {
      const { pending, unknown } = await migrationState(database);
      if (pending.length > 0) {
        const what = `has not had ${pending.length} changes of its tables, such as ${pending[0]}; the checks that need them were left out`;
        yield { severity: 'error', where: 'the database', what, remedy: 'start the server of this version once' };
      }
      if (unknown.length > 0) {
        const what = `had changes that this version does not know, such as ${unknown[0]}`;
        yield { severity: 'warning', where: 'the database', what, remedy: 'use the version that made them, or a newer one' };
      }
    },
  };
}

async function* clock(database: Database): AsyncGenerator<Finding> {
  const now = database.clock.now();
  if (now < EARLIEST) {
    yield { severity: 'error', where: 'the clock', what: `says ${new Date(now).toISOString()}`, remedy: 'set it, and keep it by NTP' };
  }
  const newest = await newestRecord(database);
  if (newest === undefined || newest - now < CLOCK_MS) return;
  const ahead = newest - now > YEAR_MS ? 'years' : `${Math.round((newest - now) / 60_000)} minutes`;
  const remedy = 'set the clock by NTP; what expires by time waits as long as it was ahead';
  yield { severity: 'warning', where: 'the clock', what: `is ${ahead} behind the newest audit record`, remedy };
}

async function newestRecord(database: Database): Promise<number | undefined> {
  const head = await auditHead(database);
  if (!head) return undefined;
  for await (const { at } of recordsInOrder(database, head.seq, head.seq)) return at;
  return undefined;
}

async function* work(database: Database): AsyncGenerator<Finding> {
  const dead = (await jobCounts(database)).find(({ state }) => state === 'dead')?.jobs ?? 0;
  if (dead > 0) {
    const remedy = 'look at them: GET /api/v1/jobs?state=dead';
    yield { severity: 'warning', where: 'jobs', what: `${dead} were given up`, remedy };
  }
  const behind = await outboxBacklog(database);
  if (behind > BACKLOG_MOST) {
    yield {
      severity: 'warning',
      where: 'events',
      what: `${behind} wait for their slowest consumer`,
      remedy: 'is the server running? See its log',
    };
  }
}

async function* trail(config: Config): AsyncGenerator<Finding> {
  try {
    await verifyAudit(config);
  } catch (error) {
    const remedy = 'find out who could write to the database; compare with what was forwarded (docs/reference/audit.md)';
    yield { severity: 'error', where: 'the audit trail', what: (error as Error).message, remedy };
  }
}

export type { Report } from './lifecycle/commands.ts';
