import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type SuiteFactory } from 'vitest';
import { temporaryFolder } from '../harness/server.ts';
import { describeWith, has } from '../harness/tools.ts';

/** One system call; `start` and `end` are places in the trace, which differ where another thread came in between. */
export interface Call {
  readonly name: string;
  args: string;
  readonly start: number;
  end: number;
}

/** A tracer of a running server; while it is attached its injections hold. */
export interface Tracer {
  /** What it saw so far; complete once it is detached. */
  calls(): Call[];
  detach(): Promise<void>;
}

/** `ENTREPOT_SWEEP=full`: strike at every single call, instead of at the first ones and then in growing strides. */
const FULL = process.env.ENTREPOT_SWEEP === 'full';

/** The number of the call to strike at after number `n`; strides grow to one `part` of it. */
export function next(n: number, part: number): number {
  return FULL ? n + 1 : n + Math.max(1, Math.floor(n / part));
}

let traces = 0;
let folder: string | undefined;

/** Attaches strace to a process with all its threads, or to one thread, and resolves when it watches. */
export async function attach(target: { process: number } | { thread: number }, args: readonly string[]): Promise<Tracer> {
  folder ??= temporaryFolder();
  const file = join(folder, `${++traces}.trace`);
  const which = 'process' in target ? ['-f', '-p', String(target.process)] : ['-p', String(target.thread)];
  const child = spawn('strace', ['-o', file, ...args, ...which], { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  let printed = '';
  await new Promise<void>((resolve, reject) => {
    child.stderr.on('data', (chunk: Buffer) => {
      printed += chunk.toString();
      if (printed.includes(' attached')) resolve();
    });
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`strace ended: ${printed}`)));
  });
  return {
    calls: () => callsOf(readFileSync(file, 'utf8').trim().split('\n')),
    detach: async () => {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

/** The threads of a server that make system calls of interest: its own, and those that work on files. */
export function threadsOf(pid: number): { readonly main: number; readonly pool: readonly number[] } {
  const pool = readdirSync(`/proc/${pid}/task`).filter(
    (id) => readFileSync(`/proc/${pid}/task/${id}/comm`, 'utf8').trim() === 'libuv-worker',
  );
  return { main: pid, pool: pool.map(Number) };
}

/** A suite that needs strace, and a system that lets one process trace another. */
export function describeTraced(name: string, suite: SuiteFactory): void {
  if (!has('strace') || mayTrace()) {
    describeWith(['strace'], name, suite);
  } else {
    console.log(`skipped: ${name} (this system does not permit tracing)`);
    describe.skip(name, suite);
  }
}

function mayTrace(): boolean {
  const target = spawn('sleep', ['5'], { stdio: 'ignore' });
  try {
    const { stderr } = spawnSync('timeout', ['0.5', 'strace', '-o', '/dev/null', '-p', String(target.pid)], { encoding: 'utf8' });
    return stderr.includes(' attached');
  } finally {
    target.kill('SIGKILL');
  }
}

/** Whether strace knows a system call of this machine; `rename` for one is not on every architecture. */
export function knownCalls(calls: readonly string[]): string {
  return calls
    .filter((call) => {
      try {
        execFileSync('strace', ['-qq', '-o', '/dev/null', '-e', `trace=${call}`, 'true'], { stdio: 'ignore' });
        return true;
      } catch {
        return false;
      }
    })
    .join(',');
}

/** Reads `PID call(args) = result`, and calls cut in two by another thread: `<unfinished ...>`, `<... call resumed>`. */
function callsOf(lines: readonly string[]): Call[] {
  const calls: Call[] = [];
  const open = new Map<string, Call>();
  for (const [index, line] of lines.entries()) {
    const [, thread = '', resumed, begun, args = ''] = /^(\d+)\s+(?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)$/.exec(line) ?? [];
    const unfinished = open.get(thread);
    if (resumed !== undefined && unfinished) {
      unfinished.end = index;
      unfinished.args += args;
      open.delete(thread);
    } else if (begun !== undefined) {
      const call = { name: begun, args, start: index, end: index };
      calls.push(call);
      if (args.endsWith('<unfinished ...>')) open.set(thread, call);
    }
  }
  return calls;
}
