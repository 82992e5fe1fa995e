import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { openDatabase } from './app.ts';
import { createProject } from './catalog/index.ts';
import { openAuditKeys } from './evidence/index.ts';
import { moveDatabase } from './move.ts';
import { newDatabase, sharedCluster } from './platform/database/testing-postgres.ts';
import { type Config, dataPaths, loadConfig, openSecrets } from './platform/index.ts';

const ENTREPOT = fileURLToPath(new URL('../../cli/bin/entrepot.js', import.meta.url));
const options = { signal: new AbortController().signal, progress: () => undefined };
const WAIT = { timeout: 100_000, interval: 5 };
let folder: string;
let cluster: Awaited<ReturnType<typeof sharedCluster>>;
let postgres: Awaited<ReturnType<typeof newDatabase>>;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'entrepot-killed-'));
  cluster = await sharedCluster();
  postgres = await newDatabase(cluster);
});
afterEach(async () => {
  await postgres.drop();
  rmSync(folder, { recursive: true, force: true });
});

function configIn(name: string, config: Record<string, string>): { readonly file: string; readonly config: Config } {
  const file = join(folder, `${name}.yaml`);
  writeFileSync(file, JSON.stringify({ dataDir: join(folder, 'data'), ...config }));
  return { file, config: loadConfig({ file, env: {} }) };
}

/** This process's environment without what steers the tests: the command takes variables of that prefix for its options. */
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('ENTREPOT_')));

/** Runs the command and kills it once something is so; it must not have ended before. */
async function killed(from: string, to: string, isSo: () => Promise<boolean>): Promise<void> {
  const child = spawn(process.execPath, [ENTREPOT, 'move', 'database', '--config', from, '--to', to], { stdio: 'ignore', env });
  const exited = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  await vi.waitFor(async () => expect(await isSo()).toBe(true), WAIT);
  child.kill('SIGKILL');
  expect((await exited)[1]).toBe('SIGKILL');
}

test('F4: a move that is killed leaves one database that is whole, and is begun again', { timeout: 240_000 }, async () => {
  const one = configIn('one', {});
  const many = configIn('many', { databaseUrl: postgres.url });
  const paths = dataPaths(one.config);
  openSecrets(paths.keys);
  openAuditKeys(paths.keys);
  const database = await openDatabase(one.config, { checkpoint: true });
  await database.write((tx) => createProject(tx, { name: 'demo', public: false, by: 'ann', now: 1 }));
  await database.close();
  const sessions = () =>
    cluster.sql(`SELECT query FROM pg_stat_activity WHERE datname = '${postgres.name}' AND application_name = 'entrepot'`);

  await killed(one.file, many.file, async () =>
    (await sessions()).some(({ query }) => /^(create|alter|drop|insert|declare)/i.test(String(query))),
  );
  await vi.waitFor(async () => expect(await sessions()).toEqual([]), WAIT);
  expect(await cluster.sql("SELECT 1 FROM pg_class WHERE relname IN ('migration', 'project')", postgres.name)).toEqual([]);
  await (await openDatabase(one.config, { checkpoint: false })).close();
  await moveDatabase(one.config, many.config, options);
  expect(await cluster.sql('SELECT name FROM project', postgres.name)).toEqual([{ name: 'demo' }]);

  await killed(many.file, one.file, async () => existsSync(`${paths.database}.moving`));
  await vi.waitFor(async () => expect(await sessions()).toEqual([]), WAIT);
  await expect(openDatabase(one.config, { checkpoint: false })).rejects.toThrow('was moved to PostgreSQL');
  await moveDatabase(many.config, one.config, options);
  await (await openDatabase(one.config, { checkpoint: false })).close();
});
