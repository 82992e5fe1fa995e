import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, test } from 'vitest';
import { basic, Client, sha256 } from '../harness/client.ts';
import { populate } from '../harness/people.ts';
import { done, everyItem, rest } from '../harness/rest.ts';
import { startServer, type TestServer, temporaryFolder } from '../harness/server.ts';

interface Item {
  readonly seq: number;
  readonly record: {
    readonly action: string;
    readonly outcome: string;
    readonly reason?: string;
    readonly count?: number;
    readonly actor: { readonly name: string };
    readonly resource: Readonly<Record<string, string>>;
  };
}

const denials = async (client: Client) => (await everyItem<Item>(client, '/audit?outcome=denied')).map(({ record }) => record);

/** A worker of the server: a process that it started. */
function aWorker({ process: { pid } }: TestServer): number {
  const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
  return Number(child);
}

test('two workers, one of which is killed, leave a chain without gaps, which verifies while the server runs', async () => {
  const server = await startServer({ env: { ENTREPOT_WORKERS: '2' } });
  const client = new Client(server.url);
  await done(201, client, 'POST', '/projects', { name: 'demo' });
  let changed = 0;
  let killed = false;
  const change = async () => {
    for (let i = 0; i < 30; i++) {
      // What the killed worker was about is answered to nobody, and recorded if it was done.
      const answer = await rest(client, 'PATCH', '/projects/demo', { description: `${i}` }).catch(() => undefined);
      if (answer?.status === 200) changed++;
      if (changed === 40 && !killed) {
        killed = true;
        process.kill(aWorker(server), 'SIGKILL');
      }
    }
  };
  await Promise.all(Array.from({ length: 4 }, change));
  expect(killed).toBe(true);
  await expect.poll(async () => (await rest(client, 'GET', '/audit?limit=1').catch(() => undefined))?.status).toBe(200);
  const items = await everyItem<Item>(client, '/audit?limit=100');
  expect(items.map(({ seq }) => seq)).toEqual(items.map((_, at) => items.length - at));
  expect(items.filter(({ record }) => record.action === 'project.update').length).toBeGreaterThanOrEqual(changed);
  expect(await server.command('audit', 'verify')).toMatch(/^\d+ records up to number \d+ /);
  await server.stop();
});

test('an export verifies elsewhere, and what was changed in it or in the database is named', async () => {
  const server = await startServer();
  const client = new Client(server.url);
  await done(201, client, 'POST', '/projects', { name: 'demo' });
  for (let i = 0; i < 5; i++) await done(200, client, 'PATCH', '/projects/demo', { description: `${i}` });
  const folder = temporaryFolder();
  const [file, key, forged] = ['trail.ndjson', 'key.pem', 'forged.ndjson'].map((name) => join(folder, name)) as [string, string, string];
  const exported = (await rest(client, 'GET', '/audit-export')).bytes.toString();
  const recordsIn = (text: string) => text.split('\n').filter((line) => line.startsWith('{"record":'));
  expect(recordsIn(exported)).toHaveLength(6);
  expect(recordsIn(await server.command('audit', 'export'))).toEqual(recordsIn(exported));
  writeFileSync(file, exported);
  writeFileSync(key, (await done<{ publicKey: string }>(200, client, 'GET', '/audit-key')).publicKey);
  const verify = (path: string) => server.command('audit', 'verify', '--export', path, '--public-key', key);
  expect(await verify(file)).toMatch(/^6 records up to number 6 /);
  writeFileSync(forged, exported.replace('"description":"3"', '"description":"4"'));
  await expect(verify(forged)).rejects.toThrow(/audit record 5 /);
  writeFileSync(forged, exported.split('\n').toSpliced(-2, 1).join('\n'));
  await expect(verify(forged)).rejects.toThrow(/audit record 6 is missing/);

  const database = new DatabaseSync(join(server.dataDir, 'entrepot.db'), { timeout: 5000 });
  database.exec("UPDATE audit_record SET actor = 'user:mallory' WHERE seq = 2");
  database.close();
  await expect(server.command('audit', 'verify')).rejects.toThrow(/audit record 2 its actor was changed/);
  await server.stop();
});

