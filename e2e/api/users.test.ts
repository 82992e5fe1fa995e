import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { basic, Client } from '../harness/client.ts';
import { Browser } from '../harness/console.ts';
import { ADMIN, startServer, type TestServer } from '../harness/server.ts';

interface User {
  readonly name: string;
  readonly newPassword?: string;
  readonly disabled: boolean;
  readonly admin: boolean;
}

let server: TestServer;
let root: Browser;
const PASSWORD = 'zebra.kettle.moss.9';

beforeAll(async () => {
  server = await startServer();
  root = new Browser(server.url);
  expect(await root.login(ADMIN.user, ADMIN.password)).toBe(200);
});
afterAll(async () => expect(await server.stop()).toBe(0));

async function make(name: string, more: object = {}): Promise<User> {
  return (await root.must([201], 'POST', '/users', { name, password: PASSWORD, ...more })).json();
}

async function loggedIn(name: string, password = PASSWORD): Promise<Browser> {
  const browser = new Browser(server.url);
  expect([name, await browser.login(name, password)]).toEqual([name, 200]);
  return browser;
}

/** Names on all pages of a list. */
async function all(path: string): Promise<string[]> {
  const names: string[] = [];
  for (let next: string | undefined = path; next !== undefined; ) {
    const answer = await root.must([200], 'GET', next);
    names.push(...answer.json<{ items: { name: string }[] }>().items.map(({ name }) => name));
    next = /<\/api\/v1([^>]*)>/.exec(answer.headers.get('link') ?? '')?.[1];
  }
  return names;
}

