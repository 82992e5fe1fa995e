import { randomBytes } from 'node:crypto';
import { beforeAll, expect, test } from 'vitest';
import { begin, Client, must, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { populate } from '../harness/people.ts';
import { freshDatabase } from '../harness/postgres.ts';
import { done, everyItem } from '../harness/rest.ts';
import { startServer, type TestServer, temporaryFolder } from '../harness/server.ts';

// Two instances on one PostgreSQL that see one folder of blobs.

const dataDir = temporaryFolder();
let databaseUrl: string;
let servers: readonly [TestServer, TestServer];
let one: Client;
let two: Client;

beforeAll(async () => {
  databaseUrl = await freshDatabase();
  servers = await Promise.all([startServer({ dataDir, databaseUrl }), startServer({ dataDir, databaseUrl })]);
  [one, two] = [new Client(servers[0].url), new Client(servers[1].url)];
});

test('what one stores the other shows at once, and what it deletes is gone there', async () => {
  const first = await one.pushImage('demo/app', 'latest');
  expect((await two.request('GET', '/v2/demo/app/manifests/latest')).bytes).toEqual(first.bytes);
  const second = await two.pushImage('demo/app', 'latest');
  expect((await one.request('GET', '/v2/demo/app/manifests/latest')).bytes).toEqual(second.bytes);
  expect((await one.request('GET', '/v2/demo/app/tags/list')).json()).toEqual({ name: 'demo/app', tags: ['latest'] });
  await must(two, [202], 'DELETE', `/v2/demo/app/manifests/${second.digest}`);
  await must(one, [404], 'GET', '/v2/demo/app/manifests/latest');
  // Read by digest before, it may be in memory for as long as the news takes.
  await must(one, [200], 'GET', `/v2/demo/app/manifests/${first.digest}`);
  await must(two, [202], 'DELETE', `/v2/demo/app/manifests/${first.digest}`);
  await expect.poll(async () => (await one.request('GET', `/v2/demo/app/manifests/${first.digest}`)).status).toBe(404);
});

test('an upload begun at one goes on at the other and ends at the first', async () => {
  const parts = [randomBytes(3_000_000), randomBytes(100_000), randomBytes(10)];
  const digest = sha256(Buffer.concat(parts));
  let location = await begin(one, 'demo/parts');
  let at = 0;
  for (const [index, part] of parts.entries()) {
    const headers = { 'Content-Range': `${at}-${at + part.length - 1}` };
    const answer = await must([one, two][index % 2] ?? one, [202], 'PATCH', location, { headers, body: part });
    at += part.length;
    location = answer.headers.get('location') ?? '';
    expect(answer.headers.get('range')).toBe(`0-${at - 1}`);
  }
  await must(two, [201], 'PUT', `${location}?digest=${digest}`);
  expect((await one.request('GET', `/v2/demo/parts/blobs/${digest}`)).bytes).toEqual(Buffer.concat(parts));
  await must(one, [404], 'GET', location);
});

test('a right that is taken away at one is gone at the other', async () => {
  const people = await populate(servers[0], { users: ['ann'], projects: { team: { members: { ann: 'developer' } } } });
  const elsewhere = new Client(servers[1].url, people.basic('ann'));
  await one.pushImage('team/app', '1');
  await must(elsewhere, [200], 'GET', '/v2/team/app/manifests/1');
  const [member] = await everyItem<{ id: number }>(one, '/projects/team/members');
  await done(204, one, 'DELETE', `/projects/team/members/${member?.id}`);
  await expect.poll(async () => (await elsewhere.request('GET', '/v2/team/app/manifests/1')).status, { timeout: 2500 }).toBe(403);
});

test('both push at once, into the same and into different repositories, and everything holds', async () => {
  const pushed = await Promise.all(
    Array.from({ length: 24 }, async (_, index) => {
      const client = index % 2 === 0 ? one : two;
      const name = index % 3 === 0 ? 'busy/shared' : `busy/own-${index}`;
      return { name, tag: `t${index}`, ...(await client.pushImage(name, `t${index}`)) };
    }),
  );
  await checkInvariants(dataDir, { manifests: pushed, tags: pushed }, databaseUrl);
  expect(await servers[1].command('audit', 'verify')).toContain('are as they were written');
});

test('an instance with other keys, or with other blobs, is refused and says why', async () => {
  const elsewhere = temporaryFolder();
  await expect(startServer({ dataDir: elsewhere, databaseUrl })).rejects.toThrow('keysDir');
  const options = { 'keys-dir': `${dataDir}/keys` };
  await expect(startServer({ dataDir: elsewhere, databaseUrl, options })).rejects.toThrow('storageDir');
  const third = await startServer({ dataDir: elsewhere, databaseUrl, options: { ...options, 'storage-dir': `${dataDir}/storage` } });
  const image = await one.pushImage('demo/third', '1');
  expect((await new Client(third.url).request('GET', '/v2/demo/third/manifests/1')).bytes).toEqual(image.bytes);
  expect(await third.stop()).toBe(0);
});

test('one that is killed takes nothing with it that was acknowledged', async () => {
  const image = await two.pushImage('demo/last', '1');
  await servers[1].stop('SIGKILL');
  expect((await one.request('GET', '/v2/demo/last/manifests/1')).bytes).toEqual(image.bytes);
  await one.pushImage('demo/last', '2');
  expect(await servers[0].stop()).toBe(0);
});
