import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { readAnswer } from './answer.ts';
import { LAYER_LIMITS, type LayerLimits } from './limits.ts';
import type { Incomplete, LayerInventory } from './model.ts';

/** A layer in storage. */
export interface StoredLayer {
  readonly digest: string;
  /** Its bytes from the beginning, at most twice. Where this throws, so does the scan. */
  open(signal: AbortSignal): AsyncIterable<Uint8Array>;
}

export interface LayerScanner {
  /**
   * Makes the inventory of a layer in a process of its own. Whatever becomes of that process, as when it crashes, hangs or takes
   * too much memory, is said in the inventory. Rejects where the bytes cannot be had, and with the reason of the signal.
   */
  scan(layer: StoredLayer, signal: AbortSignal): Promise<LayerInventory>;
}

interface Options {
  readonly limits?: Partial<LayerLimits>;
  /** Layers at once; more wait for their turn. */
  readonly concurrency?: number;
  /** For tests: what runs in place of the reader. */
  readonly program?: string;
}

const HEAP_MIB = 512;
/** Resident memory of the process: its heap, one file of a layer, and what decompresses it. */
const MEMORY_MOST = 1536 * 2 ** 20;
const LOOK_MS = 500;
/** How long after the layer's own time the process may take to start and to answer. */
const GRACE_MS = 20_000;
const ANSWER_MOST = 128 * 2 ** 20;
const STDERR_MOST = 4000;
const SECOND = 3;

/** Reads layers, some at a time. */
export function createLayerScanner({ limits, concurrency = 1, program }: Options = {}): LayerScanner {
  const waiting: (() => void)[] = [];
  let running = 0;

  async function turn(signal: AbortSignal): Promise<void> {
    if (running < concurrency) {
      running++;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const go = () => {
        signal.removeEventListener('abort', leave);
        resolve();
      };
      const leave = () => {
        waiting.splice(waiting.indexOf(go), 1);
        reject(signal.reason as Error);
      };
      waiting.push(go);
      signal.addEventListener('abort', leave, { once: true });
    });
  }

  function done(): void {
    const next = waiting.shift();
    if (next) next();
    else running--;
  }

  return {
    async scan(layer, signal) {
      signal.throwIfAborted();
      await turn(signal);
      try {
        return await scanOne(layer, { ...LAYER_LIMITS, ...limits }, program ?? READER, signal);
      } finally {
        done();
      }
    },
  };
}

const READER = fileURLToPath(new URL('./layer-process.ts', import.meta.url));

async function scanOne(layer: StoredLayer, limits: LayerLimits, program: string, signal: AbortSignal): Promise<LayerInventory> {
  const child = start(program, { digest: layer.digest, limits });
  const ended = new AbortController();
  const stopFeeding = AbortSignal.any([signal, ended.signal]);
  let verdict: Incomplete | undefined;
  const end = (why?: Incomplete) => {
    verdict ??= why;
    child.kill('SIGKILL');
  };
  const stop = () => end();
  signal.addEventListener('abort', stop, { once: true });
  const late = setTimeout(() => end({ reason: 'limit', limit: 'time' }), limits.time + GRACE_MS);
  const watch = setInterval(() => {
    if (residentBytes(child.pid) > MEMORY_MOST) end({ reason: 'limit', limit: 'memory' });
  }, LOOK_MS);
  const gone = new Promise<{ code: number | null; signalName: string | null; error?: Error }>((resolve) => {
    child.once('error', (error) => resolve({ code: null, signalName: null, error }));
    child.once('close', (code, signalName) => resolve({ code, signalName }));
  });
  let failure: { readonly error: unknown } | undefined;
  const feed = async (to: Writable) => {
    try {
      await pipeline(Readable.from(watchedSource(layer.open(stopFeeding), (error) => (failure ??= { error }))), to, {
        signal: stopFeeding,
      });
    } catch {
      if (failure) child.kill('SIGKILL'); // otherwise the process has had enough, or is no more
    }
  };
  const feeding = [feed(child.stdin as Writable)];
  let complaint = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaint = `${complaint}${text}`.slice(-STDERR_MOST);
  });
  try {
    const [answer, exit] = await Promise.all([
      linesOf(child.stdout as Readable, end, () => feeding.push(feed(child.stdio[SECOND] as Writable))),
      gone,
    ]);
    ended.abort();
    await Promise.all(feeding);
    signal.throwIfAborted();
    if (failure) throw failure.error;
    if (exit.error) throw exit.error;
    const inventory = verdict === undefined && exit.code === 0 ? readAnswer(answer, layer.digest) : undefined;
    return inventory ?? nothingOf(layer.digest, verdict ?? failureOf(exit, complaint));
  } finally {
    clearTimeout(late);
    clearInterval(watch);
    signal.removeEventListener('abort', stop);
    ended.abort();
    child.kill('SIGKILL');
  }
}