describe('users', () => {
  test('are made with a given or a random password, which is shown once', async () => {
    expect(await make('given', { email: 'given@example.com', fullName: 'Given One' })).toEqual({
      name: 'given',
      email: 'given@example.com',
      fullName: 'Given One',
      disabled: false,
      admin: false,
      password: true,
      createdAt: expect.any(String),
    });
    const { newPassword = '' } = await make('random', { password: undefined });
    expect(newPassword).toMatch(/^[a-z2-9]{26}$/);
    await loggedIn('given');
    await loggedIn('random', newPassword);
    expect((await root.must([200], 'GET', '/users/random')).bytes.toString()).not.toContain(newPassword);
    await root.must([409], 'POST', '/users', { name: 'given', password: PASSWORD });
    for (const name of ['Given', 'robot-x', '.x', 'a b', 'a/b', '', 'x'.repeat(64)]) {
      await root.must([400], 'POST', '/users', { name, password: PASSWORD });
    }
    for (const password of ['short', 'password1234', 'sure-i-am-weak-user', 'x'.repeat(300)]) {
      await root.must([400], 'POST', '/users', { name: 'weak-user', password });
    }
  });

  test('a repeated creation does not show the random password again', async () => {
    const key = { 'Idempotency-Key': 'once' };
    const first = await root.request('POST', '/users', { name: 'once' }, key);
    const again = await root.request('POST', '/users', { name: 'once' }, key);
    expect([first.status, again.status]).toEqual([201, 201]);
    expect(first.json<User>().newPassword).toBeTypeOf('string');
    expect(again.json<User>().newPassword).toBeUndefined();
  });

  test('are listed by page, sorted and filtered', async () => {
    for (let n = 0; n < 7; n++) await make(`list-${6 - n}`, { email: `${n % 2 ? 'odd' : 'even'}_${n}@example.com` });
    await root.must([200], 'PATCH', '/users/list-3', { disabled: true });
    const names = [0, 1, 2, 3, 4, 5, 6].map((n) => `list-${n}`);
    expect(await all('/users?limit=2&name=list-')).toEqual(names);
    expect(await all('/users?limit=3&name=list-&sort=-name')).toEqual(names.toReversed());
    expect(await all('/users?limit=2&name=LIST-&sort=createdAt')).toEqual(names.toReversed());
    expect(await all('/users?limit=2&name=list-&sort=-createdAt')).toEqual(names);
    expect(await all('/users?name=list-&email=odd_')).toEqual(['list-1', 'list-3', 'list-5']);
    expect(await all('/users?email=odd%25')).toEqual([]);
    expect(await all('/users?name=list-&disabled=true')).toEqual(['list-3']);
    expect(await all('/users?name=list-&disabled=false')).toHaveLength(6);
    for (const query of ['sort=password', 'sort=passwordHash', 'password=x', 'passwordHash=x', 'generation=1', 'limit=0', 'after=x']) {
      await root.must([400], 'GET', `/users?${query}`);
    }
  });

  test('are changed where nobody else changed them meanwhile', async () => {
    await make('changing');
    const before = await root.must([200], 'GET', '/users/changing');
    const match = { 'If-Match': before.headers.get('etag') ?? '' };
    const changed = await root.request('PATCH', '/users/changing', { fullName: 'New Name', email: 'new@example.com' }, match);
    expect([changed.status, changed.json()]).toMatchObject([200, { fullName: 'New Name', email: 'new@example.com', disabled: false }]);
    expect((await root.request('PATCH', '/users/changing', { fullName: 'Other' }, match)).status).toBe(412);
    expect((await root.request('DELETE', '/users/changing', undefined, match)).status).toBe(412);
    for (const email of ['nobody', 'a@b@c', 'a b@c', '<a@b>']) await root.must([400], 'PATCH', '/users/changing', { email });
    await root.must([404], 'PATCH', '/users/nobody', { fullName: 'x' });
  });

  test('get a new password, which ends their sessions; they change their own with the one they have', async () => {
    const name = 'resetting';
    await make(name);
    const session = await loggedIn(name);
    const { newPassword = '' } = (await root.must([200], 'POST', `/users/${name}/password`, {})).json<User>();
    expect(await session.isIn()).toBe(false);
    expect(await new Browser(server.url).login(name, PASSWORD)).toBe(401);
    const [mine, other] = [await loggedIn(name, newPassword), await loggedIn(name, newPassword)];
    const before = mine.cookie;
    const own = 'my own very odd phrase';
    await mine.must([403], 'POST', '/account/password', { password: 'not it, not it', newPassword: own });
    for (const weak of ['short', newPassword, 'password1234', `${name} is my name`]) {
      await mine.must([400], 'POST', '/account/password', { password: newPassword, newPassword: weak });
    }
    await mine.must([204], 'POST', '/account/password', { password: newPassword, newPassword: own });
    expect(mine.cookie).not.toBe(before);
    expect([await mine.isIn(), await other.isIn()]).toEqual([true, false]);
    await loggedIn(name, own);
    await root.must([404], 'POST', '/users/nobody/password', {});
  });

  test('disabled or deleted, one or several, are out at once; what they did stays in the trail', async () => {
    for (const name of ['off-1', 'off-2', 'off-3']) await make(name);
    const [one, two] = [await loggedIn('off-1'), await loggedIn('off-2')];
    await root.must([200], 'PATCH', '/users/off-1', { disabled: true });
    await root.must([404], 'POST', '/users/disable', { names: ['off-2', 'nobody'], disabled: true });
    expect([await one.isIn(), await two.isIn()]).toEqual([false, true]);
    await root.must([200], 'POST', '/users/disable', { names: ['off-2', 'off-3'], disabled: true });
    expect(await two.isIn()).toBe(false);
    expect(await new Browser(server.url).login('off-2', PASSWORD)).toBe(401);
    await root.must([200], 'POST', '/users/off-2/password', { password: 'another odd phrase of mine' });
    expect(await new Browser(server.url).login('off-2', 'another odd phrase of mine')).toBe(401);
    await root.must([200], 'POST', '/users/disable', { names: ['off-2'], disabled: false });
    const back = await loggedIn('off-2', 'another odd phrase of mine');
    await root.must([204], 'DELETE', '/users/off-2');
    expect(await back.isIn()).toBe(false);
    await root.must([404], 'POST', '/users/delete', { names: ['off-1', 'nobody'] });
    await root.must([200], 'GET', '/users/off-1');
    await root.must([200], 'POST', '/users/delete', { names: ['off-1', 'off-3'] });
    for (const name of ['off-1', 'off-2', 'off-3']) await root.must([404], 'GET', `/users/${name}`);
    // Somebody new of the same name gets nothing of the old one.
    await make('off-2');
    expect(await back.isIn()).toBe(false);
  });

  test('the last administrator cannot go, by any way', async () => {
    const ways: [string, string, unknown][] = [
      ['PATCH', '/users/admin', { disabled: true }],
      ['PATCH', '/users/admin', { admin: false }],
      ['DELETE', '/users/admin', undefined],
      ['POST', '/users/delete', { names: ['admin'] }],
      ['POST', '/users/disable', { names: ['admin'], disabled: true }],
    ];
    for (const [method, path, body] of ways) await root.must([409], method, path, body);
    expect(await root.isIn()).toBe(true);
    await make('second', { admin: true });
    const second = await loggedIn('second');
    await second.must([200], 'PATCH', '/users/admin', { admin: false });
    expect(await root.isIn()).toBe(false); // what its rights were has changed
    for (const [method, path, body] of ways) {
      await second.must(
        [409],
        method,
        path.replace('admin', 'second'),
        JSON.parse(JSON.stringify(body ?? null).replace('"admin"]', '"second"]')) ?? undefined,
      );
    }
    await second.must([200], 'PATCH', '/users/admin', { admin: true });
    expect(await root.login(ADMIN.user, ADMIN.password)).toBe(200);
    await root.must([200], 'PATCH', '/users/second', { disabled: true });
    await root.must([409], 'DELETE', '/users/admin');
  });
});

