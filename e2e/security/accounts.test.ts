import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { disableUser, resetPassword } from '../../packages/server/src/admin.ts';
import { loadConfig } from '../../packages/server/src/platform/config.ts';
import { type Answer, basic, Client } from '../harness/client.ts';
import { Browser } from '../harness/console.ts';
import { type People, populate } from '../harness/people.ts';
import { ADMIN, startServer, type TestServer } from '../harness/server.ts';

let server: TestServer;
let people: People;
const config = () => loadConfig({ env: {}, flags: { dataDir: server.dataDir } });

beforeAll(async () => {
  server = await startServer();
  people = await populate(server, { users: ['alice', 'bob', 'carol', 'dave'], projects: {} });
});
afterAll(async () => expect(await server.stop()).toBe(0));

/** A browser in which somebody has logged in. */
async function loggedIn(name: string, password = people.password(name)): Promise<Browser> {
  const browser = new Browser(server.url);
  expect(await browser.login(name, password)).toBe(200);
  return browser;
}

/** All of an answer but what differs each time. */
function shape({ status, headers, bytes }: Answer): string {
  const kept = [...headers].filter(([key]) => key !== 'date' && key !== 'x-request-id' && key !== 'retry-after');
  return JSON.stringify([status, kept, bytes.toString().replace(/"requestId":"[^"]*"/, '')]);
}

describe('sessions', () => {
  test('say who is logged in and what that may do; logout ends them', async () => {
    const browser = await loggedIn(ADMIN.user, ADMIN.password);
    const me = (await browser.must([200], 'GET', '/session')).json<{ name: string; permissions: string[] }>();
    expect(me).toMatchObject({ kind: 'user', name: 'admin' });
    expect(me.permissions).toContain('user:manage');
    const kept = browser.cookie;
    await browser.must([204], 'POST', '/logout');
    expect(browser.cookie).toBe('');
    browser.cookie = kept;
    expect(await browser.isIn()).toBe(false);
    expect((await (await loggedIn('alice')).must([200], 'GET', '/session')).json()).toMatchObject({ name: 'alice', permissions: [] });
  });

  test('are listed and revoked by their owner', async () => {
    const [here, there, elsewhere] = [await loggedIn('bob'), await loggedIn('bob'), await loggedIn('bob')];
    const list = async () => (await here.must([200], 'GET', '/sessions')).json<{ items: { id: number; current: boolean }[] }>().items;
    const [third, second, first] = await list();
    expect([third?.current, second?.current, first?.current]).toEqual([false, false, true]);
    await here.must([204], 'DELETE', `/sessions/${second?.id}`);
    expect([await here.isIn(), await there.isIn(), await elsewhere.isIn()]).toEqual([true, false, true]);
    await here.must([404], 'DELETE', `/sessions/${second?.id}`);
    await here.must([204], 'DELETE', '/sessions');
    expect([await here.isIn(), await elsewhere.isIn()]).toEqual([true, false]);
    expect(await list()).toHaveLength(1);
  });

  test('of others are not found, and are for administrators only', async () => {
    const [alice, bob] = [await loggedIn('alice'), await loggedIn('bob')];
    const admin = await loggedIn(ADMIN.user, ADMIN.password);
    const ofAlice = (await admin.must([200], 'GET', '/users/alice/sessions')).json<{ items: { id: number }[] }>().items[0]?.id;
    const refused = await Promise.all([bob.request('DELETE', `/sessions/${ofAlice}`), bob.request('DELETE', '/sessions/99999999')]);
    expect(refused.map((answer) => answer.status)).toEqual([404, 404]);
    await bob.must([403], 'GET', '/users/alice/sessions');
    await bob.must([403], 'DELETE', '/users/alice/sessions');
    await admin.must([404], 'DELETE', `/users/bob/sessions/${ofAlice}`);
    expect(await alice.isIn()).toBe(true);
    await admin.must([204], 'DELETE', `/users/alice/sessions/${ofAlice}`);
    expect(await alice.isIn()).toBe(false);
    await admin.must([204], 'DELETE', '/users/bob/sessions');
    expect(await bob.isIn()).toBe(false);
    await admin.must([404], 'GET', '/users/nobody/sessions');
  });

  test('A5 end at once with the password and with the user, and do not come back', async () => {
    const dave = await loggedIn('dave');
    const password = await resetPassword(config(), 'dave');
    expect(await dave.isIn()).toBe(false);
    const again = await loggedIn('dave', password);
    await disableUser(config(), 'dave', true);
    expect(await again.isIn()).toBe(false);
    expect(await new Browser(server.url).login('dave', password)).toBe(401);
    await disableUser(config(), 'dave', false);
    expect(await again.isIn()).toBe(false);
  });

  test('A8 every login that fails is answered alike', async () => {
    const answers = new Set<string>();
    for (const [name, password] of [
      ['carol', 'not-the-password'],
      ['nobody', 'not-the-password'],
      ['Not A Name!', 'not-the-password'],
      ['carol', ''],
      ['', ''],
    ] as const) {
      const answer = await new Browser(server.url).request('POST', '/login', { name, password });
      expect(answer.status).toBe(401);
      expect(answer.headers.getSetCookie()).toEqual([]);
      answers.add(shape(answer));
    }
    expect(answers.size).toBe(1);
  });

  test('A11 a cookie alone changes nothing: the page must be one of this server', async () => {
    const carol = await loggedIn('carol');
    const other = await loggedIn('carol');
    const client = Client.anonymous(server.url);
    const Cookie = carol.cookie;
    for (const headers of [
      {},
      { Origin: 'https://evil.example' },
      { Origin: 'null' },
      { Origin: server.url.replace('http:', 'https:') },
      { Origin: `${server.url}.evil.example` },
      { Origin: server.url, 'Sec-Fetch-Site': 'cross-site' },
      { 'Sec-Fetch-Site': 'same-site' },
      { 'Sec-Fetch-Site': 'none' },
    ]) {
      const answer = await client.request('DELETE', '/api/v1/sessions', { headers: { Cookie, ...(headers as Record<string, string>) } });
      expect([headers, answer.status]).toEqual([headers, 403]);
    }
    expect(await other.isIn()).toBe(true);
    // And over the distribution API it is nothing at all.
    expect((await client.request('GET', '/v2/', { headers: { Cookie } })).status).toBe(401);
    expect((await client.request('GET', '/token', { headers: { Cookie } })).json<{ token: string }>().token).toBeTypeOf('string');
    const { token } = (await client.request('GET', '/token', { headers: { Cookie } })).json<{ token: string }>();
    expect((await client.request('GET', '/api/v1/session', { headers: { Authorization: `Bearer ${token}` } })).status).toBe(401);
  });

  test('A11 another site cannot log a browser in, whatever form it sends', async () => {
    const client = Client.anonymous(server.url);
    const body = JSON.stringify({ name: 'carol', password: people.password('carol') });
    const post = async (headers: Record<string, string>) => await client.request('POST', '/api/v1/login', { headers, body });
    for (const headers of [
      { Origin: 'https://evil.example' },
      { Origin: 'null' },
      { 'Sec-Fetch-Site': 'cross-site' },
      { 'Sec-Fetch-Site': 'same-site' },
    ]) {
      const answer = await post({ 'Content-Type': 'application/json', ...(headers as Record<string, string>) });
      expect([headers, answer.status, answer.headers.getSetCookie()]).toEqual([headers, 403, []]);
    }
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
      'text/plain; x=application/json',
      'application/jsonx',
      'application/json+x',
      'application/jsonp',
      'x/application/json',
      '',
    ]) {
      const answer = await post({ 'Content-Type': type });
      expect([type, [400, 415].includes(answer.status), answer.headers.getSetCookie()]).toEqual([type, true, []]);
    }
    expect((await post({ 'Content-Type': 'application/json; charset=utf-8' })).status).toBe(200);
  });

  test('a repeated login is a login of its own', async () => {
    const headers = { 'Idempotency-Key': 'the same' };
    const [one, other] = [new Browser(server.url, headers), new Browser(server.url, headers)];
    expect(await one.login('carol', people.password('carol'))).toBe(200);
    expect(await other.login('carol', people.password('carol'))).toBe(200);
    expect(other.cookie).not.toBe('');
    expect(other.cookie).not.toBe(one.cookie);
  });

  test('a login is recorded under the name of who logged in', async () => {
    await loggedIn('carol');
    const records = new DatabaseSync(join(server.dataDir, 'entrepot.db'), { readOnly: true });
    const last = records.prepare("select actor, outcome, body from audit_record where action = 'session.create' order by seq desc").get();
    records.close();
    expect(last).toMatchObject({ actor: 'user:carol', outcome: 'success' });
    expect(last?.body).not.toContain(people.password('carol'));
  });
});

