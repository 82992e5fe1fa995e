import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, basic, Client, must } from '../harness/client.ts';
import { tokenKey } from '../harness/jwt.ts';
import { type People, populate } from '../harness/people.ts';
import { ask } from '../harness/raw.ts';
import { done, everyItem, rest } from '../harness/rest.ts';
import { ADMIN, startServer, type TestServer } from '../harness/server.ts';

describe('F4 secrets', () => {
  let server: TestServer;
  let people: People;
  const answers: Answer[] = [];
  const raw: string[] = [];
  /** What nobody may ever read anywhere: passwords right and wrong, tokens, keys, and how they are written in headers. */
  const secrets = new Map<string, string>();

  beforeAll(async () => {
    server = await startServer({ options: { 'log-level': 'trace', 'log-requests': 'true' } });
    people = await populate(server, { users: ['alice'], projects: { demo: { members: { alice: 'developer' } } } });
    const wrong = `wrong-${randomBytes(12).toString('hex')}`;
    const client = people.client('alice');
    const offline = await must(client, [200], 'GET', '/token?offline_token=true&scope=repository:demo/app:pull,push');
    const { token, refresh_token: refresh } = offline.json<{ token: string; refresh_token: string }>();
    const admin = new Client(server.url);
    const made = `made-${randomBytes(12).toString('hex')}`;
    await done(201, admin, 'POST', '/users', { name: 'bob', password: made });
    await done(201, admin, 'POST', '/audit-sinks', {
      ...{ name: 'central', target: { kind: 'http', url: 'http://203.0.113.1/' }, secrets: { authorization: `Bearer sink-${made}` } },
    });
    const key = await done<{ secret: string }>(201, client, 'POST', '/access-keys', { name: 'laptop', expiresAt: null });
    for (const [what, secret] of [
      ['a password given by the API', made],
      ['the secret of an access key', key.secret],
      ["the admin's password", ADMIN.password],
      ["a user's password", people.password('alice')],
      ['a wrong password', wrong],
      ['an access token', token],
      ['a refresh token', refresh],
      ["the admin's header", basic(ADMIN.user, ADMIN.password).slice(6)],
      ["a user's header", people.basic('alice').slice(6)],
      ['a wrong header', basic('alice', wrong).slice(6)],
      ['the signing key', Buffer.from(tokenKey(server)).toString('hex')],
      ['the signing key in base64', Buffer.from(tokenKey(server)).toString('base64')],
      ['the master key', readFileSync(join(server.dataDir, 'keys/master.key')).toString('hex')],
      ['the master key in base64', readFileSync(join(server.dataDir, 'keys/master.key')).toString('base64')],
    ] as const) {
      secrets.set(what, secret);
    }

    // Every way to hand a secret over, right and wrong, and in places where it does not belong.
    const take = async (by: Client, method: string, path: string, options = {}) =>
      void answers.push(await by.request(method, path, options));
    const form = (body: Record<string, string>) => ({
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
      body: String(new URLSearchParams(body)),
    });
    const nobody = Client.anonymous(server.url);
    for (const authorization of [
      basic('alice', wrong),
      basic(wrong, wrong),
      people.basic('alice'),
      basic(ADMIN.user, ADMIN.password),
      `Bearer ${token}`,
      `Bearer ${refresh}`,
      `Bearer ${token}x`,
      `Basic ${token}`,
      `Digest ${wrong}`,
    ]) {
      const by = new Client(server.url, authorization);
      answers.push(await rest(by, 'GET', '/audit'));
      for (const path of ['/v2/', '/v2/demo/app/tags/list', '/v2/_catalog', '/token', '/metrics', '/nowhere']) await take(by, 'GET', path);
      await take(by, 'PUT', '/v2/demo/app/manifests/1', { body: Buffer.from(wrong) });
      await take(by, 'POST', `/v2/demo/app/blobs/uploads/?digest=${wrong}`, { body: Buffer.from(wrong) });
    }
    answers.push(await rest(nobody, 'POST', '/login', { name: 'alice', password: wrong }));
    answers.push(await rest(nobody, 'POST', '/login', { name: wrong, password: 'whatever' }));
    for (const secret of [wrong, people.password('alice'), ADMIN.password, token, refresh]) {
      await take(nobody, 'GET', `/token?password=${secret}&account=alice`);
      await take(nobody, 'GET', `/v2/demo/app/tags/list?token=${secret}`);
      await take(nobody, 'GET', '/v2/', {
        headers: { Cookie: `session=${secret}`, 'X-Api-Key': secret, Referer: `http://x/?t=${secret}` },
      });
      await take(nobody, 'POST', '/token', form({ grant_type: 'password', username: 'alice', password: `${secret}!` }));
      await take(nobody, 'POST', '/token', form({ grant_type: secret, refresh_token: secret }));
      await take(nobody, 'POST', '/token', { headers: { 'Content-Type': 'text/plain' }, body: secret });
      raw.push(await ask(server, `GET /v2/ HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${secret}\r\nContent-Length: ${secret}\r\n\r\n`));
      raw.push(await ask(server, `GET http://alice:${secret}@registry/v2/ HTTP/1.1\r\nHost: registry\r\nConnection: close\r\n\r\n`));
    }
    await must(client, [200], 'POST', '/token', form({ grant_type: 'refresh_token', refresh_token: refresh }));
    await must(client, [200], 'POST', '/token', form({ grant_type: 'password', username: 'alice', password: people.password('alice') }));
  });
  afterAll(async () => expect(await server.stop()).toBe(0));

  const readBy = (where: string, text: string) => {
    for (const [what, secret] of secrets) expect(text.includes(secret), `${what} in ${where}`).toBe(false);
  };

  test('F4 no answer repeats one', () => {
    expect(answers.length).toBeGreaterThan(80);
    for (const { status, headers, bytes } of answers) {
      // What the token service hands out is new each time, and only for who proved who they are.
      readBy(`an answer of ${status}`, JSON.stringify([...headers]) + bytes.toString('latin1'));
    }
    for (const answer of raw) readBy('an answer', answer);
  });

  test('F4 the log of everything does not show one', () => {
    expect(server.output().split('\n').length).toBeGreaterThan(answers.length);
    expect(server.output()).toContain('"path":"/v2/demo/app/tags/list"');
    readBy('the log', server.output());
  });

  test('F4 the metrics do not show one, and are for this machine only', async () => {
    readBy('the metrics', (await must(Client.anonymous(server.url), [200], 'GET', '/metrics')).bytes.toString());
    await must(Client.anonymous(server.url), [403], 'GET', '/metrics', { headers: { 'X-Forwarded-For': '203.0.113.9' } });
  });

  test('F4 no audit record shows one, though all that was refused is told', async () => {
    const records = async () => await everyItem<{ record: { action: string } }>(new Client(server.url), '/audit?outcome=denied');
    await expect.poll(async () => (await records()).length, { timeout: 20_000 }).toBeGreaterThan(5);
    await expect.poll(async () => JSON.stringify(await records()), { timeout: 20_000 }).toContain('"action":"audit:read"');
    readBy('the audit trail', JSON.stringify(await everyItem(new Client(server.url), '/audit')));
  });

  test('F4 nothing on the disk shows one but the file of the master key, which its owner alone may read', async () => {
    const files = readdirSync(server.dataDir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    expect(files.map(({ name }) => name)).toEqual(expect.arrayContaining(['entrepot.db', 'entrepot.db-wal', 'master.key']));
    for (const file of files) {
      const bytes = readFileSync(join(file.parentPath, file.name));
      readBy(file.name, bytes.toString('latin1'));
      const key = readFileSync(join(server.dataDir, 'keys/master.key'));
      if (file.name !== 'master.key')
        expect([file.name, bytes.includes(key), bytes.includes(Buffer.from(tokenKey(server)))]).toEqual([file.name, false, false]);
    }
  });

  test('F4 neither the command line nor the environment of the process shows the password it was started with', () => {
    const { pid } = server.process;
    for (const file of ['cmdline', 'comm']) readBy(file, readFileSync(`/proc/${pid}/${file}`, 'latin1'));
  });
});
