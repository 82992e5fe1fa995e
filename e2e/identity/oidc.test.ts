import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Client } from '../harness/client.ts';
import { CLIENT, type IdentityProvider, Surfer, startIdentityProvider } from '../harness/identity-provider.ts';
import { done, refused } from '../harness/rest.ts';
import { startServer, type TestServer } from '../harness/server.ts';

let server: TestServer;
let admin: Client;
let idp: IdentityProvider;
const NAME = 'corp';

const settings = (more: object = {}) => ({ kind: 'oidc', issuer: idp.issuer, clientId: CLIENT.id, groupsClaim: 'groups', ...more });

beforeAll(async () => {
  server = await startServer({ options: { 'outbound-allow': '127.0.0.1' } });
  admin = new Client(server.url);
  idp = await startIdentityProvider(server.url, NAME);
  await done(201, admin, 'POST', '/providers', { name: NAME, settings: settings({ adminGroup: 'root' }), secret: CLIENT.secret });
});
afterAll(async () => expect(await server.stop()).toBe(0));

const loginUrl = (target?: string) =>
  `${server.url}/api/v1/oidc/${NAME}/login${target === undefined ? '' : `?target=${encodeURIComponent(target)}`}`;
const isCallback = (url: string) => url.startsWith(`${server.url}/api/v1/oidc/`) && url.includes('/callback');

/** A login up to the callback, which is not visited. */
async function upToCallback(surfer: Surfer, target?: string): Promise<string> {
  return (await surfer.follow(loginUrl(target), isCallback)).url;
}

async function logIn(surfer: Surfer, target?: string): Promise<Response> {
  return await surfer.get(await upToCallback(surfer, target));
}

async function who(surfer: Surfer): Promise<string> {
  const answer = await surfer.get(`${server.url}/api/v1/session`);
  return answer.status === 200 ? ((await answer.json()) as { name: string }).name : String(answer.status);
}

/** Logs in somebody in a new browser, and gives who that is then. */
async function enter(person: IdentityProvider['person']): Promise<string> {
  idp.person = person;
  const surfer = new Surfer();
  const answer = await logIn(surfer);
  return answer.status === 302 ? await who(surfer) : `${answer.status} ${((await answer.json()) as { detail: string }).detail}`;
}

