import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, basic, Client, errorOf, must, sha256 } from '../harness/client.ts';
import { claimsOf, signed, tokenKey } from '../harness/jwt.ts';
import { type People, populate } from '../harness/people.ts';
import { ADMIN, startServer, type TestServer } from '../harness/server.ts';

interface Issued {
  readonly token: string;
  readonly access_token: string;
  readonly refresh_token?: string;
  readonly expires_in: number;
  readonly issued_at: string;
}

const repository = (name: string, ...actions: string[]) => ({ type: 'repository', name, actions });
const blob = Buffer.from('public');

describe('the token service', () => {
  let server: TestServer;
  let anonymous: Client;
  let people: People;
  beforeAll(async () => {
    server = await startServer({ options: { 'trusted-proxies': '127.0.0.1' } });
    anonymous = Client.anonymous(server.url);
    people = await populate(server, {
      users: ['alice', 'bob'],
      projects: { demo: { members: { alice: 'developer', bob: 'guest' } }, open: { public: true }, closed: {} },
    });
    await new Client(server.url).pushBlob('open/app', blob);
  });
  afterAll(async () => expect(await server.stop()).toBe(0));

  const issued = (answer: Answer) => answer.json<Issued>();
  const grants = (answer: Answer) => claimsOf(issued(answer).token).access;
  const get = (client: Client, query: string) => must(client, [200], 'GET', `/token?service=entrepot&${query}`);
  const form = (fields: Record<string, string> | [string, string][], headers: Record<string, string> = {}) =>
    anonymous.request('POST', '/token', {
      headers: { 'Content-Type': 'application/x-www-form-urlencoded', ...headers },
      body: String(new URLSearchParams(fields)),
    });

  describe('gives what is both asked and held', () => {
    test.each<[string, string, object[]]>([
      ['nothing asked', '', []],
      ['one scope', 'scope=repository:demo/app:pull', [repository('demo/app', 'pull')]],
      ['in their order', 'scope=repository:demo/app:push,pull', [repository('demo/app', 'push', 'pull')]],
      ['each once', 'scope=repository:demo/app:pull,pull,push,pull', [repository('demo/app', 'pull', 'push')]],
      [
        'several parameters',
        'scope=repository:demo/a:pull&scope=repository:demo/b:push',
        [repository('demo/a', 'pull'), repository('demo/b', 'push')],
      ],
      [
        'several in one',
        'scope=repository:demo/a:pull%20repository:demo/b:push',
        [repository('demo/a', 'pull'), repository('demo/b', 'push')],
      ],
      ['percent-encoded', 'scope=repository%3Ademo%2Fapp%3Apull%2Cpush', [repository('demo/app', 'pull', 'push')]],
      ['all', 'scope=repository:demo/app:*', [repository('demo/app', 'pull', 'push')]],
      ['with a class', 'scope=repository(plugin):demo/app:pull', [repository('demo/app', 'pull')]],
      ['more than held', 'scope=repository:demo/app:pull,push,delete', [repository('demo/app', 'pull', 'push')]],
      ['what is public', 'scope=repository:open/app:pull,push', [repository('open/app', 'pull')]],
      ['what is not held', 'scope=repository:closed/app:pull', []],
      ['what does not exist', 'scope=repository:nowhere/app:pull', []],
      ['the catalogue', 'scope=registry:catalog:*', [{ type: 'registry', name: 'catalog', actions: ['*'] }]],
      ['other actions', 'scope=repository:demo/app:pull,admin,__proto__', [repository('demo/app', 'pull')]],
      ['other things', 'scope=registry:users:*&scope=user:bob:read&scope=repository:demo/app', []],
      ['names outside the grammar', 'scope=repository:Demo/App:pull&scope=repository:demo/../closed:pull&scope=repository::pull', []],
      [
        'broken ones beside a sound one',
        'scope=:&scope=&scope=%20%20repository:demo/app:pull%20&scope=::',
        [repository('demo/app', 'pull')],
      ],
    ])('%s', async (_, query, expected) => {
      expect(grants(await get(people.client('alice'), query))).toEqual(expected);
    });

    test('for as many scopes as a push with many sources of mounts asks', async () => {
      const names = Array.from({ length: 30 }, (_, index) => `demo/${'deep/'.repeat(5)}app-${index}`);
      const token = await people.bearer('alice', ...names.map((name) => `repository:${name}:pull,push`));
      const client = new Client(server.url, token);
      for (const name of names) await must(client, [202], 'POST', `/v2/${name}/blobs/uploads/`);
    });

    test('to nobody in particular: what is public', async () => {
      const answer = await get(
        anonymous,
        'scope=repository:open/app:pull,push,delete&scope=repository:demo/app:pull&scope=registry:catalog:*',
      );
      expect(grants(answer)).toEqual([repository('open/app', 'pull')]);
      const client = new Client(server.url, `Bearer ${issued(answer).token}`);
      await must(client, [200], 'GET', '/v2/');
      expect((await must(client, [200], 'GET', `/v2/open/app/blobs/${sha256(blob)}`)).bytes.equals(blob)).toBe(true);
      await must(client, [401], 'POST', '/v2/open/app/blobs/uploads/');
      await must(client, [401], 'GET', '/v2/demo/app/tags/list');
    });
  });

  test('an answer has all that clients look for, is never cached, and has a refresh token only where asked', async () => {
    const before = Date.now();
    for (const [answer, refresh] of [
      [await get(people.client('alice'), 'account=alice&client_id=docker'), false],
      [await get(people.client('alice'), 'offline_token=true'), true],
      [await get(anonymous, 'offline_token=true'), false],
      [await form({ grant_type: 'password', username: 'alice', password: people.password('alice') }), false],
      [await form({ grant_type: 'password', username: 'alice', password: people.password('alice'), access_type: 'offline' }), true],
    ] as const) {
      const body = issued(answer);
      expect(body.token).toBe(body.access_token);
      expect(body.expires_in).toBe(300);
      expect(Math.abs(Date.parse(body.issued_at) - before)).toBeLessThan(60_000);
      expect('refresh_token' in body).toBe(refresh);
      expect(answer.headers.get('cache-control')).toBe('no-store');
      expect(answer.headers.get('content-type')).toBe('application/json');
    }
  });

  test('a refresh token gives access tokens for what is held then, and again', async () => {
    const { refresh_token: refresh = '' } = issued(await get(people.client('bob'), 'offline_token=true&scope=repository:demo/app:pull'));
    for (const scope of ['repository:demo/app:pull', 'repository:demo/other:pull,push repository:closed/x:pull']) {
      const answer = await form({ grant_type: 'refresh_token', refresh_token: refresh, scope, service: 'entrepot', client_id: 'test' });
      expect(answer.status).toBe(200);
      const [granted] = grants(answer) as { name: string }[];
      expect(grants(answer)).toEqual([repository(granted?.name ?? '', 'pull')]);
    }
    // Several scope fields as well.
    const both = await form([
      ['grant_type', 'refresh_token'],
      ['refresh_token', refresh],
      ['scope', 'repository:demo/a:pull'],
      ['scope', 'repository:demo/b:pull'],
    ]);
    expect(grants(both)).toEqual([repository('demo/a', 'pull'), repository('demo/b', 'pull')]);
  });

  test('what is wrong is refused, with the scheme that would do', async () => {
    const refused = [
      await new Client(server.url, basic('alice', 'wrong')).request('GET', '/token'),
      await new Client(server.url, basic('nobody', 'wrong')).request('GET', '/token'),
      await new Client(server.url, 'Basic !!!').request('GET', '/token'),
      await new Client(server.url, await people.bearer('alice')).request('GET', '/token'),
      await form({ grant_type: 'password', username: 'alice', password: 'wrong' }),
      await form({ grant_type: 'password' }),
      await form({ grant_type: 'refresh_token', refresh_token: 'x.y.z' }),
      await form({ grant_type: 'refresh_token' }),
    ];
    for (const answer of refused) {
      expect([answer.status, errorOf(answer).code]).toEqual([401, 'UNAUTHORIZED']);
      expect(answer.headers.get('www-authenticate')).toBe('Basic realm="entrepot"');
    }
    const malformed = [
      await form({}),
      await form({ grant_type: 'client_credentials' }),
      await form({ grant_type: 'password', username: 'alice', password: people.password('alice') }, { 'Content-Type': 'application/json' }),
      await form({ grant_type: 'password', username: 'alice', password: 'x'.repeat(70_000) }),
    ];
    for (const answer of malformed) expect([answer.status, errorOf(answer).code]).toEqual([400, 'UNSUPPORTED']);
    for (const method of ['PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
      const answer = await anonymous.request(method, '/token');
      expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'GET, POST']);
    }
  });

  test('a token is good until it expires, also one that was used before', async () => {
    const key = tokenKey(server);
    const now = Math.floor(Date.now() / 1000);
    const claims = { ...claimsOf((await people.bearer('alice', 'repository:demo/app:pull,push')).slice(7)), iat: now - 100 };
    const post = (exp: number) =>
      new Client(server.url, `Bearer ${signed({ alg: 'HS256', typ: 'access+jwt' }, { ...claims, exp }, key)}`).request(
        'POST',
        '/v2/demo/app/blobs/uploads/',
      );
    expect((await post(now - 1)).status).toBe(401);
    const exp = Math.floor(Date.now() / 1000) + 3;
    expect((await post(exp)).status).toBe(202);
    await expect.poll(async () => (await post(exp)).status, { timeout: 20_000 }).toBe(401);
    expect((await post(exp)).headers.get('www-authenticate')).toContain('error="invalid_token"');
  });

  describe('challenges', () => {
    const none = sha256('none');
    test.each<[string, string, string | undefined]>([
      ['GET', '/v2/', undefined],
      ['GET', '/v2/_catalog', 'registry:catalog:*'],
      ['GET', '/v2/demo/app/manifests/1', 'repository:demo/app:pull'],
      ['HEAD', '/v2/demo/app/manifests/1', 'repository:demo/app:pull'],
      ['PUT', '/v2/demo/app/manifests/1', 'repository:demo/app:pull,push'],
      ['DELETE', '/v2/demo/app/manifests/1', 'repository:demo/app:delete'],
      ['GET', `/v2/demo/app/blobs/${none}`, 'repository:demo/app:pull'],
      ['DELETE', `/v2/demo/app/blobs/${none}`, 'repository:demo/app:delete'],
      ['POST', '/v2/demo/app/blobs/uploads/', 'repository:demo/app:pull,push'],
      ['PATCH', '/v2/demo/app/blobs/uploads/x', 'repository:demo/app:pull,push'],
      ['GET', '/v2/demo/app/tags/list', 'repository:demo/app:pull'],
      ['GET', `/v2/demo/app/referrers/${none}`, 'repository:demo/app:pull'],
    ])('%s %s: where to get a token, and for what', async (method, path, scope) => {
      const ask = (authorization: string) => new Client(server.url, authorization).request(method, path);
      const base = `Bearer realm="${server.url}/token",service="entrepot"${scope === undefined ? '' : `,scope="${scope}"`}`;
      const nobody = await ask('');
      expect([nobody.status, nobody.headers.get('www-authenticate')]).toEqual([401, base]);
      for (const wrong of [basic(ADMIN.user, 'wrong'), 'Bearer x.y.z', 'Digest x']) {
        const answer = await ask(wrong);
        expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([401, `${base},error="invalid_token"`]);
      }
      if (scope === undefined) return;
      const other = await ask(await people.bearer('alice', 'repository:demo/other:pull,push'));
      expect([other.status, other.headers.get('www-authenticate')]).toEqual([401, `${base},error="insufficient_scope"`]);
      // A client that follows it gets further, unless the right itself is missing.
      if (scope.includes('delete')) return;
      expect((await ask(await people.bearer('alice', scope))).status).not.toBe(401);
    });

    test('name the address that a trusted proxy was asked under, if that is one', async () => {
      const realm = async (headers: Record<string, string>) =>
        (await anonymous.request('GET', '/v2/', { headers })).headers.get('www-authenticate')?.replace(/^Bearer realm="([^"]*)".*$/, '$1');
      const forwarded = (proto: string, host: string) => realm({ 'X-Forwarded-Proto': proto, 'X-Forwarded-Host': host });
      expect(await forwarded('https', 'registry.example.com')).toBe('https://registry.example.com/token');
      expect(await forwarded('http', 'registry.example.com:8443, inner')).toBe('http://registry.example.com:8443/token');
      expect(await forwarded('https', '[::1]:5000')).toBe('https://[::1]:5000/token');
      for (const host of ['a"b', 'a b', 'user@host', 'host/path', 'a,b"', 'host:99999999', '<x>']) {
        expect(await forwarded('https', host)).toMatch(/^https:\/\/(127\.0\.0\.1:0|a)\/token$/);
      }
      expect(await forwarded('javascript', 'x')).toBe('http://x/token');
    });
  });
});
