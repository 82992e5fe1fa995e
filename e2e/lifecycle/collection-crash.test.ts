import { randomBytes } from 'node:crypto';
import { test } from 'vitest';
import { attach, describeTraced, knownCalls } from '../durability/strace.ts';
import { Client, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { startServer } from '../harness/server.ts';
import { storedIn } from './stored.ts';

// Each thread of the pool counts its own calls, so that a low number strikes somewhere in the middle of the first batch.
const STRIKES = [
  ['an object is removed', ['unlink', 'unlinkat'], 1],
  ['some objects are removed', ['unlink', 'unlinkat'], 3],
  ['its folder is removed', ['rmdir'], 1],
  ['the removal is made durable', ['fsync'], 2],
] as const;

describeTraced('kill -9 while a collection is under way', () => {
  test.concurrent.for(STRIKES)('before %s: what is pushed again is whole, the rest goes', async ([, names, when], { expect }) => {
    let server = await startServer({ options: { 'collection-grace-seconds': '4' } });
    let client = new Client(server.url);
    const garbage = Array.from({ length: 20 }, () => randomBytes(300));
    const kept = await client.pushImage('demo/app', 'kept', [randomBytes(300)]);
    for (const bytes of garbage) await client.pushBlob('demo/app', bytes);
    const dead = new Promise((resolve) => server.process.once('exit', resolve));
    const calls = knownCalls(names);
    const inject = ['-e', `trace=${calls}`, '-e', `inject=${calls}:signal=KILL:when=${when}`];
    const tracer = await attach({ process: server.process.pid ?? 0 }, inject);
    await dead;
    await tracer.detach();

    server = await startServer({ dataDir: server.dataDir, options: { 'collection-grace-seconds': '4' } });
    client = new Client(server.url);
    const again = garbage.slice(0, 10);
    const image = await client.pushImage('demo/again', 'v1', again);
    for (const bytes of again) {
      const { status, bytes: got } = await client.request('GET', `/v2/demo/again/blobs/${sha256(bytes)}`);
      expect([status, got.equals(bytes)]).toEqual([200, true]);
    }
    const layersOf = ({ manifest }: typeof image) => {
      const { config, layers } = manifest as { config: { digest: string }; layers: { digest: string }[] };
      return [config, ...layers].map(({ digest }) => digest);
    };
    const needed = [...layersOf(kept), ...layersOf(image)].sort();
    await expect.poll(() => storedIn(server.dataDir).sort(), { timeout: 30_000, interval: 200 }).toEqual(needed);
    expect(await server.stop()).toBe(0);
    await checkInvariants(server.dataDir);
  });
});