describe('login by OpenID Connect', () => {
  test('makes a user, gives the groups of the provider and no others, and leads where the browser wanted to go', async () => {
    idp.person = {
      sub: 'u1',
      preferred_username: 'Ann.Lee',
      name: 'Ann Lee',
      email: 'ann@corp.example',
      email_verified: true,
      groups: ['dev', 'ops'],
    };
    const surfer = new Surfer();
    const answer = await logIn(surfer, '/projects/demo?tab=tags');
    expect([answer.status, answer.headers.get('location')]).toEqual([302, '/projects/demo?tab=tags']);
    expect(await who(surfer)).toBe('ann.lee');
    const groupsOf = async () => {
      const groups = ['dev', 'ops', 'new'];
      const found: string[] = [];
      for (const group of groups) {
        const answer = await admin.request('GET', `/api/v1/groups/${group}/members`);
        if (
          answer.status === 200 &&
          answer
            .json<{ items: { name: string; source: string }[] }>()
            .items.some(({ name, source }) => name === 'ann.lee' && source === NAME)
        )
          found.push(group);
      }
      return found;
    };
    expect(await groupsOf()).toEqual(['dev', 'ops']);
    expect(await done(200, admin, 'GET', '/users/ann.lee')).toMatchObject({
      email: 'ann@corp.example',
      fullName: 'Ann Lee',
      admin: false,
      password: false,
    });
    await done(204, admin, 'PUT', '/groups/ops/members/ann.lee');
    idp.person = { ...idp.person, groups: ['new', 'dev', 'root', '../bad\n'] };
    expect((await logIn(new Surfer())).status).toBe(302);
    expect(await groupsOf()).toEqual(['dev', 'new']);
    const { items } = await done<{ items: unknown[] }>(200, admin, 'GET', '/groups/ops/members');
    expect(items).toEqual([{ name: 'ann.lee', source: 'local' }]); // what somebody did by hand stays
    expect(await done(200, admin, 'GET', '/users/ann.lee')).toMatchObject({ admin: true });
    idp.person = { ...idp.person, groups: [] };
    expect((await logIn(new Surfer())).status).toBe(302);
    expect(await done(200, admin, 'GET', '/users/ann.lee')).toMatchObject({ admin: false });
    expect(await groupsOf()).toEqual([]);
  });

  test('ends with a logout here and there', async () => {
    idp.person = { sub: 'u2', preferred_username: 'bob' };
    const surfer = new Surfer();
    await logIn(surfer);
    expect(await who(surfer)).toBe('bob');
    const answer = await surfer.send('POST', `${server.url}/api/v1/oidc/${NAME}/logout`, {});
    const { location } = (await answer.json()) as { location: string };
    expect(await who(surfer)).toBe('401');
    const url = new URL(location);
    expect(url.origin).toBe(idp.issuer);
    expect(url.searchParams.get('post_logout_redirect_uri')).toBe(`${server.url}/`);
    expect(url.searchParams.get('id_token_hint')).toMatch(/^eyJ/);
    expect((await surfer.get(location)).status).toBe(200); // the provider asks whether to log out
  });

  test('is shown to who wants to log in, with a secret that nobody sees again', async () => {
    const options = await done(200, Client.anonymous(server.url), 'GET', '/login-options');
    expect(options).toEqual({ items: [{ name: NAME, kind: 'oidc', title: NAME }] });
    const view = await admin.request('GET', `/api/v1/providers/${NAME}`);
    expect(view.json()).toMatchObject({ name: NAME, hasSecret: true, settings: { nameClaim: 'preferred_username', createUsers: true } });
    expect(view.bytes.toString()).not.toContain(CLIENT.secret);
    const etag = view.headers.get('etag') ?? '';
    await done(200, admin, 'PATCH', `/providers/${NAME}`, { enabled: true }, { 'If-Match': etag });
    expect(await refused(admin, 'PATCH', `/providers/${NAME}`, { enabled: true }, { 'If-Match': etag })).toBe('412 precondition_failed');
    const elsewhere = { settings: settings({ issuer: 'https://evil.example' }) };
    expect(await refused(admin, 'PATCH', `/providers/${NAME}`, elsewhere)).toBe('400 bad_request');
    expect(await refused(admin, 'POST', `/providers/${NAME}/test`, elsewhere)).toBe('400 bad_request');
  });

  test('can be tried step by step, saved or not', async () => {
    type Test = { ok: boolean; steps: { step: string; ok: boolean; detail: string }[] };
    const steps = ({ steps: all }: Test) => all.map(({ step, ok }) => `${step} ${ok ? 'ok' : 'failed'}`);
    const claims = { preferred_username: 'Zoë Q', groups: ['dev'], email: 'z@x', email_verified: false };
    const saved = await done<Test>(200, admin, 'POST', `/providers/${NAME}/test`, { claims });
    expect(steps(saved)).toEqual(['connect ok', 'discovery ok', 'endpoints ok', 'keys ok', 'client ok', 'mapping ok']);
    expect(saved.steps.at(-1)?.detail).toBe('user zo-q, groups dev');
    const wrong = await done<Test>(200, admin, 'POST', '/providers/test', { settings: settings(), secret: 'not the secret' });
    expect([wrong.ok, wrong.steps.at(-1)]).toMatchObject([false, { step: 'client', ok: false }]);
    expect(JSON.stringify(wrong)).not.toContain('not the secret');
    const other = await done<Test>(200, admin, 'POST', '/providers/test', { settings: settings({ issuer: `${idp.issuer}/other` }) });
    expect(other.steps.at(-1)).toMatchObject({ step: 'discovery', ok: false });
    const closed = await done<Test>(200, admin, 'POST', '/providers/test', { settings: settings({ issuer: 'http://127.0.0.1:9' }) });
    expect(closed.steps).toMatchObject([{ step: 'connect', ok: false }]);
    const inside = await done<Test>(200, admin, 'POST', '/providers/test', { settings: settings({ issuer: 'https://10.0.0.1' }) });
    expect(inside.steps[0]?.detail).toContain('not in outboundAllow');
  });
});

