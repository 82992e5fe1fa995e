import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { get } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Origin } from './load/connection.ts';
import { Processes } from './processes.ts';

const ENTREPOT = fileURLToPath(new URL('../packages/cli/bin/entrepot.js', import.meta.url));
const DOCKER_REGISTRY = '/usr/bin/docker-registry';
const NGINX = '/usr/sbin/nginx';
const READY_LIMIT_MS = 30_000;

/** `plain` is the registry itself, where what is measured of it is an option. */
export type Side = 'entrepot' | 'docker-registry' | 'nginx' | 'plain';

/** A server under measurement. */
export interface Server {
  readonly url: URL;
  /** undefined where the server is not ours and its processes cannot be seen. */
  readonly processes: Processes | undefined;
  /** From spawning to the first 200. */
  readonly readyMs: number;
  /** Frees the disk from the large blobs uploaded so far, which nobody asks for again. */
  forgetLargeBlobs(): void;
  stop(): Promise<void>;
}

/** Which sides can be measured here. */
export function isInstalled(side: Side): boolean {
  return side === 'entrepot' || side === 'plain' || existsSync(side === 'nginx' ? NGINX : DOCKER_REGISTRY);
}

/** A server that runs already. */
export function remote(url: string): Server {
  return { url: new URL(url), processes: undefined, readyMs: Number.NaN, forgetLargeBlobs() {}, stop: async () => undefined };
}

/** A bucket of its own for a server under measurement. */
export interface Bucket {
  readonly endpoint: string;
  readonly folder: string;
  stop(): Promise<void>;
}

const BUCKET = 'bench';
const KEYS = { id: 'bench-key', secret: 'secret-of-the-bench-key' };

/** versitygw on a folder, with one empty bucket. */
export async function startBucket(program: string): Promise<Bucket> {
  let root = '';
  const server = await start(undefined, '/health', (folder, port) => {
    root = join(folder, 'data');
    mkdirSync(join(root, BUCKET));
    const words = [program, '--port', `127.0.0.1:${port}`, '--access', KEYS.id, '--secret', KEYS.secret, '--quiet', '--keep-alive'];
    return { words: [...words, '--health', '/health', 'posix', root], env: {} };
  });
  return { endpoint: `http://${server.url.host}`, folder: join(root, BUCKET), stop: () => server.stop() };
}

/** Options that put blobs into a bucket. */
export function bucketOptions({ endpoint, folder }: Bucket): readonly string[] {
  const secret = join(folder, '..', 'secret');
  writeFileSync(secret, KEYS.secret, { mode: 0o600 });
  return [
    '--storage',
    's3',
    '--s3-bucket',
    BUCKET,
    '--s3-endpoint',
    endpoint,
    '--s3-access-key-id',
    KEYS.id,
    '--s3-secret-key-file',
    secret,
  ];
}

/** Of every server of ours in one run, so that one on the same data as another before has it too. */
const password = randomBytes(16).toString('hex');

/** The registry as a newcomer gets it: default configuration but for these options, and fresh data unless a directory is given. */
export function startEntrepot(workers: string, data?: string, options: readonly string[] = []): Promise<Server> {
  return start(`admin:${password}`, '/readyz', (folder, port) => ({
    words: [
      process.execPath,
      '--max-semi-space-size=4',
      ENTREPOT,
      'serve',
      '--listen',
      `127.0.0.1:${port}`,
      '--data',
      data ?? join(folder, 'data'),
      '--workers',
      workers,
      ...options,
    ],
    env: { ENTREPOT_ADMIN_PASSWORD: password },
  }));
}

/** Debian's configuration, but without a login, access log and health checks: nothing that would slow it. */
export function startDockerRegistry(bucket?: Bucket): Promise<Server> {
  return start(undefined, '/v2/', (folder, port) => {
    const file = join(folder, 'config.yml');
    const settings = {
      version: '0.1',
      log: { level: 'error', accesslog: { disabled: true } },
      storage: {
        cache: { blobdescriptor: 'inmemory' },
        ...(bucket ? { s3: driverSettings(bucket), redirect: { disable: true } } : { filesystem: { rootdirectory: join(folder, 'data') } }),
        delete: { enabled: true },
      },
      http: { addr: `127.0.0.1:${port}`, secret: 'the same for one run' },
    };
    writeFileSync(file, JSON.stringify(settings)); // JSON is YAML
    // Its AWS client cannot take a bundle of certificates from the environment.
    return { words: [DOCKER_REGISTRY, 'serve', file], env: { OTEL_TRACES_EXPORTER: 'none', AWS_CA_BUNDLE: '' } };
  });
}

/** Of distribution's S3 driver. */
function driverSettings({ endpoint }: Bucket) {
  const keys = { accesskey: KEYS.id, secretkey: KEYS.secret, region: 'us-east-1' };
  return { ...keys, regionendpoint: endpoint, bucket: BUCKET, secure: false, v4auth: true };
}

