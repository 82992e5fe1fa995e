import { beforeAll, beforeEach, expect, test } from 'vitest';
import { Relay } from '../../packages/server/src/platform/database/testing-relay.ts';
import { atEnd } from '../harness/at-end.ts';
import { type Answer, Client, must, sha256 } from '../harness/client.ts';
import { populate } from '../harness/people.ts';
import { freshDatabase, ownPostgres } from '../harness/postgres.ts';
import { done, everyItem } from '../harness/rest.ts';
import { startServer, type TestServer, temporaryFolder } from '../harness/server.ts';

// A database that is slow, that swallows what it is told, that locks, and too few connections to it.

/** Longest that any request may take, with all waits of the database's layer; a busy machine included. */
const BOUND_MS = 45_000;

let relay: Relay;
let sql: (text: string) => Promise<Record<string, unknown>[]>;
let near: TestServer;
let far: TestServer;

beforeAll(async () => {
  const cluster = await ownPostgres();
  const direct = await freshDatabase(cluster);
  sql = (text) => cluster.sql(text, new URL(direct).pathname.slice(1));
  relay = await new Relay(direct).listen();
  atEnd(() => relay.close());
  const dataDir = temporaryFolder();
  const options = { 'log-level': 'fatal' };
  near = await startServer({ dataDir, databaseUrl: direct, options });
  far = await startServer({ dataDir, databaseUrl: relay.url(direct), options: { ...options, 'database-connections': '4' } });
  await new Client(near.url).pushImage('demo/app', '1');
  await must(new Client(far.url), [200], 'GET', '/v2/'); // the password is known there from now on
});

const ready = async () => (await fetch(`${far.url}/readyz`)).status;
beforeEach(async () => {
  relay.delayMs = 0;
  relay.isDeaf = false;
  await expect.poll(ready, { timeout: 5000 }).toBe(200);
});

let pushed = 0;
/** Pushes of small blobs, all at once; each is answered in time. */
async function push(count: number): Promise<Answer[]> {
  const client = new Client(far.url);
  return await Promise.all(
    Array.from({ length: count }, async () => {
      const body = `content ${++pushed}`;
      const begun = performance.now();
      const answer = await client.request('POST', `/v2/demo/app${pushed}/blobs/uploads/?digest=${sha256(body)}`, { body });
      expect(performance.now() - begun).toBeLessThan(BOUND_MS);
      return answer;
    }),
  );
}
const statusesOf = (answers: readonly Answer[]) => new Set(answers.map(({ status }) => status));
const refusedWell = (answers: readonly Answer[]) =>
  answers.every(({ status, headers }) => status === 201 || (status === 503 && Number(headers.get('retry-after')) >= 1));

test.each([
  ['whose answers take five seconds', () => (relay.delayMs = 5000)],
  ['that takes everything and answers nothing', () => (relay.isDeaf = true)],
])('a database %s: 503 in bounded time, nothing piles up, and all is well once it is over', async (_, begin) => {
  begin();
  const first = await push(40);
  expect(refusedWell(first)).toBe(true);
  await expect.poll(ready, { timeout: 10_000 }).toBe(503);
  const begun = performance.now();
  expect(statusesOf(await push(40))).toEqual(new Set([503]));
  expect(performance.now() - begun).toBeLessThan(5000); // told at once
  relay.delayMs = 0;
  relay.isDeaf = false;
  await expect.poll(ready, { timeout: 5000, interval: 100 }).toBe(200);
  await expect.poll(async () => statusesOf(await push(5)), { timeout: 5000 }).toEqual(new Set([201]));
});

test('more pushes than connections wait for their turn, for a bounded time; who comes too late is told to come again', async () => {
  expect(statusesOf(await push(30))).toEqual(new Set([201]));
  relay.delayMs = 400; // not away, but far too slow for so many
  const answers = await push(150);
  expect(statusesOf(answers)).toEqual(new Set([201, 503]));
  expect(refusedWell(answers)).toBe(true);
  relay.delayMs = 0;
  await expect.poll(async () => statusesOf(await push(5)), { timeout: 10_000 }).toEqual(new Set([201]));
});

test('a table that somebody locks: 503 after the time that a lock may take, and pulls of what is elsewhere go on', async () => {
  const locked = sql('BEGIN; LOCK TABLE repository_blob IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(8); COMMIT');
  await expect
    .poll(
      async () =>
        (
          await sql("SELECT count(*)::int AS count FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND locktype = 'relation'")
        )[0]?.count,
    )
    .toBeGreaterThan(0);
  const answers = await push(2); // as many as may change something at once
  await must(new Client(far.url), [200], 'GET', '/v2/demo/app/manifests/1');
  expect(statusesOf(answers)).toEqual(new Set([503]));
  expect(refusedWell(answers)).toBe(true);
  await locked;
  expect(statusesOf(await push(3))).toEqual(new Set([201]));
});

test('what an instance has in memory is believed for two seconds after it hears nothing more, and not longer', async () => {
  const admin = new Client(near.url);
  const people = await populate(near, { users: ['ann'], projects: { team: { members: { ann: 'developer' } } } });
  const image = await admin.pushImage('team/app', '1');
  const other = await admin.pushImage('team/gone', '1');
  const ann = new Client(far.url, people.basic('ann'));
  const statuses = async () => [
    (await ann.request('GET', `/v2/team/app/manifests/${image.digest}`)).status,
    (await ann.request('GET', `/v2/team/gone/manifests/${other.digest}`)).status,
  ];
  await expect.poll(statuses).toEqual([200, 200]);
  relay.isDeaf = true;
  const [member] = await everyItem<{ id: number }>(admin, '/projects/team/members');
  await done(204, admin, 'DELETE', `/projects/team/members/${member?.id}`);
  await must(admin, [202], 'DELETE', `/v2/team/gone/manifests/${other.digest}`);
  const goneAt = performance.now();
  for (;;) {
    const asked = performance.now() - goneAt;
    const found = await statuses();
    if (asked > 2500) {
      expect(found).toEqual([503, 503]);
      break;
    }
  }
  relay.isDeaf = false;
  await expect.poll(async () => (await statuses())[0], { timeout: 5000 }).not.toBe(503);
  expect(await statuses()).toEqual([403, 403]);
});

test('news that are lost while the listening connection is cut are no reason to believe what is in memory', async () => {
  const admin = new Client(near.url);
  const people = await populate(near, { users: ['bob'], projects: { cut: { members: { bob: 'developer' } } } });
  const image = await admin.pushImage('cut/app', '1');
  const bob = new Client(far.url, people.basic('bob'));
  const status = async () => (await bob.request('GET', `/v2/cut/app/manifests/${image.digest}`)).status;
  for (let round = 0; round < 4; round++) {
    await expect.poll(status).toBe(200);
    await sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%clock_timestamp%' AND pid <> pg_backend_pid()");
    const [member] = await everyItem<{ id: number }>(admin, '/projects/cut/members');
    await done(204, admin, 'DELETE', `/projects/cut/members/${member?.id}`);
    await expect.poll(status, { timeout: 2500, interval: 20 }).toBe(403);
    expect(await status()).toBe(403);
    await done(201, admin, 'POST', '/projects/cut/members', { kind: 'user', name: 'bob', role: 'developer' });
  }
});
