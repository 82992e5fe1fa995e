import { afterAll, beforeAll, expect, test } from 'vitest';
import { basic, Client } from '../harness/client.ts';
import { Browser } from '../harness/console.ts';
import { BASE, type Directory, SEARCHER, startDirectory } from '../harness/directory.ts';
import { done, refused } from '../harness/rest.ts';
import { ADMIN, startServer, type TestServer } from '../harness/server.ts';
import { describeWith } from '../harness/tools.ts';

type Test = { ok: boolean; steps: { step: string; ok: boolean; detail: string }[] };

describeWith(['slapd', 'ldapadd', 'openssl'], 'login by a directory', () => {
  let server: TestServer;
  let admin: Client;
  let directory: Directory;
  const passwordOf = (uid: string) => `password of ${uid}`;
  const bySearch = { by: 'search', base: `ou=groups,${BASE}` };
  const settings = (more: object = {}) => ({
    ...{ kind: 'ldap', host: '127.0.0.1', port: directory.securePort, serverName: 'ldap.test', ca: directory.certificate },
    ...{ bindDn: SEARCHER.dn, userBase: `ou=people,${BASE}`, groups: bySearch },
    ...more,
  });
  const set = (more: object = {}) =>
    done(200, admin, 'PATCH', '/providers/corp', { settings: settings(more), secret: SEARCHER.password, enabled: true });
  const status = async (name: string, password: string) =>
    (await new Client(server.url, basic(name, password)).request('GET', '/v2/')).status;
  const login = (name: string, password: string) => new Browser(server.url).login(name, password);
  const attempt = async (sample: object, more: object = {}) =>
    await done<Test>(200, admin, 'POST', '/providers/test', { settings: settings(more), secret: SEARCHER.password, ...sample });
  async function groupsOf(user: string): Promise<string[]> {
    const { items } = await done<{ items: { name: string }[] }>(200, admin, 'GET', '/groups');
    const found: string[] = [];
    for (const { name } of items) {
      const members = await done<{ items: { name: string; source: string }[] }>(200, admin, 'GET', `/groups/${name}/members`);
      if (members.items.some((member) => member.name === user && member.source === 'corp')) found.push(name);
    }
    return found;
  }

  beforeAll(async () => {
    directory = await startDirectory();
    server = await startServer({ options: { 'outbound-allow': '127.0.0.1' } });
    admin = new Client(server.url);
    await done(201, admin, 'POST', '/users', { name: 'local', password: 'plum-tractor-seventeen-owl' });
    await done(201, admin, 'POST', '/providers', { name: 'corp', settings: settings(), secret: SEARCHER.password });
  });
  afterAll(async () => expect(await server.stop()).toBe(0));

  test('lets users into the console, docker and the token service, and makes them with their groups', async () => {
    const browser = new Browser(server.url);
    expect(await browser.login('ann', passwordOf('ann'))).toBe(200);
    expect(await browser.isIn()).toBe(true);
    expect(await status('ann', passwordOf('ann'))).toBe(200);
    expect((await new Client(server.url, basic('bob', passwordOf('bob'))).request('GET', '/token?service=entrepot')).status).toBe(200);
    expect(await done(200, admin, 'GET', '/users/ann')).toMatchObject({
      email: 'ann@corp.example',
      fullName: 'ann of Corp',
      password: false,
    });
    expect(await groupsOf('ann')).toEqual(['dev']);
    const { items } = await done<{ items: { provider: string }[] }>(200, admin, 'GET', '/users/ann/sessions');
    expect(items.map(({ provider }) => provider)).toEqual(['corp']);
    expect(await status('ann', passwordOf('bob'))).toBe(401);
  });

  test('gives groups in groups as far as it is told, over search or memberOf, and circles end', async () => {
    for (const groups of [bySearch, { by: 'memberOf' }]) {
      for (const [nested, expected] of [
        [0, 'dev'],
        [1, 'dev, staff'],
        [8, 'dev, staff, company, loop'],
      ]) {
        const { ok, steps } = await attempt({ user: 'ann' }, { groups: { ...groups, nested } });
        expect([ok, steps.find(({ step }) => step === 'groups')?.detail]).toEqual([true, expected]);
      }
    }
  });

  test.each([
    ['ldaps', () => ({}), true],
    ['starttls', () => ({ security: 'starttls', port: directory.port }), true],
    ['none', () => ({ security: 'none', port: directory.port }), true],
    ['a certificate of nobody that is trusted', () => ({ ca: undefined }), false],
    ['a certificate of another name', () => ({ serverName: 'other.test' }), false],
    [
      'starttls with a certificate of another name',
      () => ({ security: 'starttls', port: directory.port, serverName: 'other.test' }),
      false,
    ],
    ['starttls where TLS is spoken already', () => ({ security: 'starttls' }), false],
    ['ldaps where none is spoken', () => ({ port: directory.port }), false],
    ['a port where nobody listens', () => ({ port: 9 }), false],
    ['an address inside', () => ({ host: '10.0.0.1' }), false],
    ['another who searches', () => ({ bindDn: `cn=nobody,${BASE}` }), false],
  ])('over %s', async (_, more, expected) => {
    const tried = await attempt({ user: 'ann', password: passwordOf('ann') }, { ...more(), timeoutSeconds: 2 });
    expect([tried.ok, tried.steps]).toEqual([expected, expect.anything()]);
    expect(tried.steps.at(-1)?.ok).toBe(expected);
    if (expected) expect(tried.steps.at(-1)).toMatchObject({ step: 'mapping', detail: 'user ann, groups dev' });
    for (const secret of [SEARCHER.password, passwordOf('ann')]) expect(JSON.stringify(tried)).not.toContain(secret);
  });

  test('A10 names that are filters, NUL and empty passwords let nobody in', async () => {
    const names = [
      '*',
      'a*',
      'ann)(uid=*',
      'ann)(|(uid=*',
      '*)(uid=ann',
      'ann\\2a',
      'ann\u0000',
      'ann\n',
      ' ann',
      'ann ',
      ')',
      '(',
      '\\',
      '',
      '&',
      'uid=ann',
      `uid=ann,ou=people,${BASE}`,
    ];
    for (const name of names) expect([name, await login(name, passwordOf('ann'))]).toEqual([name, 401]);
    for (const name of ['ann', 'nobody', SEARCHER.dn]) {
      expect(await login(name, '')).toBe(401);
      expect(await login(name, '\u0000')).toBe(401);
      expect(await status(name, '')).toBe(401);
    }
    for (const name of ['a*', 'ann)(uid=*', '*'])
      expect((await attempt({ user: name })).steps.at(-1)).toMatchObject({ step: 'search', ok: false });
    for (const userFilter of ['(uid=ann)', '(uid={user}', '(&(uid={user})(x={other}))', '{user}'])
      expect(await refused(admin, 'POST', '/providers/test', { settings: settings({ userFilter }) })).toBe('400 bad_request');
  });

  test('A9 gives nobody an account that is there, nor a name that says more', async () => {
    expect(await login('local', passwordOf('local'))).toBe(401);
    expect(await login('local', 'plum-tractor-seventeen-owl')).toBe(200);
    expect(await login('admin', passwordOf('admin'))).toBe(401);
    expect(await status(ADMIN.user, ADMIN.password)).toBe(200);
    await set({ userFilter: '(|(uid={user})(mail={user}))' });
    expect(await login('local@corp.example', passwordOf('local'))).toBe(403); // found by another name, and still not that account
    expect(await login('admin@corp.example', passwordOf('admin'))).toBe(403);
    expect(await login('ann@corp.example', passwordOf('ann'))).toBe(200);
    await set({ userFilter: '(|(uid={user})(description={user}))' });
    expect(await login('twin', passwordOf('twin'))).toBe(503); // two entries: nobody knows who is meant
    await set();
  });

  test('keeps a password there: nobody sets one here', async () => {
    const browser = new Browser(server.url);
    await browser.login('ann', passwordOf('ann'));
    const answer = await browser.request('POST', '/account/password', {
      password: passwordOf('ann'),
      newPassword: 'plum-tractor-seventeen-owl',
    });
    expect(answer.status).toBe(400);
  });

  test('that does not answer keeps no local user out, and makes no right password a wrong one', async () => {
    directory.signal('SIGSTOP');
    await set({ timeoutSeconds: 1 });
    expect(await status(ADMIN.user, ADMIN.password)).toBe(200);
    expect(await login('local', 'plum-tractor-seventeen-owl')).toBe(200);
    expect(await login('twin', passwordOf('twin'))).toBe(503);
    expect(await login('twin', passwordOf('twin'))).toBe(503);
    directory.signal('SIGCONT');
    await set({ timeoutSeconds: 6 });
    expect(await login('twin', passwordOf('twin'))).toBe(200);
  });

  test('A5 lets nobody in any more whose account, or the provider, is disabled', async () => {
    const browser = new Browser(server.url);
    expect(await browser.login('bob', passwordOf('bob'))).toBe(200);
    expect(await status('bob', passwordOf('bob'))).toBe(200);
    await done(200, admin, 'PATCH', '/users/bob', { disabled: true });
    expect([await browser.isIn(), await status('bob', passwordOf('bob'))]).toEqual([false, 403]);
    await done(200, admin, 'PATCH', '/users/bob', { disabled: false });
    expect(await status('bob', passwordOf('bob'))).toBe(200);
    await done(200, admin, 'PATCH', '/providers/corp', { enabled: false });
    expect([await browser.isIn(), await status('bob', passwordOf('bob'))]).toEqual([false, 401]);
    await set();
    await done(204, admin, 'DELETE', '/users/bob');
  });
});
