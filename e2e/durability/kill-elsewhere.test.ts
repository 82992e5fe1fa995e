import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Client, imageManifest } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { startServer, temporaryFolder } from '../harness/server.ts';
import { Ledger } from './ledger.ts';
import { newMaterial, pushImage, putManifest } from './scenario.ts';
import { attach, describeTraced, knownCalls, next } from './strace.ts';

const FIRST_START = [
  ['writing to a file', ['pwrite64', 'ftruncate']],
  ['a sync', ['fdatasync', 'fsync']],
  ['making a directory', ['mkdir', 'mkdirat']],
  ['writing a small file', ['write']],
  ['naming or removing a file', ['rename', 'renameat', 'renameat2', 'link', 'linkat', 'unlink', 'unlinkat']],
] as const;

describeTraced('kill -9 while the first start prepares the data directory: the next start goes on', () => {
  test.each(FIRST_START)('at %s', async (_, names) => {
    const calls = knownCalls(names);
    const folder = temporaryFolder();
    let kills = 0;
    for (let n = 1; ; n = next(n, 1)) {
      const dataDir = join(folder, String(n));
      const inject = ['-e', `trace=${calls}`, '-e', `inject=${calls}:signal=KILL:when=${n}`];
      // -D: the server stays this process' child, so signals reach it and not strace.
      const wrapper = ['strace', '-D', '-f', '-qq', '-o', '/dev/null', ...inject];
      const untouched = await startServer({ dataDir, wrapper }).catch(() => undefined);
      await untouched?.stop('SIGKILL');
      if (untouched) break;
      kills++;
      const server = await startServer({ dataDir });
      try {
        const ledger = new Ledger();
        await pushImage(new Client(server.url), ledger, newMaterial());
        expect(await server.stop()).toBe(0);
        await checkInvariants(dataDir, ledger.acknowledged());
      } finally {
        await server.stop('SIGKILL');
      }
    }
    expect(kills).toBeGreaterThan(0);
  });
});

describeTraced('kill -9 while the log moves into the database file', () => {
  test.each([1, 2, 40, 400])('at write number %i', async (n) => {
    let server = await startServer();
    try {
      const file = join(server.dataDir, 'entrepot.db');
      const ledger = new Ledger();
      const material = newMaterial();
      const client = new Client(server.url);
      await pushImage(client, ledger, material);
      const dead = new Promise((resolve) => server.process.once('exit', resolve));
      const tracer = await attach({ process: server.process.pid ?? 0 }, [
        '-P',
        file,
        '-e',
        'trace=pwrite64',
        '-e',
        `inject=pwrite64:signal=KILL:when=${n}`,
      ]);
      // Enough for the checkpointer to find it worth its while, until it strikes.
      for (let i = 0; i < 14 && server.process.signalCode === null; i++) {
        const annotations = { number: String(i), padding: 'x'.repeat(400_000) };
        const bytes = Buffer.from(JSON.stringify(imageManifest(material.config, [material.large], { annotations })));
        await putManifest(client, ledger, material.name, `v${i}`, bytes).catch(() => undefined);
      }
      await dead;
      await tracer.detach();
      server = await startServer({ dataDir: server.dataDir });
      expect(await ledger.verify(new Client(server.url))).toBeGreaterThan(10);
      await checkInvariants(server.dataDir, ledger.acknowledged());
      await pushImage(new Client(server.url), ledger, material);
      expect(await server.stop()).toBe(0);
      await checkInvariants(server.dataDir, ledger.acknowledged());
    } finally {
      await server.stop('SIGKILL');
    }
  });
});
