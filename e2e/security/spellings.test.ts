import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { basic, Client, imageManifest, must, sha256 } from '../harness/client.ts';
import { type People, populate } from '../harness/people.ts';
import { ask } from '../harness/raw.ts';
import { ADMIN, startServer, type TestServer } from '../harness/server.ts';

const secret = Buffer.from('what nobody but members may read');
const digest = sha256(secret);

describe('A1 credentials and spellings', () => {
  let server: TestServer;
  let admin: Client;
  let people: People;
  let token: string;
  const manifest = JSON.stringify(imageManifest(secret, []));

  beforeAll(async () => {
    server = await startServer();
    admin = new Client(server.url);
    people = await populate(server, { users: ['mallory'], projects: { open: { public: true }, closed: {} } });
    for (const name of ['open/app', 'closed/app']) await admin.pushBlob(name, Buffer.from('x'));
    await admin.pushBlob('closed/app', secret);
    await admin.pushManifest('closed/app', 'v1', imageManifest(secret, []));
    token = await people.bearer(undefined, 'repository:open/app:pull', 'repository:closed/app:pull');
  });
  afterAll(async () => {
    expect((await must(admin, [200], 'GET', '/v2/closed/app/manifests/v1')).bytes.toString()).toBe(manifest);
    expect((await must(admin, [200], 'GET', '/v2/closed/app/tags/list')).json()).toEqual({ name: 'closed/app', tags: ['v1'] });
    expect(await server.stop()).toBe(0);
  });

  /** Those who may read what is public, and nothing else. */
  const strangers = (): [string, string | undefined][] => [
    ['nobody', undefined],
    ['an anonymous token', token],
    ['a user of another project', people.basic('mallory')],
  ];
  const revealsNothing = (answer: string) => {
    expect(answer).not.toContain(secret.toString());
    expect(answer).not.toContain(sha256(manifest));
    expect(answer).not.toMatch(/^HTTP\/1\.1 (2|3|5)\d\d/);
  };

  const READS = [`manifests/v1`, `manifests/${sha256(manifest)}`, `blobs/${digest}`, 'tags/list', `referrers/${digest}`];
  /** Ways to write `/v2/closed/app/…` so that one who checks and one who serves might read it differently. */
  const SPELLINGS: ((rest: string) => string)[] = [
    (rest) => `/v2/closed/app/${rest}`,
    (rest) => `/v2/closed%2Fapp/${rest}`,
    (rest) => `/v2/%63losed/app/${rest}`,
    (rest) => `/v2/closed/%61pp/${rest}`,
    (rest) => `/v2/closed/app%2F${rest.replace('/', '%2f')}`,
    (rest) => `/v2%2Fclosed/app/${rest}`,
    (rest) => `/%76%32/closed/app/${rest}`,
    (rest) => `/v2/closed/app/${rest.replaceAll('a', '%61')}`,
    (rest) => `/v2/%2563losed/app/${rest}`,
    (rest) => `/v2/closed%252Fapp/${rest}`,
    (rest) => `/v2/open/app/../../closed/app/${rest}`,
    (rest) => `/v2/open/app/%2e%2e/%2e%2e/closed/app/${rest}`,
    (rest) => `/v2/open/app/..%2f..%2fclosed/app/${rest}`,
    (rest) => `/v2/open/app/%252e%252e/%252e%252e/closed/app/${rest}`,
    (rest) => `/v2/open/app/..;/..;/closed/app/${rest}`,
    (rest) => `/v2/open/app/.%c0%ae/.%c0%ae/closed/app/${rest}`,
    (rest) => `/v2/open\\..\\closed/app/${rest}`,
    (rest) => `/v2/open%5c..%5cclosed/app/${rest}`,
    (rest) => `/v2/./closed/app/${rest}`,
    (rest) => `/./v2/closed/app/${rest}`,
    (rest) => `/v2/open/app/manifests/../../../closed/app/${rest}`,
    (rest) => `//v2/closed/app/${rest}`,
    (rest) => `/v2//closed/app/${rest}`,
    (rest) => `/v2/closed//app/${rest}`,
    (rest) => `/v2/closed/app//${rest}`,
    (rest) => `/v2/CLOSED/app/${rest}`,
    (rest) => `/V2/closed/app/${rest}`,
    (rest) => `/v2/closed/app/${rest}/`,
    (rest) => `/v2/closed/app/${rest}%00`,
    (rest) => `/v2/closed%00/app/${rest}`,
    (rest) => `/v2/closed/app/${rest}%20`,
    (rest) => `/v2/closed/app/${rest}#/v2/open/app`,
    (rest) => `/v2/closed/app/${rest}?/v2/open/app/${rest}`,
    (rest) => `/v2/closed;open/app/${rest}`,
    (rest) => `/v2/closed/app/${rest};/v2/open`,
    (rest) => `/v2/_catalog/../closed/app/${rest}`,
    (rest) => `/livez/../v2/closed/app/${rest}`,
    (rest) => `/token/../v2/closed/app/${rest}`,
    (rest) => `http://registry/v2/closed/app/${rest}`,
    (rest) => `http://open/v2/closed/app/${rest}`,
    (rest) => `HTTP://registry//v2/closed/app/${rest}`,
    (rest) => `v2/closed/app/${rest}`,
    (rest) => `*/v2/closed/app/${rest}`,
    (rest) => `/v2/open/app/blobs/uploads/../../../../closed/app/${rest}`,
    (rest) => `/v2/closed\u2215app/${rest}`,
    (rest) => `/v2/closed%e2%88%95app/${rest}`,
    (rest) => `/v2/%EF%BD%83losed/app/${rest}`,
  ];

  test.each(SPELLINGS.map((spell) => [spell('…'), spell] as const))('A1 %s is not read by strangers', async (_, spell) => {
    for (const [, authorization] of strangers()) {
      const header = authorization === undefined ? '' : `Authorization: ${authorization}\r\n`;
      for (const rest of READS) {
        const answer = await ask(server, `GET ${spell(rest)} HTTP/1.1\r\nHost: registry\r\n${header}Connection: close\r\n\r\n`);
        if (rest === 'tags/list' || rest.startsWith('referrers')) expect(answer).not.toContain('"v1"');
        revealsNothing(answer);
      }
    }
  });

  test.each([
    'get',
    'Get',

    ' GET',
    'GETT',
    'G\tET',
    'GET\0',
    'TRACE',
    'CONNECT',
    'OPTIONS',
    'SEARCH',
    'QUERY',
    'M-SEARCH',
    'SOURCE',
  ])('A1 the method "%s" reads nothing', async (method) => {
    for (const authorization of [undefined, basic(ADMIN.user, ADMIN.password)]) {
      const header = authorization === undefined ? '' : `Authorization: ${authorization}\r\n`;
      revealsNothing(
        await ask(server, `${method} /v2/closed/app/manifests/v1 HTTP/1.1\r\nHost: registry\r\n${header}Connection: close\r\n\r\n`),
      );
    }
  });

  test.each(['X-HTTP-Method-Override', 'X-HTTP-Method', 'X-Method-Override'])('A1 %s does not make a DELETE of a GET', async (header) => {
    await must(admin, [200], 'GET', '/v2/closed/app/manifests/v1?_method=DELETE', { headers: { [header]: 'DELETE' } });
    await must(admin, [405], 'POST', '/v2/closed/app/manifests/v1?_method=DELETE', { headers: { [header]: 'DELETE' } });
    await must(admin, [200], 'GET', '/v2/closed/app/manifests/v1');
  });

  test.each(['X-Original-URL', 'X-Rewrite-URL', 'X-Forwarded-Path', 'X-Forwarded-Uri'])(
    'A1 %s does not name another path',
    async (header) => {
      const client = new Client(server.url, token);
      const answer = await must(client, [404], 'GET', '/v2/open/app/manifests/v1', {
        headers: { [header]: '/v2/closed/app/manifests/v1' },
      });
      revealsNothing(answer.bytes.toString());
    },
  );

  test.each(['X-Forwarded-For', 'Forwarded', 'X-Real-IP', 'X-Forwarded-User', 'X-Remote-User', 'Remote-User', 'X-Auth-User', 'Cookie'])(
    'A1 %s makes nobody of anybody',
    async (header) => {
      for (const value of ['127.0.0.1', 'admin', 'for=127.0.0.1', 'session=admin']) {
        await must(Client.anonymous(server.url), [401], 'GET', '/v2/closed/app/manifests/v1', { headers: { [header]: value } });
      }
    },
  );

  test('A1 garbage for credentials is refused, and does not pass for nobody', async () => {
    const garbage = [
      'Basic',
      'Basic ',
      'Basic =',
      'Basic !!!!',
      basic('', ''),
      basic('admin', ''),
      basic('', ADMIN.password),
      basic('admin\0', ADMIN.password),
      basic('admin ', ADMIN.password),
      basic('Admin', ADMIN.password),
      basic('ADMIN', ADMIN.password),
      basic('admin', `${ADMIN.password}\0`),
      basic('admin', ADMIN.password.slice(0, -1)),
      basic('admin', ADMIN.password.toUpperCase()),
      basic("admin' --", 'x'),
      basic('a'.repeat(5000), 'x'),
      basic('admin', 'x'.repeat(5000)),
      `Basic ${Buffer.from('admin').toString('base64')}`,
      `Basic ${Buffer.from([0xff, 0xfe, 0x3a, 0x80]).toString('base64')}`,
      'Bearer',
      'Bearer ',
      'Bearer null',
      'Bearer undefined',
      'Negotiate abc',
      'Digest username="admin"',
      'AWS4-HMAC-SHA256 Credential=x',
      'x',
      `${token},${token}`,
      `${token} ${token}`,
    ];
    for (const authorization of garbage) {
      // Not even what is public, lest a client that mistypes goes on as nobody.
      for (const path of ['/v2/', '/v2/open/app/tags/list']) {
        const answer = await new Client(server.url, authorization).request('GET', path);
        expect({ authorization, path, status: answer.status }).toEqual({ authorization, path, status: 401 });
        expect(answer.headers.get('www-authenticate')).toContain('error="invalid_token"');
      }
    }
  });

  test('A1 two Authorization headers: the right one behind a wrong one does not count, nor a wrong one behind a right one harm', async () => {
    const right = `Authorization: ${basic(ADMIN.user, ADMIN.password)}\r\n`;
    const wrong = `Authorization: ${basic(ADMIN.user, 'wrong-password-here')}\r\n`;
    const get = (headers: string) => ask(server, `GET /v2/ HTTP/1.1\r\nHost: registry\r\n${headers}Connection: close\r\n\r\n`);
    expect(await get(wrong + right)).toMatch(/^HTTP\/1\.1 401 /);
    expect(await get(right + wrong)).toMatch(/^HTTP\/1\.1 200 /);
  });

  test('A1 an anonymous token changes nothing, wherever', async () => {
    const client = new Client(server.url, await people.bearer(undefined, 'repository:open/app:pull,push,delete', 'registry:catalog:*'));
    await must(client, [200], 'GET', '/v2/open/app/tags/list');
    for (const [method, path] of [
      ['POST', '/v2/open/app/blobs/uploads/'],
      ['POST', `/v2/open/app/blobs/uploads/?mount=${digest}&from=closed/app`],
      ['PUT', '/v2/open/app/manifests/v1'],
      ['DELETE', '/v2/open/app/manifests/v1'],
      ['DELETE', `/v2/open/app/blobs/${sha256('x')}`],
      ['GET', '/v2/_catalog'],
    ] as const) {
      await must(client, [401], method, path, method === 'PUT' ? { body: randomBytes(10) } : {});
    }
  });
});
