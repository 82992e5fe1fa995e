import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, test } from 'vitest';
import { begin, Client, must, sha256 } from '../harness/client.ts';
import { populate } from '../harness/people.ts';
import { copyOfDatabase, freshDatabase } from '../harness/postgres.ts';
import { done, everyItem } from '../harness/rest.ts';
import { startServer, type TestServer, temporaryFolder } from '../harness/server.ts';

// Two hosts whose clocks are twenty minutes apart, on one database, whose clock counts.

const SKEW_MS = 10 * 60_000;
const PRELOAD = fileURLToPath(new URL('./skew.ts', import.meta.url));

let servers: readonly [TestServer, TestServer];

beforeAll(async () => {
  const [dataDir, databaseUrl] = [temporaryFolder(), await freshDatabase()];
  const start = (skew: number) => {
    const env = { NODE_OPTIONS: `--import=${PRELOAD}`, SKEW_MS: String(skew) };
    return startServer({ dataDir, databaseUrl, env, options: { 'collection-grace-seconds': '300' } });
  };
  servers = [await start(SKEW_MS), await start(-SKEW_MS)];
  // The test would prove nothing if the clocks were right.
  const [fast = 0, slow = 0] = servers.map((server) => Date.parse(/^clock (\S+)$/m.exec(server.output())?.[1] ?? ''));
  expect(fast - slow).toBeGreaterThan(1.9 * SKEW_MS);
});

/** Both ways: made at the one whose clock is fast and used at the slow one, and the other way round. */
const ways = [
  ['the fast one and the slow one', 0],
  ['the slow one and the fast one', 1],
] as const;
const pair = (first: 0 | 1) => [servers[first], servers[1 - first]] as [TestServer, TestServer];

test.each(ways)('tokens of %s live as long as was said', async (_, first) => {
  const [here, there] = pair(first);
  const people = await populate(here, {
    users: [`ann${first}`],
    projects: { [`team${first}`]: { members: { [`ann${first}`]: 'developer' } } },
  });
  await new Client(here.url).pushImage(`team${first}/app`, '1');
  const query = `service=entrepot&scope=repository:team${first}/app:pull`;
  const answer = await must(people.client(`ann${first}`), [200], 'GET', `/token?${query}`);
  const { token, expires_in: seconds, issued_at: issued } = answer.json<{ token: string; expires_in: number; issued_at: string }>();
  expect(Math.abs(Date.parse(issued) - Date.now())).toBeLessThan(60_000);
  expect(seconds).toBe(300);
  await must(new Client(there.url, `Bearer ${token}`), [200], 'GET', `/v2/team${first}/app/manifests/1`);
});

test.each(ways)('uploads go on between %s, and a request that writes is not taken for one that has lapsed', async (_, first) => {
  const [here, there] = pair(first);
  const parts = [randomBytes(100_000), randomBytes(50_000)] as const;
  const digest = sha256(Buffer.concat(parts));
  const location = await begin(new Client(here.url), 'demo/parts');
  let end = () => {};
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(parts[0]);
      end = () => controller.close();
    },
  });
  const writing = must(new Client(here.url), [202], 'PATCH', location, { body });
  const isWriting = async () => {
    const copy = await copyOfDatabase(here.databaseUrl ?? '');
    return copy.prepare('SELECT 1 FROM upload_session WHERE lease IS NOT NULL').get() !== undefined;
  };
  await expect.poll(isWriting, { timeout: 20_000 }).toBe(true);
  const meanwhile = () =>
    new Client(there.url).request('PATCH', location, { body: parts[1], headers: { 'Content-Range': '100000-149999' } });
  expect((await meanwhile()).status).toBe(409);
  end();
  const next = (await writing).headers.get('location') ?? '';
  await must(new Client(there.url), [202], 'PATCH', next, { body: parts[1] });
  await must(new Client(here.url), [201], 'PUT', `${next}?digest=${digest}`);
  expect(sha256((await must(new Client(there.url), [200], 'GET', `/v2/demo/parts/blobs/${digest}`)).bytes)).toBe(digest);
});

test.each(ways)('what %s delete is in the trash as of now, and nothing is collected before its time', async (_, first) => {
  const [here, there] = pair(first);
  const [one, other] = [new Client(here.url), new Client(there.url)];
  const lonely = await one.pushBlob('demo/alone', randomBytes(300 + first));
  const image = await one.pushImage(`demo/old${first}`, '1');
  await must(one, [202], 'DELETE', `/v2/demo/old${first}/manifests/${image.digest}`);
  const items = await everyItem<{ id: number; name: string; deletedAt: string }>(other, `/projects/demo/trash?repository=demo/old${first}`);
  expect(items.length).toBeGreaterThan(0);
  for (const { deletedAt } of items) expect(Math.abs(Date.parse(deletedAt) - Date.now())).toBeLessThan(60_000);
  // Each of the two collects in turn; neither may think that five minutes are over.
  for (const client of [one, other]) {
    const { due } = await done<{ due: { links: number } }>(200, client, 'GET', '/storage/collection');
    expect(due.links).toBe(0);
  }
  await must(other, [200], 'HEAD', `/v2/demo/alone/blobs/${lonely}`);
  const [item] = items;
  await done(200, other, 'POST', `/projects/demo/trash/${item?.id}/restore`, {});
  await must(one, [200], 'GET', `/v2/demo/old${first}/manifests/${image.digest}`);
});

test('records of both stand in one order in the audit log, as of now', async () => {
  for (const { url } of servers) await new Client(url).pushImage('demo/recorded', '1');
  expect(await servers[0].command('audit', 'verify')).toContain('are as they were written');
  const records = await everyItem<{ record: { at: string } }>(new Client(servers[0].url), '/audit');
  expect(records.length).toBeGreaterThan(1);
  for (const { record } of records) expect(Math.abs(Date.parse(record.at) - Date.now())).toBeLessThan(120_000);
});
