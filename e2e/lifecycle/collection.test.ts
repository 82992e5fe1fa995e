import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client, type PushedImage, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { done, refused, rest } from '../harness/rest.ts';
import { startServer, type TestServer } from '../harness/server.ts';
import { storedIn } from './stored.ts';

interface Status {
  due: { links: number; blobs: number; bytes: number; oldest: string | null };
  left: number;
  lastRun: { state: string; result: { links: number } | null } | null;
}

const layersOf = ({ manifest }: PushedImage): string[] => {
  const { config, layers } = manifest as { config: { digest: string }; layers: { digest: string }[] };
  return [config.digest, ...layers.map(({ digest }) => digest)];
};

describe('with a grace time of seconds', () => {
  let server: TestServer;
  let client: Client;
  beforeAll(async () => {
    server = await startServer({ options: { 'collection-grace-seconds': '3' } });
    client = new Client(server.url);
  });
  afterAll(async () => {
    expect(await server.stop()).toBe(0);
    await checkInvariants(server.dataDir);
  });
  const gone = (digests: readonly string[]) =>
    expect.poll(() => storedIn(server.dataDir).filter((digest) => digests.includes(digest)), { timeout: 20_000 }).toEqual([]);

  it('what no manifest needs goes, from the repository and from the store', async () => {
    const image = await client.pushImage('demo/kept', 'v1', [randomBytes(1000), randomBytes(3 << 20)]);
    const alone = [await client.pushBlob('demo/kept', randomBytes(500)), await client.pushBlob('demo/kept', randomBytes(3 << 20))];
    await gone(alone);
    for (const digest of alone) expect((await client.request('HEAD', `/v2/demo/kept/blobs/${digest}`)).status).toBe(404);
    for (const digest of layersOf(image)) {
      const { status, bytes } = await client.request('GET', `/v2/demo/kept/blobs/${digest}`);
      expect([status, sha256(bytes)]).toEqual([200, digest]);
    }
  });

  it('what went can be pushed again', async () => {
    const bytes = randomBytes(700);
    await gone([await client.pushBlob('demo/again', bytes)]);
    const image = await client.pushImage('demo/again', 'v1', [bytes]);
    expect((await client.request('GET', `/v2/demo/again/blobs/${sha256(bytes)}`)).bytes.equals(bytes)).toBe(true);
    expect(layersOf(image)).toContain(sha256(bytes));
  });

  it('a deleted blob goes with its last link', async () => {
    const bytes = randomBytes(800);
    const digest = await client.pushBlob('demo/one', bytes);
    await client.pushImage('demo/two', 'v1', [bytes]);
    expect((await client.request('DELETE', `/v2/demo/one/blobs/${digest}`)).status).toBe(202);
    const other = await client.pushBlob('demo/one', randomBytes(10));
    await gone([other]);
    expect((await client.request('GET', `/v2/demo/two/blobs/${digest}`)).status).toBe(200);
  });

  it('metrics and the status tell of it', async () => {
    const text = (await client.request('GET', '/metrics')).bytes.toString();
    const value = (name: string) => Number(new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1]);
    expect(value('entrepot_collection_links_total')).toBeGreaterThan(2);
    expect(value('entrepot_collection_blobs_total')).toBeGreaterThan(2);
    expect(value('entrepot_collection_bytes_total')).toBeGreaterThan(3 << 20);
    expect(value('entrepot_collection_failures_total')).toBe(0);
    const status = await done<Status>(200, client, 'GET', '/storage/collection');
    expect(status).toMatchObject({ graceSeconds: 3, left: 0, holds: [] });
    expect(status.lastRun).not.toBeNull();
  });
});

describe('with the grace time of two days', () => {
  let server: TestServer;
  let client: Client;
  beforeAll(async () => {
    server = await startServer();
    client = new Client(server.url);
  });
  afterAll(async () => {
    expect(await server.stop()).toBe(0);
    await checkInvariants(server.dataDir);
  });

  interface Preview {
    total: { links: number; blobs: number; bytes: number; isComplete: boolean };
    items: { repository: string; digest: string; size: number; frees: boolean }[];
  }
  interface Job {
    state: string;
    result: unknown;
  }
  const run = async (body: object): Promise<unknown> => {
    const { job } = await done<{ job: number }>(202, client, 'POST', '/storage/collection/runs', body);
    await expect.poll(async () => (await done<Job>(200, client, 'GET', `/jobs/${job}`)).state, { timeout: 10_000 }).toBe('done');
    return (await done<Job>(200, client, 'GET', `/jobs/${job}`)).result;
  };

  it('a preview says what would go, and a run takes just that', async () => {
    const shared = randomBytes(100);
    await client.pushImage('demo/kept', 'v1', [shared]);
    await client.pushBlob('demo/one', shared);
    const [alone, both] = [await client.pushBlob('demo/one', randomBytes(200)), randomBytes(300)];
    await client.pushBlob('demo/one', both);
    await client.pushBlob('demo/two', both);

    const now = await done<Preview>(200, client, 'GET', '/storage/collection/preview');
    expect(now).toEqual({ total: { links: 0, blobs: 0, bytes: 0, isComplete: true }, items: [] });
    expect(await run({})).toMatchObject({ links: 0, blobs: 0, bytes: 0, failures: 0 });

    const all = await done<Preview>(200, client, 'GET', '/storage/collection/preview?skipGrace=true');
    expect(all.total).toEqual({ links: 4, blobs: 2, bytes: 500, isComplete: true });
    expect(all.items.map(({ repository, size, frees }) => [repository, size, frees])).toEqual([
      ['demo/one', 100, false],
      ['demo/one', 200, true],
      ['demo/one', 300, true],
      ['demo/two', 300, true],
    ]);
    const pages: unknown[] = [];
    for (let next: string | undefined = '/storage/collection/preview?skipGrace=true&limit=1'; next !== undefined; ) {
      const answer = await rest(client, 'GET', next);
      pages.push(...answer.json<Preview>().items);
      next = /<\/api\/v1([^>]*)>; rel="next"/.exec(answer.headers.get('link') ?? '')?.[1];
    }
    expect(pages).toEqual(all.items);

    expect(await run({ skipGrace: true })).toEqual({ links: 4, blobs: 2, bytes: 500, failures: 0, held: false });
    expect(storedIn(server.dataDir)).not.toContain(alone);
    expect(storedIn(server.dataDir)).toContain(sha256(shared));
    const { items } = await done<{ items: { record: { after: unknown } }[] }>(200, client, 'GET', '/audit?action=collection.run');
    expect(items.map(({ record }) => record.after)).toContainEqual({ skipGrace: true });
  });

  it('bad input is refused', async () => {
    expect(await refused(client, 'POST', '/storage/collection/runs', { skipGrace: 'yes' })).toBe('400 invalid_input');
    expect(await refused(client, 'POST', '/storage/collection/runs', { grace: 1 })).toBe('400 invalid_input');
    expect(await refused(client, 'GET', '/storage/collection/preview?after=x')).toBe('400 pagination_invalid');
    expect(await refused(client, 'GET', '/storage/collection/preview?skipGrace=perhaps')).toBe('400 invalid_input');
  });
});
