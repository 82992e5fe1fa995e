import { expect, test } from 'vitest';
import { Client } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { startServer, type TestServer } from '../harness/server.ts';
import { Ledger } from './ledger.ts';
import { newMaterial, pushImage } from './scenario.ts';
import { attach, describeTraced, knownCalls, next, threadsOf } from './strace.ts';

// strace counts calls in each thread: with one thread for files their number says where in the push it strikes.
const env = { UV_THREADPOOL_SIZE: '1' };

const FILES = [
  ['the sync of a file', ['fdatasync']],
  ['the sync of a directory', ['fsync']],
  ['the rename into place', ['rename', 'renameat', 'renameat2']],
  ['a write to a file', ['pwrite64', 'write']],
  ['opening a file', ['openat']],
  ['making a directory', ['mkdir', 'mkdirat']],
] as const;
const MAIN = [
  ['a write to the database', ['pwrite64']],
  ['a write to a client', ['write', 'writev']],
  ['closing a file', ['close']],
] as const;

describeTraced('kill -9 at each step of a push: what was acknowledged is there, and a repeated push succeeds', () => {
  test.each(FILES)('at %s', (_, calls) => sweep('pool', calls));
  test.each(MAIN)('at %s', (_, calls) => sweep('main', calls));
});

async function sweep(thread: 'main' | 'pool', names: readonly string[]): Promise<void> {
  const calls = knownCalls(names);
  let server = await startServer({ env });
  try {
    let kills = 0;
    const ledger = new Ledger();
    for (let n = 1; ; n = next(n, 3)) {
      const material = newMaterial();
      if (
        !(await killedAt(server, thread, `inject=${calls}:signal=KILL:when=${n}`, () =>
          pushImage(new Client(server.url), ledger, material),
        ))
      )
        break;
      kills++;
      server = await startServer({ dataDir: server.dataDir, env });
      const client = new Client(server.url);
      await ledger.verify(client);
      await checkInvariants(server.dataDir, ledger.acknowledged());
      await pushImage(client, ledger, material);
      expect(await ledger.verify(client)).toBeGreaterThan(5);
      await checkInvariants(server.dataDir, ledger.acknowledged());
    }
    expect(kills).toBeGreaterThan(1);
    expect(await server.stop()).toBe(0);
    await checkInvariants(server.dataDir);
  } finally {
    await server.stop('SIGKILL');
  }
}

/** Whether the server was killed while a client worked; what goes wrong with a server that lives on is an error. */
async function killedAt(server: TestServer, thread: 'main' | 'pool', inject: string, work: () => Promise<void>): Promise<boolean> {
  const { pid = 0 } = server.process;
  const { main, pool } = threadsOf(pid);
  expect(pool).toHaveLength(1);
  const dead = new Promise<true>((resolve) => server.process.once('exit', () => resolve(true)));
  const tracer = await attach({ thread: thread === 'main' ? main : (pool[0] ?? 0) }, [
    '-e',
    `trace=${inject.split(/[=:]/)[1]}`,
    '-e',
    inject,
  ]);
  const failure = await work().then(
    () => undefined,
    (error: unknown) => error,
  );
  if (failure !== undefined) {
    const late = AbortSignal.timeout(5000);
    const alive = new Promise<never>((_, reject) => late.addEventListener('abort', () => reject(failure)));
    await Promise.race([dead, alive]);
  }
  await tracer.detach();
  return failure !== undefined || server.process.signalCode === 'SIGKILL';
}
