import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client, sha256 } from '../harness/client.ts';
import { populate } from '../harness/people.ts';
import { done, everyItem, refused, rest } from '../harness/rest.ts';
import { startServer, type TestServer, temporaryFolder } from '../harness/server.ts';
import { blobFile } from './disk.ts';
import { storedIn } from './stored.ts';

const MIB = 2 ** 20;

interface Amounts {
  readonly hot: { blobs: number; bytes: number };
  readonly cold: { blobs: number; bytes: number };
  readonly pinned: string | null;
}
interface Job {
  readonly state: string;
  readonly error: string | null;
  readonly result: unknown;
}

/** All files below a folder, by what is left of their names. */
function filesIn(folder: string): string {
  return existsSync(folder) ? readdirSync(folder, { recursive: true }).join('\n') : '';
}

describe('two tiers', () => {
  const [dataDir, cold] = [temporaryFolder(), temporaryFolder()];
  const layers = { a: randomBytes(MIB), b: randomBytes(MIB), c: randomBytes(MIB) };
  const digests = { a: sha256(layers.a), b: sha256(layers.b), c: sha256(layers.c) };
  let server: TestServer;
  let client: Client;
  const start = async () => {
    server = await startServer({
      dataDir,
      options: {
        ...{
          'cold-storage': 'files',
          'cold-directory': cold,
          'tier-schedule': '0 0 1 1 *',
          'tier-min-bytes': '100000',
          'tier-min-hours': '0',
        },
        ...{ 'hot-tier-bytes': `${4 * MIB}`, 'hot-tier-high-percent': '70', 'hot-tier-low-percent': '60', 'cold-after-days': '0' },
      },
    });
    client = new Client(server.url);
  };
  beforeAll(start);
  afterAll(async () => void (await server.stop()));

  const isHot = (digest: string) => storedIn(dataDir).includes(digest);
  const isCold = (digest: string) => filesIn(cold).includes(digest.slice(7));
  const ended = (job: number) =>
    expect.poll(async () => (await done<Job>(200, client, 'GET', `/jobs/${job}`)).state, { timeout: 20_000 }).toBe('done');
  const follow = async (path: string, body: object = {}): Promise<unknown> => {
    const { job } = await done<{ job: number }>(202, client, 'POST', path, body);
    await ended(job);
    return (await done<Job>(200, client, 'GET', `/jobs/${job}`)).result;
  };
  const run = () => follow('/storage/tiers/runs');
  const pull = async (name: 'a' | 'b' | 'c'): Promise<string> => {
    const { status } = await client.request('GET', `/v2/demo/${name}/manifests/v1`);
    const { bytes } = await client.request('GET', `/v2/demo/${name}/blobs/${digests[name]}`);
    return `${status} ${sha256(bytes)}`;
  };
  const tiersOf = (name: string) => done<Amounts>(200, client, 'GET', `/projects/demo/repositories/${name}/tiers`);

  it('what is pulled least goes to the cold tier when there is too much, after a restart too', async () => {
    for (const name of ['a', 'b', 'c'] as const) await client.pushImage(`demo/${name}`, 'v1', [layers[name]]);
    for (const name of ['b', 'c', 'c'] as const) expect(await pull(name)).toBe(`200 ${digests[name]}`);
    expect(await server.stop()).toBe(0); // what was read is written
    await start();
    expect(await run()).toMatchObject({ demoted: 1, demotedBytes: MIB, failed: 0 });
    expect([isHot(digests.b), isHot(digests.c), isCold(digests.a), isCold(digests.c)]).toEqual([true, true, true, false]);
    expect(await tiersOf('a')).toMatchObject({ cold: { blobs: 1, bytes: MIB }, hot: { blobs: 1 }, pinned: null });
    expect(await tiersOf('c')).toMatchObject({ cold: { blobs: 0 }, hot: { blobs: 2 }, hotShare: 1 });
    expect(await run()).toMatchObject({ demoted: 0, promoted: 0 });
  });

  it('heat is shown of images and of blobs', async () => {
    type Image = { digest: string; heat: number; pulledAt: string | null };
    const [image] = await everyItem<Image>(client, '/projects/demo/repositories/c/tiers/artifacts');
    expect(image?.heat).toBeCloseTo(2, 1);
    expect((await everyItem<Image>(client, '/projects/demo/repositories/a/tiers/artifacts')).map(({ heat }) => heat)).toEqual([0]);
    expect(await done(200, client, 'GET', '/projects/demo/repositories/c/artifacts/v1/tiers')).toMatchObject({
      heat: image?.heat,
      hot: { blobs: 2 },
      blobs: expect.arrayContaining([expect.objectContaining({ digest: digests.c, tier: 'hot' })]),
    });
    const blobs = await everyItem<{ digest: string; tier: string }>(client, '/storage/tiers/blobs?limit=1');
    expect(blobs.map(({ digest, tier }) => [digest, tier])).toEqual([
      [digests.c, 'hot'],
      [digests.b, 'hot'],
      [digests.a, 'cold'],
    ]);
    expect((await everyItem<{ digest: string }>(client, '/storage/tiers/blobs?tier=cold')).map(({ digest }) => digest)).toEqual([
      digests.a,
    ]);
    expect(await done(200, client, 'GET', '/storage/tiers')).toMatchObject({
      enabled: true,
      counted: { hot: { bytes: expect.any(Number) }, cold: { blobs: 1, bytes: MIB } },
      lastRun: { startedBy: 'admin', demoted: { blobs: 1, bytes: MIB }, moved: { capacity: 1 } },
    });
  });

  it('a cold blob is pulled whole by many at once, and is hot again', async () => {
    rmSync(blobFile(dataDir, digests.a)); // as it goes ten minutes after the move
    expect(await Promise.all(Array.from({ length: 6 }, () => pull('a')))).toEqual(Array(6).fill(`200 ${digests.a}`));
    await expect
      .poll(
        async () => {
          await pull('a');
          return (await tiersOf('a')).cold.blobs;
        },
        { timeout: 10_000 },
      )
      .toBe(0);
    expect(isHot(digests.a)).toBe(true);
  });

  it('a server that is killed finds all where it lies', async () => {
    expect(await follow('/projects/demo/repositories/a/tiers/moves', { tier: 'cold', reference: 'v1' })).toMatchObject({ demoted: 1 });
    rmSync(blobFile(dataDir, digests.a));
    await server.stop('SIGKILL');
    await start();
    expect((await tiersOf('a')).cold).toEqual({ blobs: 1, bytes: MIB });
    expect(await pull('a')).toBe(`200 ${digests.a}`);
    const part = await client.request('GET', `/v2/demo/a/blobs/${digests.a}`, { headers: { Range: 'bytes=1000-1999' } });
    expect([part.status, part.bytes.equals(layers.a.subarray(1000, 2000))]).toEqual([206, true]);
  });

  it('a repository that is pinned stays hot, whatever is asked', async () => {
    await client.request('PUT', '/api/v1/projects/demo/repositories/b/tiers/pin');
    expect((await tiersOf('b')).pinned).toBe('repository');
    expect(await follow('/projects/demo/repositories/b/tiers/moves', { tier: 'cold' })).toMatchObject({ demoted: 0 });
    expect(isHot(digests.b)).toBe(true);
    await done(204, client, 'PUT', '/projects/demo/tiers/pin');
    expect((await tiersOf('c')).pinned).toBe('project');
    const pins = await everyItem<{ project: string; repository: string | null }>(client, '/storage/tiers/pins?limit=1');
    expect(pins.map(({ project, repository }) => [project, repository])).toEqual([
      ['demo', null],
      ['demo', 'demo/b'],
    ]);
    await done(204, client, 'DELETE', '/projects/demo/tiers/pin');
    await done(204, client, 'DELETE', '/projects/demo/repositories/b/tiers/pin');
    expect(await refused(client, 'DELETE', '/projects/demo/repositories/b/tiers/pin')).toBe('404 not_found');
    const { items } = await done<{ items: { record: { resource: object } }[] }>(200, client, 'GET', '/audit?action=tier-pin.create');
    expect(items.map(({ record }) => record.resource)).toContainEqual({ type: 'tier-pin', project: 'demo', repository: 'demo/b' });
  });

  it('a simulation tells what was read, and moves nothing', async () => {
    const { job } = await done<{ job: number }>(202, client, 'POST', '/storage/tiers/simulations', { capacityBytes: 2 * MIB, days: 7 });
    type Found = {
      state: string;
      result: { oneOf: number; now: { demotions: { blobs: number } }; past: { reads: number; readRatio: number } };
    };
    const read = () => done<Found>(200, client, 'GET', `/storage/tiers/simulations/${job}`);
    await expect.poll(async () => (await read()).state, { timeout: 10_000 }).toBe('done');
    const { result } = await read();
    expect(result.oneOf).toBe(1);
    expect(result.past.reads).toBeGreaterThanOrEqual(3);
    expect(result.past.readRatio).toBeGreaterThan(0);
    expect(result.now.demotions.blobs).toBeGreaterThan(0);
    expect(await refused(client, 'POST', '/storage/tiers/simulations', { lowPercent: 90 })).toBe('400 invalid_input');
    expect(await refused(client, 'POST', '/storage/tiers/simulations', { days: 31 })).toBe('400 invalid_input');
    expect(await refused(client, 'GET', '/storage/tiers/simulations/999999')).toBe('404 not_found');
  });

  it('who reads a repository sees its tiers, and nothing of others or of the whole', async () => {
    const people = await populate(server, {
      users: ['gail', 'out'],
      projects: { secret: { members: { gail: 'guest' } } },
    });
    await client.pushImage('secret/x', 'v1');
    const [gail, out] = [people.client('gail'), people.client('out')];
    await done(200, gail, 'GET', '/projects/secret/repositories/x/tiers');
    await done(200, gail, 'GET', '/projects/secret/repositories/x/artifacts/v1/tiers');
    expect(await refused(gail, 'GET', '/storage/tiers')).toBe('403 denied');
    expect(await refused(gail, 'GET', '/storage/tiers/blobs')).toBe('403 denied');
    expect(await refused(gail, 'PUT', '/projects/secret/repositories/x/tiers/pin')).toBe('403 denied');
    expect(await refused(gail, 'POST', '/projects/secret/repositories/x/tiers/moves', { tier: 'cold' })).toBe('403 denied');
    expect(await refused(out, 'GET', '/projects/secret/repositories/x/tiers')).toBe('404 not_found');
    expect(await refused(out, 'GET', '/projects/secret/repositories/none/tiers')).toBe('404 not_found');
  });

  it('bad input is refused', async () => {
    const moves = '/projects/demo/repositories/a/tiers/moves';
    expect(await refused(client, 'POST', moves, { tier: 'archived' })).toBe('400 invalid_input');
    expect(await refused(client, 'POST', moves, { tier: 'hot', reference: 'none' })).toBe('404 not_found');
    expect(await refused(client, 'POST', '/projects/demo/repositories/none/tiers/moves', { tier: 'hot' })).toBe('404 not_found');
    for (const path of [
      '/storage/tiers/blobs',
      '/storage/tiers/runs',
      '/storage/tiers/pins',
      '/projects/demo/repositories/a/tiers/artifacts',
    ])
      expect(await refused(client, 'GET', `${path}?after=x`)).toBe('400 pagination_invalid');
  });

  it('collection removes a cold blob from where it lies', async () => {
    await follow('/projects/demo/repositories/a/tiers/moves', { tier: 'cold', reference: 'v1' });
    expect(isCold(digests.a)).toBe(true);
    expect((await rest(client, 'DELETE', '/projects/demo/repositories/a/artifacts/v1')).status).toBe(204);
    const emptied = await done<{ job: number }>(202, client, 'DELETE', '/projects/demo/trash');
    await ended(emptied.job);
    expect(await follow('/storage/collection/runs', { skipGrace: true })).toMatchObject({ failures: 0 });
    expect([isHot(digests.a), isCold(digests.a)]).toEqual([false, false]);
    expect(await pull('c')).toBe(`200 ${digests.c}`);
  });

  it('metrics tell what lies where and what moved', async () => {
    await pull('c');
    const text = (await client.request('GET', '/metrics')).bytes.toString();
    expect(text).toMatch(/^entrepot_tier_moves_total\{to="cold"\} [1-9]/m);
    expect(text).toMatch(/^entrepot_tier_reads_total\{tier="hot"\} [1-9]/m);
    expect(text).toMatch(/^entrepot_tier_stored_bytes\{tier="hot"\} [1-9]/m);
  });
});

it('a registry with one tier records nothing and says so', async () => {
  const server = await startServer();
  const client = new Client(server.url);
  const layer = randomBytes(2 * MIB);
  await client.pushImage('demo/app', 'v1', [layer]);
  await client.request('GET', `/v2/demo/app/blobs/${sha256(layer)}`);
  expect(await done(200, client, 'GET', '/storage/tiers')).toMatchObject({ enabled: false, recorded: false, counted: null });
  expect(await done(200, client, 'GET', '/projects/demo/repositories/app/tiers')).toMatchObject({ hot: { blobs: 2 }, hotShare: 1 });
  expect(await refused(client, 'POST', '/storage/tiers/runs')).toBe('409 conflict');
  expect(await refused(client, 'POST', '/storage/tiers/simulations', {})).toBe('409 conflict');
  expect(await refused(client, 'PUT', '/projects/demo/tiers/pin')).toBe('409 conflict');
  expect((await client.request('GET', '/metrics')).bytes.toString()).not.toContain('entrepot_tier');
  expect(await server.stop()).toBe(0);
  const again = await startServer({ dataDir: server.dataDir });
  expect(await everyItem(new Client(again.url), '/storage/tiers/blobs')).toEqual([]);
  await again.stop();
});