/** One nginx process that serves `/blob` from a file with sendfile. */
export function startNginx(blob: Buffer): Promise<Server> {
  return start(undefined, '/ready', (folder, port) => {
    writeFileSync(join(folder, 'blob'), blob);
    writeFileSync(join(folder, 'ready'), 'ok');
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/${name};`).join(' ');
    writeFileSync(
      join(folder, 'nginx.conf'),
      `daemon off; worker_processes 1; pid ${folder}/pid; ${process.getuid?.() === 0 ? 'user root;' : ''}
       error_log stderr; events { worker_connections 256; }
       http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; ${temporary}
              server { listen 127.0.0.1:${port}; root ${folder}; } }`,
    );
    return { words: [NGINX, '-e', 'stderr', '-c', join(folder, 'nginx.conf')], env: {} };
  });
}

type Command = (folder: string, port: number) => { readonly words: readonly string[]; readonly env: Readonly<Record<string, string>> };

async function start(login: string | undefined, readyPath: string, command: Command): Promise<Server> {
  const folder = mkdtempSync(join(tmpdir(), 'entrepot-bench-'));
  const removeFolder = () => rmSync(folder, { recursive: true, force: true });
  process.on('exit', removeFolder);
  mkdirSync(join(folder, 'data'), { mode: 0o700 });
  const port = await freePort();
  const { words, env } = command(folder, port);
  const [program = '', ...rest] = words;
  const log = openSync(join(folder, 'log'), 'a');
  const started = performance.now();
  const child = spawn(program, rest, { env: { ...process.env, ...env }, stdio: ['ignore', log, log] });
  const kill = () => child.kill('SIGKILL');
  process.on('exit', kill);
  const url = new URL(`http://${login ? `${login}@` : ''}127.0.0.1:${port}`);
  try {
    await untilReady(child, new URL(readyPath, `http://127.0.0.1:${port}`));
  } catch (cause) {
    kill();
    throw new Error(`${program} did not start:\n${readFileSync(join(folder, 'log'), 'utf8').slice(-2000)}`, { cause });
  }
  return {
    url,
    processes: child.pid === undefined ? undefined : new Processes(child.pid),
    readyMs: performance.now() - started,
    forgetLargeBlobs: () => forgetLargeBlobs(join(folder, 'data')),
    async stop() {
      await end(child);
      process.off('exit', kill);
      emptyFiles(folder);
    },
  };
}

async function untilReady(child: ChildProcess, url: URL): Promise<void> {
  const limit = performance.now() + READY_LIMIT_MS;
  while (performance.now() < limit) {
    if (child.exitCode !== null || child.pid === undefined) throw new Error('it ended');
    const status = await new Promise<number>((resolve) => {
      get(url, { agent: false }, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      }).on('error', () => resolve(0));
    });
    if (status === 200) return;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  throw new Error('it took too long');
}

function end(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null) return resolve();
    const late = setTimeout(() => child.kill('SIGKILL'), 5000);
    child.once('exit', () => {
      clearTimeout(late);
      resolve();
    });
    child.kill('SIGTERM');
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const LARGE_BYTES = 64 << 20;
const SPACE_BYTES = 256 * 1024;

function forgetLargeBlobs(folder: string): void {
  for (const [path, size] of files(folder)) if (size >= LARGE_BYTES && path.endsWith('/data')) rmSync(path);
}

/**
 * Frees the space of what a server leaves, but not its inodes: those go when all is measured. A file system without a
 * journal searches long for a free inode after many deletions, which would slow whoever is measured next.
 */
function emptyFiles(folder: string): void {
  for (const [path, size] of files(folder)) if (size >= SPACE_BYTES) truncateSync(path);
}

function files(folder: string): [path: string, size: number][] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => [path, statSync(path).size]);
}

/** A server's address together with what it asks for at its door: nothing, Basic, or a token of its token service. */
export async function originOf({ url }: Server, repository: string): Promise<Origin> {
  const base = `http://${url.host}`;
  const basic =
    url.username === ''
      ? undefined
      : `Basic ${Buffer.from(`${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`).toString('base64')}`;
  const origin = { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || 80) };
  const asked = await fetch(`${base}/v2/`);
  await asked.arrayBuffer();
  const challenge = asked.headers.get('www-authenticate') ?? '';
  if (asked.status !== 401 || !/^bearer /i.test(challenge)) return { ...origin, authorization: asked.status === 401 ? basic : undefined };
  const realm = new URL(/realm="([^"]+)"/.exec(challenge)?.[1] ?? '');
  realm.searchParams.set('service', /service="([^"]+)"/.exec(challenge)?.[1] ?? '');
  realm.searchParams.set('scope', `repository:${repository}:pull,push`);
  const answer = await fetch(realm, basic === undefined ? {} : { headers: { authorization: basic } });
  if (!answer.ok) throw new Error(`the token service answered ${answer.status}`);
  const { token } = (await answer.json()) as { token: string };
  return { ...origin, authorization: `Bearer ${token}` };
}