describe('A9 the callback', () => {
  const session = /entrepot_session=[A-Za-z0-9_-]/;
  async function refusedAt(surfer: Surfer, url: string): Promise<number> {
    const answer = await surfer.get(url);
    expect(answer.headers.get('location')).toBeNull();
    expect(answer.headers.getSetCookie().join()).not.toMatch(session);
    expect(await who(surfer)).toBe('401');
    return answer.status;
  }
  const changed = (url: string, change: (query: URLSearchParams) => void) => {
    const made = new URL(url);
    change(made.searchParams);
    return made.href;
  };

  test('without the browser that began, or with another state, lets nobody in', async () => {
    idp.person = { sub: 'm1', preferred_username: 'mallory' };
    expect(await refusedAt(new Surfer(), await upToCallback(new Surfer()))).toBe(401); // login CSRF
    for (const change of [
      (query: URLSearchParams) => query.delete('state'),
      (query: URLSearchParams) => query.set('state', 'x'),
      (query: URLSearchParams) => query.append('state', 'x'),
      (query: URLSearchParams) => query.delete('code'),
      (query: URLSearchParams) => query.set('code', 'x'),
      (query: URLSearchParams) => query.set('iss', 'https://evil.example'),
      (query: URLSearchParams) => query.delete('iss'), // the provider says that it always sends it (RFC 9207)
      (query: URLSearchParams) => query.set('error', 'access_denied'),
    ]) {
      const surfer = new Surfer();
      const status = await refusedAt(surfer, changed(await upToCallback(surfer), change));
      expect([400, 401]).toContain(status);
    }
  });

  test('with the code of another login lets nobody in: verifier and nonce are of this one', async () => {
    idp.person = { sub: 'm2', preferred_username: 'mallory' };
    const code = new URL(await upToCallback(new Surfer())).searchParams.get('code') ?? '';
    const victim = new Surfer();
    expect(
      await refusedAt(
        victim,
        changed(await upToCallback(victim), (query) => query.set('code', code)),
      ),
    ).toBe(401);
  });

  test('counts once', async () => {
    idp.person = { sub: 'm3', preferred_username: 'once' };
    const surfer = new Surfer();
    const url = await upToCallback(surfer);
    const cookie = surfer.jar(url).header;
    expect((await surfer.get(url)).status).toBe(302);
    const again = await fetch(url, { redirect: 'manual', headers: { cookie } });
    expect([again.status, again.headers.getSetCookie().join()]).toEqual([401, expect.not.stringMatching(session)]);
  });

  test('at another provider lets nobody in', async () => {
    const second = await startIdentityProvider(server.url, 'second');
    await done(201, admin, 'POST', '/providers', {
      name: 'second',
      settings: { kind: 'oidc', issuer: second.issuer, clientId: CLIENT.id },
      secret: CLIENT.secret,
    });
    idp.person = { sub: 'm4', preferred_username: 'mix' };
    const surfer = new Surfer();
    const url = await upToCallback(surfer);
    expect(await refusedAt(surfer, url.replace(`/oidc/${NAME}/`, '/oidc/second/'))).toBe(401);
    // The same subject at another provider is another person.
    second.person = { sub: 'u1', preferred_username: 'ann.lee' };
    const other = new Surfer();
    const { url: at } = await other.follow(`${server.url}/api/v1/oidc/second/login`, isCallback);
    expect(await refusedAt(other, at)).toBe(403);
    await done(204, admin, 'DELETE', '/providers/second');
  });

  test('links nobody to an account that is there, whatever the provider calls them', async () => {
    await done(201, admin, 'POST', '/users', { name: 'carol', email: 'carol@corp.example', password: 'plum-tractor-seventeen-owl' });
    for (const name of [
      'carol',
      'CAROL',
      'carol ',
      'ｃａｒｏｌ',
      'admin',
      'Admin',
      'ADMIN',
      'root',
      'system',
      'robot-x',
      '',
      '../..',
      '\u0000',
    ])
      expect(await enter({ sub: `n-${name}`, preferred_username: name, email: 'carol@corp.example', email_verified: true })).toMatch(
        /^403 /,
      );
    expect(await enter({ sub: 'n-none', email: 'admin@corp.example', email_verified: true })).toMatch(/^403 /);
    const { items } = await done<{ items: unknown[] }>(200, admin, 'GET', `/providers/${NAME}/links`);
    expect(JSON.stringify(items)).not.toMatch(/carol|"admin"/);
    // Only an administrator says that they are the same.
    await done(201, admin, 'POST', `/providers/${NAME}/links`, { subject: 'n-carol', user: 'carol' });
    expect(await enter({ sub: 'n-carol', preferred_username: 'whatever' })).toBe('carol');
    await done(204, admin, 'DELETE', `/providers/${NAME}/links/n-carol`);
    expect(await enter({ sub: 'n-carol', preferred_username: 'carol' })).toMatch(/^403 /);
  });

  test('takes no address for somebody that nobody has verified', async () => {
    await done(200, admin, 'PATCH', `/providers/${NAME}`, { settings: settings({ nameClaim: 'email', nameDomain: 'corp.example' }) });
    expect(await enter({ sub: 'e1', email: 'dora@corp.example', email_verified: false })).toMatch(/^403 /);
    expect(await enter({ sub: 'e1', email: 'dora@corp.example', email_verified: 'true' })).toMatch(/^403 /);
    expect(await enter({ sub: 'e1', email: 'dora@corp.example', email_verified: true })).toBe('dora');
    expect(await enter({ sub: 'e2', email: 'dora@evil.example', email_verified: true })).toBe('dora-evil.example');
    await done(200, admin, 'PATCH', `/providers/${NAME}`, { settings: settings({ requireVerifiedEmail: true }) });
    expect(await enter({ sub: 'e3', preferred_username: 'eve', email: 'eve@corp.example' })).toMatch(/^403 /);
    await done(200, admin, 'PATCH', `/providers/${NAME}`, { settings: settings({ createUsers: false }) });
    expect(await enter({ sub: 'e4', preferred_username: 'fred' })).toMatch(/^403 /);
    await done(200, admin, 'PATCH', `/providers/${NAME}`, { settings: settings() });
  });

  test('leads to no other site', async () => {
    const hostile = [
      '//evil.example',
      '/\\evil.example',
      '\\/evil.example',
      'https://evil.example',
      'javascript:alert(1)',
      '/\t/evil.example',
      '',
      'x',
    ];
    for (const target of [...hostile, '/.//evil.example', '/%0d%0aSet-Cookie:x', '/a\r\nb', '/@evil.example', '/..//evil.example']) {
      const answer = await new Surfer().get(loginUrl(target));
      if (answer.status === 302) {
        const surfer = new Surfer();
        idp.person = { sub: 't1', preferred_username: 'tess' };
        const location = (await logIn(surfer, target)).headers.get('location') ?? '';
        expect([target, new URL(location, server.url).origin]).toEqual([target, server.url]);
        expect(location).toMatch(/^\/(?!\/)/);
      } else expect([target, answer.status]).toEqual([target, 400]);
    }
  });

  test('A5 who came in is out at once where the account or the provider is disabled, and stays out', async () => {
    idp.person = { sub: 'g1', preferred_username: 'gina' };
    const surfer = new Surfer();
    await logIn(surfer);
    expect(await who(surfer)).toBe('gina');
    await done(200, admin, 'PATCH', '/users/gina', { disabled: true });
    expect(await who(surfer)).toBe('401');
    expect(await enter(idp.person)).toMatch(/^403 /);
    await done(200, admin, 'PATCH', '/users/gina', { disabled: false });
    await logIn(surfer);
    expect(await who(surfer)).toBe('gina');
    const late = new Surfer();
    const url = await upToCallback(late);
    await done(200, admin, 'PATCH', `/providers/${NAME}`, { enabled: false });
    expect(await who(surfer)).toBe('401');
    expect((await late.get(url)).status).toBe(404);
    await done(200, admin, 'PATCH', `/providers/${NAME}`, { enabled: true });
  });
});
