import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { disableUser } from '../../packages/server/src/admin.ts';
import { loadConfig } from '../../packages/server/src/platform/config.ts';
import { type Answer, basic, Client, errorOf, must } from '../harness/client.ts';
import { tokenKey } from '../harness/jwt.ts';
import { type People, populate } from '../harness/people.ts';
import { ADMIN, startServer, type TestServer } from '../harness/server.ts';

const WRONG = 'not-the-password-of-anybody';

describe('logins', () => {
  let server: TestServer;
  let people: People;
  beforeAll(async () => {
    server = await startServer();
    people = await populate(server, { users: ['alice', 'gone'], projects: {} });
    await disableUser(loadConfig({ env: {}, flags: { dataDir: server.dataDir } }), 'gone', true);
  });
  afterAll(async () => expect(await server.stop()).toBe(0));

  /** The three ways to present a password. */
  const PATHS: Record<string, (user: string, password: string) => Promise<Answer>> = {
    'Basic to the API': (user, password) => new Client(server.url, basic(user, password)).request('GET', '/v2/'),
    'Basic to the token service': (user, password) => new Client(server.url, basic(user, password)).request('GET', '/token'),
    'a form to the token service': (user, password) =>
      Client.anonymous(server.url).request('POST', '/token', {
        headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
        body: String(new URLSearchParams({ grant_type: 'password', username: user, password })),
      }),
  };

  /** All of an answer but what differs each time. */
  const shape = ({ status, headers, bytes }: Answer) => {
    const kept = [...headers].filter(([key]) => key !== 'date' && key !== 'x-request-id');
    return JSON.stringify([status, kept, bytes.toString('latin1')]);
  };

  test.each(Object.entries(PATHS))('A8 %s: users that there are, were, or never have been are refused alike', async (_, login) => {
    const answers = new Set<string>();
    for (const [user, password] of [
      ['alice', WRONG],
      ['alice', ''],
      ['alice', 'x'.repeat(300)],
      ['gone', WRONG],
      ['gone', people.password('gone')],
      ['nobody', WRONG],
      ['nobody', 'x'.repeat(300)],
      ['Not A Name!', WRONG],
      ['a'.repeat(3000), WRONG],
      ['', WRONG],
    ] as const) {
      const answer = await login(user, password);
      expect(answer.status).toBe(401);
      answers.add(shape(answer));
    }
    expect([...answers]).toHaveLength(1);
  });

  test('A8 a name that nobody has costs as much as one that somebody has', async () => {
    // The quickest of many tries of each, in turn: whoever skips the hash is many times faster, on the busiest machine too.
    const quickest = new Map<string, number>();
    for (let round = 0; round < 6; round++) {
      for (const user of ['alice', 'nobody', 'gone', 'Not A Name!']) {
        const started = performance.now();
        await PATHS['Basic to the API']?.(user, WRONG);
        quickest.set(user, Math.min(performance.now() - started, quickest.get(user) ?? Number.POSITIVE_INFINITY));
      }
    }
    const times = [...quickest.values()];
    expect(Math.max(...times) / Math.min(...times)).toBeLessThan(4);
  });

  test('A7 guesses beyond what can be checked are turned away, whichever way and name they come by; who is in stays in', async () => {
    // A first login is remembered, so that guesses do not shut out who works.
    const password = people.password('alice');
    await must(people.client('alice'), [200], 'GET', '/v2/');
    await must(new Client(server.url), [200], 'GET', '/v2/');
    const token = new Client(server.url, await people.bearer('alice'));
    const ways = Object.values(PATHS);
    const guesses = Array.from({ length: 150 }, (_, index) => {
      const user = ['alice', 'nobody', 'admin', 'Alice', `name-${index}`][index % 5] ?? '';
      return ways[index % ways.length]?.(user, `${WRONG}-${index}`);
    });
    const working = [
      people.client('alice').request('GET', '/v2/'),
      token.request('GET', '/v2/'),
      new Client(server.url, basic('alice', password)).request('GET', '/token'),
    ];
    const answers = (await Promise.all(guesses)).flatMap((answer) => answer ?? []);
    const statuses = new Set(answers.map(({ status }) => status));
    expect([...statuses].toSorted()).toEqual([401, 429]);
    for (const answer of answers.filter(({ status }) => status === 429)) {
      expect(errorOf(answer).code).toBe('TOOMANYREQUESTS');
      expect(answer.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
    }
    // One limit for all ways: each was turned away, and together no more were checked than may wait at once, and those done meanwhile.
    for (const way of [0, 1, 2]) {
      expect(guesses.length).toBe(answers.length);
      expect(answers.some(({ status }, index) => index % 3 === way && status === 429)).toBe(true);
    }
    for (const answer of await Promise.all(working)) expect(answer.status).toBe(200);
    // And when they stop, those can log in who did so from there before.
    expect((await PATHS['a form to the token service']?.(ADMIN.user, ADMIN.password))?.status).toBe(200);
  });
});

test('A6 every install makes its own password and keys', async () => {
  const wrapper = ['env', '-u', 'ENTREPOT_ADMIN_PASSWORD'];
  const servers = await Promise.all([startServer({ wrapper }), startServer({ wrapper })]);
  const passwords = servers.map((server) => /password {2}([a-z2-9]{26})\n/.exec(server.output())?.[1] ?? '');
  expect(passwords.map((password) => password.length)).toEqual([26, 26]);
  expect(passwords[0]).not.toBe(passwords[1]);
  const [one, other] = servers.map(tokenKey);
  expect(Buffer.from(one ?? []).equals(Buffer.from(other ?? []))).toBe(false);
  for (const [index, server] of servers.entries()) {
    const status = async (user: string, password: string) =>
      (await new Client(server.url, basic(user, password)).request('GET', '/v2/')).status;
    expect(await status('admin', passwords[index] ?? '')).toBe(200);
    for (const [user, password] of [
      ['admin', passwords[1 - index] ?? ''],
      ['admin', ADMIN.password],
      ['admin', ''],
      ['admin', 'admin'],
      ['admin', 'password'],
      ['admin', 'Harbor12345'],
      ['root', 'root'],
      ['', ''],
    ] as const) {
      expect([user, password, await status(user, password)]).toEqual([user, password, 401]);
    }
    expect(await server.stop()).toBe(0);
  }
});