test('denials and failed logins are recorded over every way in, and how clients begin is not', async () => {
  const server = await startServer();
  const admin = new Client(server.url);
  const people = await populate(server, { users: ['alice'], projects: { walled: {}, own: { members: { alice: 'guest' } } } });
  const alice = people.client('alice');
  const nobody = Client.anonymous(server.url);
  expect((await nobody.request('GET', '/v2/')).status).toBe(401);
  expect((await nobody.request('GET', '/v2/walled/app/tags/list')).status).toBe(401);
  const wrong = new Client(server.url, basic('alice', 'not-the-password'));
  expect((await wrong.request('GET', '/v2/')).status).toBe(401);
  expect((await alice.request('POST', '/v2/own/app/blobs/uploads/')).status).toBe(403);
  expect((await rest(alice, 'GET', '/audit')).status).toBe(403);
  expect((await rest(nobody, 'POST', '/login', { name: 'alice', password: 'not-the-password-either' })).status).toBe(401);
  const expected = [
    { action: 'session.create', actor: 'anonymous', name: 'alice', repository: undefined },
    { action: 'blob.push', actor: 'alice', name: undefined, repository: 'own/app' },
    { action: 'audit:read', actor: 'alice', name: undefined, repository: undefined },
    { action: 'session.create', actor: 'anonymous', name: 'alice', repository: undefined },
  ];
  await expect.poll(async () => (await denials(admin)).length, { timeout: 20_000 }).toBeGreaterThanOrEqual(expected.length);
  const found = (await denials(admin)).map(({ action, actor, resource: { name, repository } }) => ({
    ...{ action, actor: actor.name, name, repository },
  }));
  expect(found.reverse()).toEqual(expected);
  await server.stop();
});

test('pulls are recorded where that is set: what is got, not what is only looked at', async () => {
  const server = await startServer({ options: { 'audit-pulls': 'true' } });
  const client = new Client(server.url);
  const { digest } = await client.pushImage('demo/app', '1');
  for (const method of ['HEAD', 'GET', 'GET']) expect((await client.request(method, '/v2/demo/app/manifests/1')).status).toBe(200);
  expect(await server.stop()).toBe(0); // what waits is written before the end
  const again = await startServer({ dataDir: server.dataDir });
  const pulls = await everyItem<Item>(new Client(again.url), '/audit?action=artifact.pull');
  expect(pulls).toMatchObject([{ record: { count: 2, resource: { repository: 'demo/app', tag: '1', digest } } }]);
  await again.stop();
});

test('what a rule refuses is recorded as denied: immutable tags and quotas, by every interface, repeated ones once', async () => {
  const server = await startServer();
  const client = new Client(server.url);
  await done(201, client, 'POST', '/projects', { name: 'demo' });
  const { digest } = await client.pushImage('demo/app', 'v1');
  await done(201, client, 'POST', '/projects/demo/immutability-rules', { name: 'all', tags: { include: ['v*'] } });
  for (let nth = 0; nth < 3; nth++) expect((await client.request('DELETE', `/v2/demo/app/manifests/${digest}`)).status).toBe(409);
  expect((await rest(client, 'DELETE', '/projects/demo/repositories/app/tags/v1')).status).toBe(409);
  await done(200, client, 'PATCH', '/projects/demo/quota', { bytes: 1 });
  for (const body of ['four', 'five more']) {
    expect((await client.request('POST', `/v2/demo/app/blobs/uploads/?digest=${sha256(body)}`, { body })).status).toBe(403);
  }
  await expect.poll(async () => (await denials(client)).length, { timeout: 20_000 }).toBe(3);
  const found = (await denials(client)).map(({ action, count, reason, resource: { repository, tag } }) => ({
    action,
    count,
    reason,
    repository,
    tag,
  }));
  const held = {
    reason: 'tag v1 is immutable by rule all of the project; it can be neither moved nor deleted',
    repository: 'demo/app',
    tag: 'v1',
  };
  expect(found).toEqual(
    expect.arrayContaining([
      { action: 'artifact.delete', count: 3, ...held },
      { action: 'tag.delete', count: undefined, ...held },
      { action: 'blob.push', count: 2, reason: "the project's quota of bytes has no room", repository: 'demo/app', tag: undefined },
    ]),
  );
  await server.stop();
});
