import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { isolation } from './isolation.ts';
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
  /** What runs, if not the reader. */
  readonly program?: string;
  /** How long after the layer's own time the process may take to start and to answer. */
  readonly graceMs?: number;
  /** Heap of the process, in MiB. */
  readonly heap?: number;
  /** Most resident bytes of the process: its heap, one file of a layer, and what decompresses it. */
  readonly memory?: number;
  /** Most bytes of its answer. */
  readonly answer?: number;
}

const LOOK_MS = 200;
const STDERR_MOST = 4000;
const SECOND = 3;

/** Reads layers, some at a time. */
export function createLayerScanner({ limits, concurrency = 1, ...more }: Options = {}): LayerScanner {
  const waiting: (() => void)[] = [];
  const settings: Settings = {
    ...{ program: READER, graceMs: 20_000, heap: 512, memory: 1536 * 2 ** 20, answer: 128 * 2 ** 20 },
    ...more,
    limits: { ...LAYER_LIMITS, ...limits },
  };
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
        signal.throwIfAborted();
        return await scanOne(layer, settings, signal);
      } finally {
        done();
      }
    },
  };
}

const READER = fileURLToPath(new URL('./layer-process.ts', import.meta.url));

type Settings = Required<Omit<Options, 'limits' | 'concurrency'>> & { readonly limits: LayerLimits };

async function scanOne(layer: StoredLayer, settings: Settings, signal: AbortSignal): Promise<LayerInventory> {
  const child = start(settings, layer.digest);
  let verdict: Incomplete | undefined;
  const end = (why?: Incomplete) => {
    verdict ??= why;
    child.kill('SIGKILL');
  };
  const stop = () => end();
  signal.addEventListener('abort', stop, { once: true });
  const source = sourceOf(layer, signal, stop);
  const begun = performance.now();
  const watch = setInterval(() => {
    // What the storage takes, or requests that press, is not the layer's fault.
    if (performance.now() - begun - source.waitedMs() > settings.limits.time + settings.graceMs) end({ reason: 'limit', limit: 'time' });
    if (residentBytes(child.pid) > settings.memory) end({ reason: 'limit', limit: 'memory' });
  }, LOOK_MS);
  const ending = new Promise<Ending>((resolve) => {
    child.once('error', (error) => resolve({ code: null, signalName: null, error }));
    child.once('close', (code, signalName) => resolve({ code, signalName }));
  });
  let complaint = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaint = `${complaint}${text}`.slice(-STDERR_MOST);
  });
  for (const pipe of child.stdio) pipe?.on('error', () => undefined); // a process that is no more takes nothing
  try {
    source.feed(child.stdin as Writable);
    const text = await linesOf(child.stdout as Readable, settings.answer, end, () => source.feed(child.stdio[SECOND] as Writable));
    const { error, ...exit } = await ending;
    await source.stop();
    signal.throwIfAborted();
    if (error) throw error;
    if (verdict) return nothingOf(layer.digest, verdict);
    // Loaded here: whoever never reads a layer needs no schemas of answers.
    const inventory = exit.code === 0 ? (await import('./answer.ts')).readAnswer(text, layer.digest) : undefined;
    return inventory ?? nothingOf(layer.digest, failureOf(exit, complaint));
  } finally {
    clearInterval(watch);
    signal.removeEventListener('abort', stop);
    child.kill('SIGKILL');
    await source.stop();
  }
}

interface Ending {
  readonly code: number | null;
  readonly signalName: string | null;
  readonly error?: Error;
}

/** Feeds a process from a layer. A failure of the layer ends the process; one of the pipe says only that it is no more. */
function sourceOf(layer: StoredLayer, signal: AbortSignal, onFailure: () => void) {
  const stopping = new AbortController();
  const inner = AbortSignal.any([signal, stopping.signal]);
  const feeding: Promise<void>[] = [];
  let failure: { readonly error: unknown } | undefined;
  let waited = 0;

  async function* bytes(): AsyncGenerator<Uint8Array> {
    const chunks = layer.open(inner)[Symbol.asyncIterator]();
    try {
      for (;;) {
        const since = performance.now();
        // Not around the yield, to which the pipe throws what is its own matter.
        const step = await chunks.next().catch((error: unknown) => {
          failure ??= { error };
          onFailure();
          throw error;
        });
        waited += performance.now() - since;
        if (step.done === true) return;
        yield step.value;
      }
    } finally {
      await chunks.return?.();
    }
  }

  return {
    waitedMs: () => waited,
    feed(to: Writable): void {
      feeding.push(pipeline(Readable.from(bytes(), { objectMode: true, highWaterMark: 1 }), to, { signal: inner }).catch(() => undefined));
    },
    /** Throws what the layer failed with, unless it was stopped. */
    async stop(): Promise<void> {
      const before = failure;
      stopping.abort();
      await Promise.all(feeding);
      if (before && !signal.aborted) throw before.error;
    },
  };
}

/** An inventory that knows only why it says nothing. */
export function nothingOf(digest: string, incomplete: Incomplete): LayerInventory {
  const none = { evidence: [], osReleases: [], licences: [], whiteouts: [], opaque: [], owned: [], written: [], folders: [], links: [] };
  return { digest, ...none, bytes: 0, entries: 0, incomplete };
}

function failureOf({ code, signalName }: Ending, complaint: string): Incomplete {
  if (signalName === 'SIGXCPU') return { reason: 'limit', limit: 'time' };
  if (complaint.includes('heap out of memory') || complaint.includes('ERR_MEMORY_ALLOCATION_FAILED'))
    return { reason: 'limit', limit: 'memory' };
  return { reason: 'failed', detail: `the process that reads layers ended (${code ?? signalName ?? 'without an answer'})` };
}

/** Reads lines of the process: `again` once, then the answer, whose text is given. */
async function linesOf(stdout: Readable, most: number, end: (why: Incomplete) => void, again: () => void): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  let asked = false;
  try {
    for await (const chunk of stdout as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > most) {
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

function start({ program, heap, limits, graceMs }: Settings, digest: string): ChildProcess {
  const args = [
    '--permission',
    ...readable(program).map((path) => `--allow-fs-read=${path}`),
    `--max-old-space-size=${heap}`,
    '--disable-warning=SecurityWarning',
    program,
    JSON.stringify({ digest, limits }),
  ];
  const [command, ...before] = isolation((limits.time + graceMs) / 1000);
  const options: SpawnOptions = { env: {}, cwd: '/', stdio: ['pipe', 'pipe', 'pipe', 'pipe'] };
  return command === undefined ? spawn(process.execPath, args, options) : spawn(command, [...before, process.execPath, ...args], options);
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
