import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { environment, temporaryFolder } from './harness/server.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const ENTREPOT = fileURLToPath(new URL('../packages/cli/bin/entrepot.js', import.meta.url));
/** Makes this Node look like an older one to the wrapper, and only to it: the Node that it starts gets no such flag. */
const PRETEND_OLD = 'data:text/javascript,Object.defineProperty(process,"versions",{value:{...process.versions,node:"20.1.0"}})';

interface Run {
  readonly process: ChildProcess;
  /** Resolves with the address once the server is ready. */
  readonly ready: Promise<string>;
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

const running: ChildProcess[] = [];
afterEach(() => {
  for (const child of running.splice(0)) if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
});

function start(program: string, words: readonly string[]): Run {
  const env = { ...environment(), ENTREPOT_ADMIN_PASSWORD: 'correct-horse-battery-staple' };
  const child = spawn(program, words, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] });
  running.push(child);
  let printed = '';
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  const ready = new Promise<string>((resolve, reject) => {
    const take = (chunk: Buffer) => {
      printed += chunk.toString();
      const match = /ready at (http:\/\/\S+)/.exec(printed);
      if (match?.[1]) resolve(match[1]);
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    void ended.then(() => reject(new Error(`ended before it was ready:\n${printed}`)));
  });
  ready.catch(() => undefined);
  return { process: child, ready, ended };
}

const serve = (...more: string[]) => ['serve', '--listen', '127.0.0.1:0', '--data', temporaryFolder(), ...more];

/** Programs that hand over to the pinned Node; the system's own where it is old enough to need that. */
const wrappers: [string, string, string[]][] = [['a Node made to look old', process.execPath, ['--import', PRETEND_OLD]]];
const system = systemNode();
if (system !== undefined) wrappers.push([`the system's Node`, system, []]);

describe.each(wrappers)('entrepot under %s', (_, node, flags) => {
  it.each(['SIGTERM', 'SIGINT'] as const)('hands %s on, waits for the drain and ends with its code', async (signal) => {
    const run = start(node, [...flags, ENTREPOT, ...serve()]);
    const url = await run.ready;
    expect((await fetch(`${url}/livez`)).status).toBe(200);
    expect(childrenOf(run.process)).toHaveLength(1);
    run.process.kill(signal);
    expect(await run.ended).toEqual({ code: 0, signal: null });
    await expect(fetch(`${url}/livez`)).rejects.toThrow();
  });

  it('ends by the signal that ended the server', async () => {
    const run = start(node, [...flags, ENTREPOT, ...serve()]);
    await run.ready;
    const [child] = childrenOf(run.process);
    expect(child).toBeDefined();
    process.kill(Number(child), 'SIGKILL');
    expect(await run.ended).toEqual({ code: null, signal: 'SIGKILL' });
  });

  it('ends with the exit code of the command', async () => {
    const run = start(node, [...flags, ENTREPOT, 'config', 'check', '--workers', 'many']);
    expect(await run.ended).toEqual({ code: 1, signal: null });
  });
});

describe('npm start', () => {
  it('hands SIGTERM on and leaves nothing behind', async () => {
    const run = start('npm', ['start', '--', ...serve().slice(1)]);
    const url = await run.ready;
    run.process.kill('SIGTERM');
    expect(await run.ended).toEqual({ code: 0, signal: null });
    await expect(fetch(`${url}/livez`)).rejects.toThrow();
  });
});

describe('a second signal', () => {
  it('does not cut the drain short', async () => {
    const run = start(process.execPath, [ENTREPOT, ...serve()]);
    const url = await run.ready;
    // An upload that is still under way keeps the drain open.
    let send = () => {};
    const body = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode('first half, '));
        send = () => {
          controller.enqueue(new TextEncoder().encode('second half'));
          controller.close();
        };
      },
    });
    const authorization = `Basic ${Buffer.from('admin:correct-horse-battery-staple').toString('base64')}`;
    const session = await fetch(`${url}/v2/demo/app/blobs/uploads/`, { method: 'POST', headers: { authorization } });
    const location = new URL(session.headers.get('location') ?? '', url);
    const patch = fetch(location, { method: 'PATCH', body, headers: { authorization }, duplex: 'half' } as RequestInit);
    await expect.poll(async () => await runningUploads(url)).toBe(1);
    run.process.kill('SIGTERM');
    await expect.poll(async () => (await fetch(`${url}/readyz`)).status).toBe(503);
    run.process.kill('SIGINT');
    // Whoever ignores the second signal is still there to be asked for a third.
    await new Promise((resolve) => setTimeout(resolve, 300));
    send();
    expect((await patch).status).toBe(202);
    expect(await run.ended).toEqual({ code: 0, signal: null });
  });
});

async function runningUploads(url: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(/entrepot_transfers_running\{direction="upload"\} ([0-9]+)/.exec(text)?.[1] ?? 0);
}

function childrenOf({ pid }: ChildProcess): string[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean);
}

function systemNode(): string | undefined {
  try {
    const path = process.env.PATH?.split(':')
      .filter((folder) => !folder.includes('node_modules'))
      .join(':');
    const found = execFileSync('which', ['node'], { env: { PATH: path ?? '' }, encoding: 'utf8' }).trim();
    const version = execFileSync(found, ['--version'], { encoding: 'utf8' });
    return Number(/^v([0-9]+)/.exec(version)?.[1]) < 24 ? found : undefined;
  } catch {
    return undefined;
  }
}