/** An inventory that knows only why it says nothing. */
export function nothingOf(digest: string, incomplete: Incomplete): LayerInventory {
  const none = { evidence: [], osReleases: [], whiteouts: [], opaque: [], owned: [], written: [], folders: [], links: [] };
  return { digest, ...none, bytes: 0, entries: 0, incomplete };
}

function failureOf({ code, signalName }: { code: number | null; signalName: string | null }, complaint: string): Incomplete {
  if (complaint.includes('heap out of memory') || complaint.includes('ERR_MEMORY_ALLOCATION_FAILED'))
    return { reason: 'limit', limit: 'memory' };
  return { reason: 'failed', detail: `the process that reads layers ended (${code ?? signalName ?? 'without an answer'})` };
}

/** Tells a failure of the source from one of the pipe. */
async function* watchedSource(source: AsyncIterable<Uint8Array>, onFailure: (error: unknown) => void): AsyncGenerator<Uint8Array> {
  try {
    yield* source;
  } catch (error) {
    onFailure(error);
    throw error;
  }
}

/** Reads lines of the process: `again` once, then the answer, whose text is given. */
async function linesOf(stdout: Readable, end: (why: Incomplete) => void, again: () => void): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  let asked = false;
  try {
    for await (const chunk of stdout as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > ANSWER_MOST) {
        end({ reason: 'limit', limit: 'components' });
        return '';
      }
      chunks.push(chunk);
      if (!asked && chunk.includes(0x0a) && Buffer.concat(chunks).toString('utf8', 0, AGAIN.length) === AGAIN) {
        asked = true;
        again();
      }
    }
  } catch {
    return '';
  }
  return Buffer.concat(chunks)
    .toString('utf8')
    .slice(asked ? AGAIN.length : 0);
}

const AGAIN = '{"again":true}\n';

let isolation: readonly string[] | undefined;

/** What begins the command line: a network namespace of its own where users may make one. */
function isolationPrefix(): readonly string[] {
  isolation ??= (() => {
    const unshare = ['/usr/bin/unshare', '/bin/unshare'].find((path) => process.platform === 'linux' && existsSync(path));
    const prefix = unshare === undefined ? [] : [unshare, '--user', '--map-current-user', '--net', '--ipc', '--uts'];
    const [command, ...rest] = prefix;
    return command !== undefined && spawnSync(command, [...rest, '/bin/true'], { env: {}, stdio: 'ignore', timeout: 5000 }).status === 0
      ? prefix
      : [];
  })();
  return isolation;
}

function start(program: string, order: { readonly digest: string; readonly limits: LayerLimits }): ChildProcess {
  const [command = process.execPath, ...args] = [
    ...isolationPrefix(),
    process.execPath,
    '--permission',
    ...readable(program).map((path) => `--allow-fs-read=${path}`),
    `--max-old-space-size=${HEAP_MIB}`,
    '--disable-warning=SecurityWarning',
    program,
    JSON.stringify(order),
  ];
  return spawn(command, args, { env: {}, cwd: '/', stdio: ['pipe', 'pipe', 'pipe', 'pipe'] });
}

/** Code that the process may read: this package, the standard's own words, and the libraries that lie around them. */
function readable(program: string): string[] {
  const here = fileURLToPath(new URL('../../', import.meta.url));
  const oci = fileURLToPath(new URL('.', import.meta.resolve('@entrepot/oci')));
  const folders = [here, oci].flatMap((folder) => [folder, ...above(folder)]);
  return [...new Set([...folders, program])];
}

function above(folder: string): string[] {
  const found: string[] = [];
  for (let at = folder.replace(/\/$/, ''); at !== ''; ) {
    at = at.slice(0, at.lastIndexOf('/'));
    for (const path of [`${at}/package.json`, `${at}/node_modules`])
      if (existsSync(path)) found.push(path.endsWith('node_modules') ? `${path}/` : path);
  }
  return found;
}

function residentBytes(pid: number | undefined): number {
  try {
    const pages = Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]);
    return Number.isFinite(pages) ? pages * 4096 : 0;
  } catch {
    return 0;
  }
}