describe('rights over users', () => {
  let root: Browser;
  let helpdesk: Browser;
  const phrase = 'an odd phrase for each of them';
  beforeAll(async () => {
    root = await loggedIn(ADMIN.user, ADMIN.password);
    const permissions = ['user:read', 'user:manage', 'group:read', 'group:manage'];
    await root.must([201], 'POST', '/roles', { name: 'helpdesk', description: '', permissions });
    for (const name of ['desk', 'plain', 'owner']) await root.must([201], 'POST', '/users', { name, password: phrase });
    await root.must([201], 'POST', '/assignments', { kind: 'user', name: 'desk', role: 'helpdesk' });
    await root.must([201], 'POST', '/projects', { name: 'walled' });
    await root.must([201], 'POST', '/projects/walled/members', { kind: 'user', name: 'owner', role: 'maintainer' });
    await root.must([201], 'POST', '/groups', { name: 'keepers' });
    await root.must([201], 'POST', '/projects/walled/members', { kind: 'group', name: 'keepers', role: 'guest' });
    helpdesk = await loggedIn('desk', phrase);
  });

  test('C1 fields that are not offered are refused, and nothing of the rest is done', async () => {
    const read = async (path: string) => (await root.must([200], 'GET', path)).bytes.toString();
    const before = await read('/users/plain');
    for (const more of [
      { id: 1 },
      { generation: 1 },
      { passwordHash: 'x' },
      { password_hash: 'x' },
      { password: phrase },
      { role: 'system-admin' },
      { roles: ['system-admin'] },
      { permissions: ['user:manage'] },
      { groups: ['keepers'] },
      { version: 99 },
      { createdAt: '2020-01-01T00:00:00Z' },
      { provider: 'corp' },
      { name: 'renamed' },
      { ['__proto__']: { admin: true } },
    ]) {
      const body = JSON.stringify({ fullName: 'Changed', ...more });
      const answer = await root.request('PATCH', '/users/plain', JSON.parse(body));
      expect([body, answer.status]).toEqual([body, 400]);
    }
    expect(await read('/users/plain')).toBe(before);
    for (const [method, path, body] of [
      ['POST', '/users', { name: 'c1', password: phrase, id: 1 }],
      ['POST', '/users', { name: 'c1', password: phrase, disabled: false }],
      ['POST', '/users', { name: 'c1', password: phrase, role: 'system-admin' }],
      ['POST', '/groups', { name: 'c1', id: 1 }],
      ['POST', '/groups', { name: 'c1', members: ['plain'] }],
      ['POST', '/groups/keepers/members', { add: ['plain'], source: 'corp' }],
      ['POST', '/account/password', { password: ADMIN.password, newPassword: phrase, name: 'plain' }],
      ['POST', '/users/plain/password', { password: phrase, hash: 'x' }],
      ['POST', '/login', { name: 'plain', password: phrase, admin: true }],
    ] as const) {
      const answer = await root.request(method, path, body);
      expect([method, path, body, answer.status]).toEqual([method, path, body, 400]);
    }
    await root.must([404], 'GET', '/users/c1');
    await root.must([404], 'GET', '/groups/c1');
  });

  test('C1 nobody gives or gets more than it holds: administrators and members are out of reach of who only manages users', async () => {
    await helpdesk.must([201], 'POST', '/users', { name: 'from-desk', password: phrase });
    await helpdesk.must([200], 'PATCH', '/users/plain', { fullName: 'Plain' });
    for (const [method, path, body] of [
      ['POST', '/users', { name: 'too-much', password: phrase, admin: true }],
      ['PATCH', '/users/plain', { admin: true }],
      ['PATCH', '/users/desk', { admin: true }],
      ['PATCH', '/users/admin', { email: 'desk@example.com' }],
      ['PATCH', '/users/admin', { disabled: true }],
      ['PATCH', '/users/admin', { admin: false }],
      ['POST', '/users/admin/password', {}],
      ['DELETE', '/users/admin', undefined],
      ['POST', '/users/delete', { names: ['plain', 'admin'] }],
      ['POST', '/users/disable', { names: ['plain', 'admin'], disabled: true }],
      ['POST', '/users/owner/password', {}],
      ['PUT', '/groups/keepers/members/desk', undefined],
      ['POST', '/groups/keepers/members', { add: ['desk'] }],
    ] as const) {
      const answer = await helpdesk.request(method, path, body);
      expect([method, path, answer.status]).toEqual([method, path, 403]);
    }
    expect(await root.isIn()).toBe(true);
    expect((await root.must([200], 'GET', '/users/plain')).json()).toMatchObject({ disabled: false, admin: false });
    await root.must([404], 'GET', '/users/too-much');
    expect((await root.must([200], 'GET', '/groups/keepers/members')).json()).toEqual({ items: [] });
    await root.must([200], 'POST', '/groups/keepers/members', { add: ['plain'] });
    await helpdesk.must([403], 'POST', '/users/plain/password', {});
    await helpdesk.must([204], 'DELETE', '/groups/keepers/members/plain');
  });

  test('A5 a right that is taken is gone with the next request of a session', async () => {
    const leaver = await (async () => {
      await root.must([201], 'POST', '/users', { name: 'leaver', password: phrase, admin: true });
      return await loggedIn('leaver', phrase);
    })();
    await leaver.must([200], 'GET', '/users');
    await root.must([200], 'PATCH', '/users/leaver', { admin: false });
    expect(await leaver.isIn()).toBe(false);
    const again = await loggedIn('leaver', phrase);
    await again.must([403], 'GET', '/users');
    await root.must([204], 'PUT', '/groups/keepers/members/leaver');
    await again.must([200], 'GET', '/projects/walled');
    await root.must([204], 'DELETE', '/groups/keepers/members/leaver');
    await again.must([404], 'GET', '/projects/walled');
  });
});

