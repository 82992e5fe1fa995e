import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';

// Keeps one PostgreSQL server for tests: starts and stops it as the lines on its input say. When the input ends, as it does
// when whoever started the keeper dies, the server ends too and its data is removed.

const [folder = '', bin = '', speed = '', port = ''] = process.argv.slice(2);
const data = join(folder, 'data');
/** PostgreSQL refuses to run as root; `nobody` it is then. */
const isRoot = process.getuid?.() === 0;
const NOBODY = 65_534;
const identity = isRoot ? { uid: NOBODY, gid: NOBODY } : {};
const env = { PATH: process.env.PATH, LC_ALL: 'C' };
let server: ChildProcess | undefined;
let printed = '';
process.stdout.on('error', () => undefined); // whoever listened is gone; the input has ended too

/** npm leaves out symbolic links, which a script of the package makes where scripts may run. */
function makeLinks(): void {
  const list = join(dirname(bin), 'pg-symlinks.json');
  if (!existsSync(list)) return;
  for (const { source, target } of JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[]) {
    const path = join(dirname(dirname(bin)), target);
    try {
      symlinkSync(basename(source), path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}

function initialize(): void {
  makeLinks();
  const words = ['-D', data, '-U', 'entrepot', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'];
  const { status, stderr, stdout, error } = spawnSync(join(bin, 'initdb'), words, { ...identity, env, encoding: 'utf8', cwd: folder });
  if (status !== 0) throw new Error(`initdb: ${error?.message ?? ''}${stderr}${stdout}`);
}

async function start(): Promise<void> {
  if (isRoot) chownSync(folder, NOBODY, NOBODY);
  if (!existsSync(data)) initialize();
  const settings = {
    unix_socket_directories: folder,
    listen_addresses: port === '' ? '' : '*',
    ...(port === '' ? {} : { port }),
    max_connections: '300',
    fsync: speed === 'durable' ? 'on' : 'off',
    ...(speed === 'durable' ? {} : { synchronous_commit: 'on', full_page_writes: 'off', autovacuum: 'off' }),
  };
  const words = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  printed = '';
  const child = spawn(join(bin, 'postgres'), ['-D', data, ...words], {
    ...identity,
    env,
    cwd: folder,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  server = child;
  await new Promise<void>((resolve, reject) => {
    child.stderr.on('data', (chunk: Buffer) => {
      printed = `${printed}${chunk.toString()}`.slice(-4000);
      if (/ready to accept (read-only )?connections/.test(printed)) resolve();
    });
    child.once('error', reject);
    child.once('exit', (code, signal) => reject(new Error(`the server ended (${code ?? signal}): ${printed.replaceAll('\n', ' | ')}`)));
  });
}

async function stop(signal: NodeJS.Signals): Promise<void> {
  const child = server;
  server = undefined;
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill(signal);
  child.kill('SIGCONT'); // a test may have stopped it
  await exited;
}

const done = (work: Promise<void>) =>
  work.then(
    () => console.log('ok'),
    (error: unknown) => console.log((error as Error).message.replaceAll('\n', ' | ')),
  );

for await (const line of createInterface({ input: process.stdin })) {
  const [command, signal] = line.split(' ');
  await done(command === 'start' ? start() : stop((signal ?? 'SIGINT') as NodeJS.Signals));
}
await stop('SIGQUIT');
rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
