import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { atEnd } from './at-end.ts';
import { databaseOfRun } from './postgres.ts';

const ENTREPOT = fileURLToPath(new URL('../../packages/cli/bin/entrepot.js', import.meta.url));

export const ADMIN = { user: 'admin', password: 'correct-horse-battery-staple' };

/** A running registry of its own process, as an operator starts it. */
export interface TestServer {
  readonly address: string;
  readonly url: string;
  readonly dataDir: string;
  /** Of its PostgreSQL database; undefined where it is SQLite's. */
  readonly databaseUrl: string | undefined;
  readonly process: ChildProcess;
  /** All that it printed so far. */
  output(): string;
  /** Ends it with a signal and gives its exit code. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
  /** Runs an `entrepot` command on its data directory and gives what it printed. */
  command(...words: string[]): Promise<string>;
}

export interface ServerOptions {
  readonly dataDir?: string;
  readonly options?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  /** Address of a PostgreSQL database; without it the database is SQLite in the data directory. */
  readonly databaseUrl?: string;
  /** Program and arguments in front of `node`, for example strace. */
  readonly wrapper?: readonly string[];
}

/** A folder that is removed after the tests of the file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'entrepot-test-'));
  atEnd(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10 }));
  return folder;
}

/** This process's environment without what steers the tests: the server takes variables of that prefix for its options. */
export function environment(): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('ENTREPOT_')));
}

/** Starts `entrepot serve` on a free port and resolves when it is ready. */
export async function startServer({
  dataDir = temporaryFolder(),
  options = {},
  env = {},
  databaseUrl,
  wrapper = [],
}: ServerOptions = {}): Promise<TestServer> {
  const database = databaseUrl ?? (await databaseOfRun(dataDir));
  const variables = database === undefined ? {} : { ENTREPOT_DATABASE_URL: database };
  const flags = Object.entries({ listen: '127.0.0.1:0', data: dataDir, inventory: 'false', ...options }).flatMap(([key, value]) => [
    `--${key}`,
    value,
  ]);
  const [program = process.execPath, ...words] = [...wrapper, process.execPath, ENTREPOT, 'serve', ...flags];
  const child = spawn(program, words, {
    env: { ...environment(), ...variables, ENTREPOT_ADMIN_PASSWORD: ADMIN.password, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let printed = '';
  const address = await new Promise<string>((resolve, reject) => {
    const take = (chunk: Buffer) => {
      printed += chunk.toString();
      const match = /ready at http:\/\/(\S+)/.exec(printed);
      if (match?.[1]) resolve(match[1]);
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.once('error', reject);
    child.once('exit', (code, signal) => reject(new Error(`the server ended (${code ?? signal}) before it was ready:\n${printed}`)));
  });
  const stop = (signal: NodeJS.Signals = 'SIGTERM') =>
    new Promise<number | null>((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) return resolve(child.exitCode);
      child.once('exit', (code) => resolve(code));
      child.kill(signal);
    });
  atEnd(async () => {
    await stop('SIGKILL'); // a test that failed may not have come to its own end
  });
  return {
    address,
    url: `http://${address}`,
    dataDir,
    databaseUrl: database,
    process: child,
    output: () => printed,
    stop,
    command: (...words) =>
      new Promise((resolve, reject) => {
        const args = [ENTREPOT, ...words, '--data', dataDir];
        const run = spawn(process.execPath, args, { env: { ...environment(), ...variables }, stdio: ['ignore', 'pipe', 'pipe'] });
        let text = '';
        run.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
        run.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
        run.once('exit', (code) => (code === 0 ? resolve(text.trim()) : reject(new Error(text))));
      }),
  };
}

/** Runs an `entrepot` command to its end. */
export function entrepot(...words: readonly string[]): Promise<{ code: number | null; out: string; err: string }> {
  const run = spawn(process.execPath, [ENTREPOT, ...words], { env: environment(), stdio: ['ignore', 'pipe', 'pipe'] });
  let [out, err] = ['', ''];
  run.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  run.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  return new Promise((resolve) => run.once('close', (code) => resolve({ code, out, err })));
}