describe('guessing', () => {
  let guarded: TestServer;
  let town: People;
  const users = Array.from({ length: 12 }, (_, n) => `user-${n}`);
  const [HOME, AWAY] = ['192.0.2.1', '192.0.2.200'];
  let guesses = 0;
  let strangers = 0;
  /** An address that nobody used before. */
  const stranger = () => `198.51.100.${++strangers}`;

  beforeAll(async () => {
    guarded = await startServer({ options: { 'trusted-proxies': '127.0.0.1', workers: '2' } });
    town = await populate(guarded, { users, projects: {} });
  });
  afterAll(async () => expect(await guarded.stop()).toBe(0));

  type Login = (user: string, password: string, forwarded: string, url?: string) => Promise<Answer>;
  const plain = (url: string) => Client.anonymous(url);
  /** Every way to present a password. */
  const WAYS: Record<string, Login> = {
    'Basic to the distribution API': (user, password, forwarded, url = guarded.url) =>
      plain(url).request('GET', '/v2/', { headers: { Authorization: basic(user, password), 'X-Forwarded-For': forwarded } }),
    'Basic to the token service': (user, password, forwarded, url = guarded.url) =>
      plain(url).request('GET', '/token', { headers: { Authorization: basic(user, password), 'X-Forwarded-For': forwarded } }),
    'a form to the token service': (user, password, forwarded, url = guarded.url) =>
      plain(url).request('POST', '/token', {
        headers: { 'Content-Type': 'application/x-www-form-urlencoded', 'X-Forwarded-For': forwarded },
        body: String(new URLSearchParams({ grant_type: 'password', username: user, password })),
      }),
    'Basic to the management API': (user, password, forwarded, url = guarded.url) =>
      plain(url).request('GET', '/api/v1/session', { headers: { Authorization: basic(user, password), 'X-Forwarded-For': forwarded } }),
    'login of the console': (user, password, forwarded, url = guarded.url) =>
      new Browser(url, { 'X-Forwarded-For': forwarded }).request('POST', '/login', { name: user, password }),
  };
  const ways = Object.values(WAYS);
  const status = async (way: Login, user: string, from: string, password = town.password(user)) => (await way(user, password, from)).status;
  const wrong = async (way: Login, user: string, from: string, url?: string) => await way(user, `no password ${++guesses}`, from, url);

  /** Guesses by all ways in turn until there is a wait; gives how many were looked at. */
  async function guessUntilWait(user: string, from: () => string, most: number): Promise<number> {
    for (let n = 0; n <= most; n++) {
      const way = ways[n % ways.length];
      const answer = way && (await wrong(way, n % 2 ? user.toUpperCase() : user, from()));
      if (answer?.status === 429) return n;
      expect(answer?.status).toBe(401);
    }
    throw new Error(`no wait within ${most}`);
  }

  test('A7 all ways, all spellings of a name and all processes count together; each then says how long to wait', async () => {
    const from = stranger();
    expect(await guessUntilWait('user-0', () => from, 10)).toBeLessThanOrEqual(6); // one that was under way at the other process
    for (const [name, way] of Object.entries(WAYS)) {
      for (const user of ['user-0', 'USER-0']) {
        const answer = await wrong(way, user, from);
        expect([name, user, answer.status]).toEqual([name, user, 429]);
        expect(answer.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
      }
      expect([name, await status(way, 'user-0', from)]).toEqual([name, 429]); // the right one by luck would do no good
    }
  });

  test.each(Object.entries(WAYS))('A7 %s: a stranger locks the owner out neither elsewhere nor at home', async (_, way) => {
    const user = `user-${1 + ways.indexOf(way)}`;
    expect(await status(way, user, HOME)).toBe(200);
    const from = stranger();
    await guessUntilWait(user, () => from, 10);
    expect(await status(way, user, AWAY)).toBe(200);
    expect(await status(way, user, HOME)).toBe(200);
    for (let n = 0; n < 40; n++) await wrong(ways[n % ways.length] ?? way, user, HOME);
    expect(await status(way, user, HOME)).toBe(200);
  });

  test('A7 many names from one address wait together, but for those who have logged in from there', async () => {
    const from = stranger();
    expect(await status(ways[0] ?? expect.fail(), 'user-10', from)).toBe(200);
    let n = 0;
    const looked: number[] = [];
    for (; n < 60; n++) {
      const answer = await wrong(ways[n % ways.length] ?? expect.fail(), `name-${n}`, from);
      if (answer.status === 429) break;
      looked.push(answer.status);
    }
    expect(looked.length).toBeLessThanOrEqual(31);
    for (const way of ways) expect(await status(way, 'user-11', from)).toBe(429);
    for (const way of ways) expect(await status(way, 'user-10', from)).toBe(200);
  });

  test('A7 an address that the client makes up counts for nothing', async () => {
    // Behind a trusted proxy only what that says counts, which stands last.
    const from = stranger();
    let forged = 0;
    expect(await guessUntilWait('user-6', () => `203.0.113.${++forged}, ${from}`, 10)).toBeLessThanOrEqual(6);
    // Without one nothing does that the client sends. The other server of these tests has none.
    const statuses: number[] = [];
    for (let n = 0; n < 8; n++)
      statuses.push((await wrong(ways[n % ways.length] ?? expect.fail(), 'nobody-here', `203.0.113.${n}`, server.url)).status);
    expect(statuses.at(-1)).toBe(429);
  });

  test('A7 a program that goes on with an old password does not shut its address out', async () => {
    const from = stranger();
    for (let n = 0; n < 60; n++) {
      expect(await status(ways[n % ways.length] ?? expect.fail(), 'user-7', from, 'the password of last year')).toBe(401);
    }
    expect(await status(ways[0] ?? expect.fail(), 'user-7', from)).toBe(200);
  });

  test('A8 guesses at a user that there is and at one that there is not are answered alike, up to the wait', async () => {
    const answers: string[][] = [];
    for (const user of ['user-8', 'never-was']) {
      const from = stranger();
      const shapes: string[] = [];
      for (let n = 0; n < 7; n++) shapes.push(shape(await wrong(ways[0] ?? expect.fail(), user, from)));
      answers.push(shapes);
    }
    expect(answers[0]).toEqual(answers[1]);
  });
});