describe('groups', () => {
  test('have members, who hold what the group holds as long as they are in it', async () => {
    for (const name of ['ann', 'ben', 'cat']) await make(name);
    await root.must([201], 'POST', '/projects', { name: 'shared' });
    await root.must([201], 'POST', '/groups', { name: 'Team Ä', description: 'first' });
    await root.must([409], 'POST', '/groups', { name: 'Team Ä' });
    for (const name of ['', ' x', 'x ', 'a/b', 'a\nb', '<b>', 'x'.repeat(128)]) await root.must([400], 'POST', '/groups', { name });
    const group = `/groups/${encodeURIComponent('Team Ä')}`;
    await root.must([201], 'POST', '/projects/shared/members', { kind: 'group', name: 'Team Ä', role: 'developer' });
    const ann = new Client(server.url, basic('ann', PASSWORD));
    const reads = async () => (await ann.request('GET', '/api/v1/projects/shared')).status;
    expect(await reads()).toBe(404);
    const done = (await root.must([200], 'POST', `${group}/members`, { add: ['ann', 'ben'] })).json();
    expect(done).toEqual({ added: ['ann', 'ben'], removed: [] });
    expect(await reads()).toBe(200);
    await root.must([404], 'POST', `${group}/members`, { add: ['cat', 'nobody'], remove: ['ann'] });
    expect(await all(`${group}/members?limit=1`)).toEqual(['ann', 'ben']);
    await root.must([204], 'PUT', `${group}/members/cat`);
    expect(await all(`${group}/members?name=c`)).toEqual(['cat']);
    await root.must([204], 'DELETE', `${group}/members/ann`);
    await root.must([404], 'DELETE', `${group}/members/ann`);
    expect(await reads()).toBe(404);
    await root.must([204], 'PUT', `${group}/members/ann`);
    await root.must([204], 'DELETE', group);
    expect(await reads()).toBe(404);
    await root.must([404], 'GET', group);
    // A new group of the same name gives nothing of the old one.
    await root.must([201], 'POST', '/groups', { name: 'Team Ä' });
    await root.must([204], 'PUT', `${group}/members/ann`);
    expect(await reads()).toBe(404);
  });

  test('are listed, changed, and deleted together or not at all', async () => {
    for (const name of ['ops-1', 'ops-2', 'ops-3']) await root.must([201], 'POST', '/groups', { name });
    expect(await all('/groups?limit=2&name=OPS')).toEqual(['ops-1', 'ops-2', 'ops-3']);
    expect(await all('/groups?limit=2&name=ops&sort=-name')).toEqual(['ops-3', 'ops-2', 'ops-1']);
    const match = { 'If-Match': (await root.must([200], 'GET', '/groups/ops-1')).headers.get('etag') ?? '' };
    expect((await root.request('PATCH', '/groups/ops-1', { description: 'new' }, match)).status).toBe(200);
    expect((await root.request('PATCH', '/groups/ops-1', { description: 'newer' }, match)).status).toBe(412);
    await root.must([404], 'POST', '/groups/delete', { names: ['ops-1', 'nothing'] });
    await root.must([204], 'POST', '/groups/delete', { names: ['ops-1', 'ops-3'] });
    expect(await all('/groups?name=ops')).toEqual(['ops-2']);
  });
});
