import { createPrivateKey } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, basic, Client, must } from '../harness/client.ts';
import { type Claims, newSigner, signed, signedWith, tokenKey } from '../harness/jwt.ts';
import { type People, populate } from '../harness/people.ts';
import { ADMIN, startServer, type TestServer, temporaryFolder } from '../harness/server.ts';
import { exec } from '../harness/tools.ts';

const JSON_TYPE = { 'Content-Type': 'application/json' };

interface RobotView {
  readonly id: number;
  readonly login: string;
  readonly secret?: string;
  readonly rights: readonly object[];
  readonly disabled: boolean;
}
interface KeyView {
  readonly id: number;
  readonly secret: string;
}

describe('machines', () => {
  let server: TestServer;
  let people: People;
  beforeAll(async () => {
    server = await startServer();
    people = await populate(server, {
      users: ['owner', 'stranger', 'dev'],
      projects: { demo: { members: { owner: 'admin', dev: 'developer' } }, other: { members: { stranger: 'admin' } } },
    });
    await people.client('owner').pushImage('demo/app', '1');
    await people.client('stranger').pushImage('other/app', '1');
  });
  afterAll(async () => expect(await server.stop()).toBe(0));

  const call = (client: Client, method: string, path: string, body?: unknown): Promise<Answer> =>
    client.request(method, `/api/v1${path}`, body === undefined ? {} : { headers: JSON_TYPE, body: JSON.stringify(body) });
  const bearer = (secret: string) => new Client(server.url, `Bearer ${secret}`);
  let robots = 0;

  async function newRobot(client: Client, project: string, rights: readonly object[], more: object = {}): Promise<Required<RobotView>> {
    const answer = await call(client, 'POST', `/projects/${project}/robots`, { name: `ci-${++robots}`, rights, ...more });
    expect(answer.status).toBe(201);
    return answer.json();
  }

  async function newKey(client: Client, body: object): Promise<KeyView> {
    const answer = await call(client, 'POST', '/access-keys', { name: `key-${++robots}`, ...body });
    expect(answer.status).toBe(201);
    return answer.json();
  }

  const PULL = [{ permissions: ['repository:pull'] }];
  const tokenOf = (client: Client, scope: string, more = '') => client.request('GET', `/token?scope=${scope}${more}`);
  const manifest = (client: Client, repository: string) => client.request('GET', `/v2/${repository}/manifests/1`);

  test('A2 a token of a robot or key carries what was asked, held and within its limits, and nothing else', async () => {
    const owner = people.client('owner');
    const robot = await newRobot(owner, 'demo', [{ role: 'guest', pattern: 'demo/app' }]);
    const key = await newKey(owner, { limits: [{ project: 'demo', repositories: ['demo/a*'], permissions: ['repository:pull'] }] });
    for (const client of [new Client(server.url, basic(robot.login, robot.secret)), new Client(server.url, basic('owner', key.secret))]) {
      for (const [scope, status] of [
        ['repository:demo/app:pull,push,delete', 200],
        ['repository:demo/other:pull', 401],
        ['repository:other/app:pull', 401],
      ] as const) {
        const { token } = (await tokenOf(client, scope)).json<{ token: string }>();
        const narrowed = bearer(token);
        const [, repository = ''] = scope.split(':');
        expect((await manifest(narrowed, repository)).status).toBe(status);
        expect((await narrowed.request('POST', `/v2/${repository}/blobs/uploads/`)).status).toBe(401);
        expect((await narrowed.request('DELETE', `/v2/${repository}/manifests/1`)).status).toBe(401);
        // Nor is it taken where it is not for.
        for (const path of ['/projects', '/access-keys', '/projects/demo/robots'])
          expect((await call(narrowed, 'GET', path)).status).toBe(401);
      }
    }
  });

  test('A5 all that came from a secret ends with it: revoked, rotated, expired, disabled, deleted', async () => {
    const owner = people.client('owner');
    const refreshed = (token: string) =>
      Client.anonymous(server.url).request('POST', '/token', {
        headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
        body: String(new URLSearchParams({ grant_type: 'refresh_token', refresh_token: token, scope: 'repository:demo/app:pull' })),
      });
    const robotPath = (id: number) => `/projects/demo/robots/${id}`;
    const ends: Record<string, (id: number) => Promise<Answer>> = {
      disabled: (id) => call(owner, 'PATCH', robotPath(id), { disabled: true }),
      rotated: (id) => call(owner, 'POST', `${robotPath(id)}/rotate`, {}),
      'deleted with others': (id) => call(owner, 'POST', '/projects/demo/robots/delete', { ids: [id] }),
      deleted: (id) => call(owner, 'DELETE', robotPath(id)),
    };
    const issued = async (client: Client) => {
      const answer = await tokenOf(client, 'repository:demo/app:pull', '&offline_token=true');
      return answer.json<{ token: string; refresh_token: string }>();
    };
    for (const [how, end] of Object.entries(ends)) {
      const robot = await newRobot(owner, 'demo', PULL);
      const login = new Client(server.url, basic(robot.login, robot.secret));
      const { token, refresh_token: refresh } = await issued(login);
      const statuses = async () => [
        (await manifest(login, 'demo/app')).status,
        (await manifest(bearer(token), 'demo/app')).status,
        (await refreshed(refresh)).status,
      ];
      expect([how, ...(await statuses())]).toEqual([how, 200, 200, 200]);
      expect((await end(robot.id)).status).toBeLessThan(300);
      expect([how, ...(await statuses())]).toEqual([how, 401, 401, 401]);
    }
    const key = await newKey(owner, {});
    const { token, refresh_token: refresh } = await issued(new Client(server.url, basic('owner', key.secret)));
    expect((await refreshed(refresh)).status).toBe(200);
    expect((await call(new Client(server.url), 'DELETE', `/users/owner/access-keys/${key.id}`)).status).toBe(204);
    for (const answer of [
      await manifest(bearer(key.secret), 'demo/app'),
      await manifest(bearer(token), 'demo/app'),
      await refreshed(refresh),
    ]) {
      expect(answer.status).toBe(401);
    }
  });

  test('A5 a right taken from a robot is gone with the next request, also from its tokens', async () => {
    const owner = people.client('owner');
    const robot = await newRobot(owner, 'demo', PULL);
    const login = new Client(server.url, basic(robot.login, robot.secret));
    const { token } = (await tokenOf(login, 'repository:demo/app:pull')).json<{ token: string }>();
    expect((await manifest(bearer(token), 'demo/app')).status).toBe(200);
    await must(owner, [200], 'PATCH', `/api/v1/projects/demo/robots/${robot.id}`, { headers: JSON_TYPE, body: '{"rights":[]}' });
    expect((await manifest(login, 'demo/app')).status).toBe(403);
    expect((await manifest(bearer(token), 'demo/app')).status).toBe(401);
  });

  test('C1 nobody gives a robot, or gets by one, what it does not hold; fields that are not to be set are refused', async () => {
    const owner = people.client('owner');
    const refused = async (client: Client, path: string, body: object, status = 403) =>
      expect([JSON.stringify(body), (await call(client, 'POST', path, body)).status]).toEqual([JSON.stringify(body), status]);
    const robot = (rights: readonly object[], more: object = {}) => ({ name: `no-${++robots}`, rights, ...more });

    await refused(owner, '/projects/demo/robots', robot([{ role: 'system-admin' }]), 400);
    await refused(owner, '/projects/demo/robots', robot([{ permissions: ['user:manage'] }]), 400);
    await refused(owner, '/projects/demo/robots', robot([{ role: 'admin', project: 'other' }]), 400);
    await refused(owner, '/projects/demo/robots', robot([{ role: 'admin', permissions: ['repository:pull'] }]), 400);
    await refused(owner, '/projects/demo/robots', robot([{}]), 400);
    await refused(owner, '/projects/demo/robots', robot([{ role: 'nothing' }]), 404);
    for (const field of ['id', 'generation', 'projectId', 'project', 'createdBy', 'version', 'secret', 'login', '__proto__']) {
      await refused(owner, '/projects/demo/robots', JSON.parse(`{"name":"no","rights":[],"${field}":1}`) as object, 400);
    }
    await refused(owner, '/robots', robot(PULL));
    await refused(people.client('dev'), '/projects/demo/robots', robot(PULL));

    // A robot that may make robots makes none that may more, and does not get hold of one that does.
    const maker = await newRobot(owner, 'demo', [{ permissions: ['project:read', 'robot:read', 'robot:manage', 'repository:pull'] }]);
    const strong = await newRobot(owner, 'demo', [{ role: 'admin' }], { disabled: true });
    const machine = new Client(server.url, basic(maker.login, maker.secret));
    await newRobot(machine, 'demo', [{ permissions: ['repository:pull', 'robot:manage'] }]);
    await refused(machine, '/projects/demo/robots', robot([{ permissions: ['repository:push'] }]));
    await refused(machine, '/projects/demo/robots', robot([{ role: 'guest' }]));
    await refused(machine, `/projects/demo/robots/${strong.id}/rotate`, {});
    for (const change of [{ disabled: false }, { expiresAt: null }, { rights: [{ role: 'guest', project: 'demo' }] }]) {
      expect((await call(machine, 'PATCH', `/projects/demo/robots/${strong.id}`, change)).status).toBe(403);
    }
    const after = (await call(owner, 'GET', `/projects/demo/robots/${strong.id}`)).json<RobotView>();
    expect(after).toMatchObject({ disabled: true, rights: [{ role: 'admin' }] });
    // Nor does it make itself stronger.
    const self = await call(machine, 'PATCH', `/projects/demo/robots/${maker.id}`, { rights: [{ role: 'admin' }] });
    expect(self.status).toBe(403);
  });

  test('C1 a key makes no other key, is widened by none, and never does more than its limits', async () => {
    const owner = people.client('owner');
    const narrow = await newKey(owner, { limits: [{ permissions: ['repository:pull'] }] });
    const wide = await newKey(owner, {});
    for (const key of [narrow, wide]) {
      const client = bearer(key.secret);
      expect((await call(client, 'POST', '/access-keys', { name: 'another' })).status).toBe(403);
      expect((await call(client, 'PATCH', `/access-keys/${key.id}`, { limits: null })).status).toBe(403);
    }
    expect((await call(bearer(narrow.secret), 'POST', `/access-keys/${wide.id}/rotate`, {})).status).toBe(403);
    expect((await call(bearer(narrow.secret), 'DELETE', `/access-keys/${wide.id}`)).status).toBe(403);
    expect((await call(bearer(narrow.secret), 'POST', '/access-keys/delete', { ids: [wide.id] })).status).toBe(403);
    expect((await call(bearer(narrow.secret), 'GET', '/projects/demo')).status).toBe(404);
    expect((await call(bearer(wide.secret), 'GET', '/projects/demo')).status).toBe(200);
    expect((await bearer(narrow.secret).request('POST', '/v2/demo/app/blobs/uploads/')).status).toBe(403);
    // What it may: give itself another secret, and end itself.
    const rotated = (await call(bearer(narrow.secret), 'POST', `/access-keys/${narrow.id}/rotate`, {})).json<KeyView>();
    expect((await manifest(bearer(narrow.secret), 'demo/app')).status).toBe(401);
    expect((await manifest(bearer(rotated.secret), 'demo/app')).status).toBe(200);
    expect((await call(bearer(rotated.secret), 'DELETE', `/access-keys/${narrow.id}`)).status).toBe(204);
    expect((await manifest(bearer(rotated.secret), 'demo/app')).status).toBe(401);
  });

  test('C2 a robot is found under its own project only, a key under its own owner, and a stranger sees neither', async () => {
    const owner = people.client('owner');
    const robot = await newRobot(owner, 'demo', PULL);
    const key = await newKey(owner, {});
    const admin = new Client(server.url, basic(ADMIN.user, ADMIN.password));
    const requests: readonly (readonly [Client, string, string, object?])[] = [
      [admin, 'GET', `/projects/other/robots/${robot.id}`],
      [admin, 'GET', `/robots/${robot.id}`],
      [admin, 'PATCH', `/projects/other/robots/${robot.id}`, { disabled: true }],
      [admin, 'POST', `/projects/other/robots/${robot.id}/rotate`, {}],
      [admin, 'DELETE', `/projects/other/robots/${robot.id}`],
      [admin, 'POST', '/projects/other/robots/delete', { ids: [robot.id] }],
      [admin, 'POST', '/robots/delete', { ids: [robot.id] }],
      [admin, 'GET', '/projects/missing/robots'],
      [admin, 'DELETE', `/users/stranger/access-keys/${key.id}`],
      [admin, 'GET', `/access-keys/${key.id}`],
      [people.client('stranger'), 'GET', `/projects/demo/robots/${robot.id}`],
      [people.client('stranger'), 'GET', `/projects/missing/robots/${robot.id}`],
      [people.client('stranger'), 'DELETE', `/projects/other/robots/${robot.id}`],
      [people.client('stranger'), 'DELETE', `/access-keys/${key.id}`],
      [people.client('stranger'), 'POST', `/access-keys/${key.id}/rotate`, {}],
    ];
    for (const [client, method, path, body] of requests) {
      expect([method, path, (await call(client, method, path, body)).status]).toEqual([method, path, 404]);
    }
    expect((await call(people.client('stranger'), 'GET', '/users/owner/access-keys')).status).toBe(403);
    expect((await manifest(new Client(server.url, basic(robot.login, robot.secret)), 'demo/app')).status).toBe(200);
    expect((await manifest(bearer(key.secret), 'demo/app')).status).toBe(200);
  });

  test('F4 a secret is shown once: not in a list, not by the same request again, not in the records, not in what the server prints', async () => {
    const owner = people.client('owner');
    const headers = { ...JSON_TYPE, 'Idempotency-Key': 'once' };
    const body = JSON.stringify({ name: 'once', rights: PULL });
    const first = await owner.request('POST', '/api/v1/projects/demo/robots', { headers, body });
    const { secret, id } = first.json<Required<RobotView>>();
    const second = await owner.request('POST', '/api/v1/projects/demo/robots', { headers, body });
    expect([first.status, second.status, second.json<RobotView>().id]).toEqual([201, 201, id]);
    const seen = [second, await call(owner, 'GET', '/projects/demo/robots'), await call(owner, 'GET', `/projects/demo/robots/${id}`)];
    for (const answer of seen) expect(answer.bytes.toString()).not.toContain(secret.slice(4));
    expect(server.output()).not.toContain(secret.slice(4));
  });

  const form = (fields: Record<string, string>) =>
    Client.anonymous(server.url).request('POST', '/token', {
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
      body: String(new URLSearchParams(fields)),
    });
  const EXCHANGE = {
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    scope: 'repository:demo/app:pull,push',
  };

  async function trusted(name: string) {
    const owner = people.client('owner');
    const robot = await newRobot(owner, 'demo', PULL, { withSecret: false });
    const signer = newSigner('ES256');
    const jwks = JSON.stringify({ keys: [signer.jwk] });
    const issuer = `https://${name}.example.com`;
    const rule = { name, issuer, audience: server.url, jwks, condition: 'claims.repository == "octo/app"' };
    const path = `/projects/demo/robots/${robot.id}/trust-rules`;
    const made = await call(owner, 'POST', path, rule);
    expect(made.status).toBe(201);
    const now = Math.floor(Date.now() / 1000);
    const sign = (claims: object = {}, header: Claims = {}) =>
      signer.sign({ iss: issuer, aud: server.url, sub: 'octo', repository: 'octo/app', iat: now, exp: now + 120, ...claims }, header);
    return { robot, path: `${path}/${made.json<{ id: number }>().id}`, issuer, sign, owner };
  }

  test('A2 a workload exchanges the token of its issuer for one that carries what its robot may, for as long as that lives', async () => {
    const { robot, sign, path, owner } = await trusted('exchange');
    const exchanged = await form({
      ...EXCHANGE,
      subject_token: sign(),
      audience: 'https://elsewhere.example.com',
      access_type: 'offline',
    });
    expect(exchanged.status).toBe(200);
    const body = exchanged.json<{ access_token: string; expires_in: number; token_type: string; issued_token_type: string }>();
    expect(body).toMatchObject({ token_type: 'Bearer', issued_token_type: 'urn:ietf:params:oauth:token-type:access_token' });
    expect(body).not.toHaveProperty('refresh_token');
    expect(body.expires_in).toBeLessThanOrEqual(120);
    const client = bearer(body.access_token);
    expect((await manifest(client, 'demo/app')).status).toBe(200);
    expect((await client.request('POST', '/v2/demo/app/blobs/uploads/')).status).toBe(401);
    expect((await call(client, 'GET', '/projects')).status).toBe(401);
    // The same as docker's password, with and without the token service.
    const docker = new Client(server.url, basic(robot.login, sign()));
    expect((await manifest(docker, 'demo/app')).status).toBe(200);
    const given = (await tokenOf(docker, 'repository:demo/app:pull', '&offline_token=true')).json<{ token: string; expires_in: number }>();
    expect(given).not.toHaveProperty('refresh_token');
    expect(given.expires_in).toBeLessThanOrEqual(120);
    expect((await manifest(bearer(given.token), 'demo/app')).status).toBe(200);
    // All of it ends with the rule.
    expect((await call(owner, 'DELETE', path)).status).toBe(204);
    for (const each of [client, docker, bearer(given.token)]) expect((await manifest(each, 'demo/app')).status).toBe(401);
  });

  test('A3 a forged token of a trusted issuer is refused, and nothing that it names is fetched', async () => {
    const { robot, sign, issuer } = await trusted('forged');
    let asked = 0;
    const trap = createServer((_, response) => {
      asked++;
      response.end('{"keys":[]}');
    });
    await new Promise<void>((resolve) => trap.listen(0, '127.0.0.1', resolve));
    const address = `http://127.0.0.1:${(trap.address() as AddressInfo).port}/keys`;
    const now = Math.floor(Date.now() / 1000);
    const claims = { iss: issuer, aud: server.url, sub: 'octo', repository: 'octo/app', iat: now, exp: now + 120 };
    const other = newSigner('ES256');
    const { jwk } = other;
    const own = (header: Claims) => other.sign(claims, header);
    const tokens = [
      signed({ alg: 'none', kid: 'one' }, claims, 'x').replace(/[^.]*$/, ''),
      signed({ alg: 'HS256', kid: 'one' }, claims, JSON.stringify(jwk)),
      signed({ alg: 'HS256', kid: 'one' }, claims, tokenKey(server)),
      own({}),
      own({ jwk }),
      own({ jku: address, x5u: address, kid: address }),
      sign({ iss: address }),
      sign({ iss: 'entrepot' }),
      sign({ aud: 'entrepot' }),
      sign({ exp: now - 60 }),
      sign({ repository: 'octo/other' }),
      `${sign()}x`,
    ];
    for (const token of tokens) {
      expect([token, (await form({ ...EXCHANGE, subject_token: token })).status]).toEqual([token, 401]);
      expect((await form({ grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion: token })).status).toBe(401);
      for (const client of [new Client(server.url, basic(robot.login, token)), new Client(server.url, `Bearer ${token}`)]) {
        expect((await manifest(client, 'demo/app')).status).toBe(401);
      }
    }
    expect((await form({ ...EXCHANGE, subject_token: sign() })).status).toBe(200);
    for (const change of [{ actor_token: sign() }, { subject_token_type: 'urn:ietf:params:oauth:token-type:saml2' }]) {
      expect((await form({ ...EXCHANGE, subject_token: sign(), ...change })).status).toBe(400);
    }
    expect(asked).toBe(0);
    trap.close();
  });

  test('a service-account key file signs for its robot; only its public half is kept', async () => {
    const owner = people.client('owner');
    const robot = await newRobot(owner, 'demo', PULL, { withSecret: false });
    const path = `/projects/demo/robots/${robot.id}/keys`;
    const made = await call(owner, 'POST', path, {});
    const { id, file } = made.json<{ id: number; file: Record<string, string> }>();
    expect((await call(owner, 'GET', path)).bytes.toString()).not.toContain('PRIVATE');
    const now = Math.floor(Date.now() / 1000);
    const { robot: name = '', audience = '', private_key_id: kid = '', private_key: pem = '' } = file;
    const claims = { iss: name, sub: name, aud: audience, iat: now, exp: now + 300 };
    const assertion = signedWith({ alg: 'EdDSA', kid }, claims, createPrivateKey(pem));
    const grant = { grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion, scope: 'repository:demo/app:pull' };
    const { access_token: token } = (await form(grant)).json<{ access_token: string }>();
    expect((await manifest(bearer(token), 'demo/app')).status).toBe(200);
    expect((await manifest(new Client(server.url, basic(robot.login, assertion)), 'demo/app')).status).toBe(200);
    // And by the example of the page.
    const page = readFileSync(new URL('../../docs/reference/machine-identities.md', import.meta.url), 'utf8');
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'token.mjs'), /```js\n(.*?)```/s.exec(page)?.[1] ?? '');
    writeFileSync(join(folder, 'key.json'), JSON.stringify(file), { mode: 0o600 });
    const printed = await exec(process.execPath, [join(folder, 'token.mjs'), join(folder, 'key.json'), 'repository:demo/app:pull']);
    expect((await manifest(bearer(printed.trim()), 'demo/app')).status).toBe(200);
    expect((await call(owner, 'DELETE', `${path}/${id}`)).status).toBe(204);
    for (const each of [token, printed.trim()]) expect((await manifest(bearer(each), 'demo/app')).status).toBe(401);
    expect((await form(grant)).status).toBe(401);
  });

  test('C1 C2 trust rules and keys are made by who holds all that the robot may, under its own project, and only such as can work', async () => {
    const { robot, path } = await trusted('owned');
    const id = path.split('/').at(-1);
    const admin = new Client(server.url);
    const strong = await newRobot(admin, 'demo', [{ role: 'admin' }]);
    const maker = await newRobot(people.client('owner'), 'demo', [{ permissions: ['project:read', 'robot:read', 'robot:manage'] }]);
    const machine = new Client(server.url, basic(maker.login, maker.secret));
    const rule = { name: 'x', issuer: 'https://x.example.com', audience: 'a', condition: 'claims.sub == "x"' };
    expect((await call(machine, 'POST', `/projects/demo/robots/${strong.id}/trust-rules`, rule)).status).toBe(403);
    expect((await call(machine, 'POST', `/projects/demo/robots/${strong.id}/keys`, {})).status).toBe(403);
    for (const [method, at, body] of [
      ['GET', `/projects/other/robots/${robot.id}/trust-rules`],
      ['GET', `/projects/demo/robots/${strong.id}/trust-rules/${id}`],
      ['PATCH', `/projects/demo/robots/${strong.id}/trust-rules/${id}`, { disabled: true }],
      ['DELETE', `/projects/demo/robots/${strong.id}/trust-rules/${id}`],
      ['DELETE', `/robots/${robot.id}/trust-rules/${id}`],
      ['POST', `/projects/other/robots/${robot.id}/keys`, {}],
    ] as const) {
      expect([method, at, (await call(admin, method, at, body)).status]).toEqual([method, at, 404]);
    }
    for (const wrong of [
      { issuer: 'http://x.example.com' },
      { issuer: 'https://user:password@x.example.com' },
      { issuer: 'file:///etc/passwd' },
      { condition: 'true' },
      { condition: 'claims.sub ==' },
      { condition: 'robot.name == "x"' },
      { jwks: '{"keys":[]}' },
      { jwks: '{"keys":[{"kty":"oct","k":"AAAA"}]}' },
      { robotId: 1 },
      { version: 7 },
    ]) {
      const answer = await call(people.client('owner'), 'POST', `/projects/demo/robots/${robot.id}/trust-rules`, { ...rule, ...wrong });
      expect([JSON.stringify(wrong), answer.status]).toEqual([JSON.stringify(wrong), 400]);
    }
    const privateKey = { kty: 'OKP', crv: 'Ed25519', x: 'AAAA', d: 'AAAA' };
    expect((await call(people.client('owner'), 'POST', `/projects/demo/robots/${robot.id}/keys`, { publicKey: privateKey })).status).toBe(
      400,
    );
  });

  test('C1 by policies nobody gives what it does not hold, takes away a denial of itself, or denies itself anything', async () => {
    const admin = new Client(server.url);
    const policy = (name: string, effect: string, actions: readonly string[], resources: readonly string[]) => ({
      name,
      document: { statements: [{ effect, actions, resources }] },
    });
    const status = async (client: Client, method: string, path: string, body?: object) => (await call(client, method, path, body)).status;
    // One who may manage roles and holds little besides.
    const keeper = await call(admin, 'POST', '/robots', {
      name: 'keeper',
      rights: [{ permissions: ['role:read', 'role:manage', 'repository:pull', 'project:read'] }],
    });
    const { login, secret } = keeper.json<Required<RobotView>>();
    const machine = new Client(server.url, basic(login, secret));
    expect(await status(machine, 'POST', '/policies', policy('all', 'allow', ['*'], ['*']))).toBe(403);
    expect(await status(machine, 'POST', '/policies', policy('push', 'allow', ['repository:push'], ['repository:demo/app']))).toBe(403);
    expect(await status(machine, 'POST', '/policies', policy('pull', 'allow', ['repository:pull'], ['project:demo']))).toBe(201);
    expect(await status(admin, 'POST', '/policies', policy('all', 'allow', ['*'], ['*']))).toBe(201);
    expect(await status(machine, 'PUT', `/policies/all/attachments/robot/${login}`)).toBe(403);
    expect(await status(machine, 'PATCH', '/policies/pull', policy('pull', 'allow', ['*'], ['*']))).toBe(400);
    expect(await status(machine, 'PATCH', '/policies/pull', { document: policy('', 'allow', ['*'], ['*']).document })).toBe(403);
    // A robot gets by a policy what no assignment gives it, and whoever gets hold of it must hold that too.
    const robot = await newRobot(people.client('owner'), 'demo', []);
    const client = new Client(server.url, basic(robot.login, robot.secret));
    expect((await manifest(client, 'other/app')).status).toBe(403);
    expect(await status(admin, 'PUT', `/policies/all/attachments/robot/${robot.login}`)).toBe(204);
    expect((await manifest(client, 'other/app')).status).toBe(200);
    expect(await status(people.client('owner'), 'POST', `/projects/demo/robots/${robot.id}/rotate`, {})).toBe(403);
    expect(await status(people.client('owner'), 'POST', `/projects/demo/robots/${robot.id}/keys`, {})).toBe(403);
    // A denial ends it at once, and who is denied cannot take that away, nor can one be denied by itself.
    const { token } = (await tokenOf(client, 'repository:other/app:pull')).json<{ token: string }>();
    expect(await status(admin, 'POST', '/policies', policy('wall', 'deny', ['repository:*'], ['repository:other/**']))).toBe(201);
    for (const name of [robot.login, login]) expect(await status(admin, 'PUT', `/policies/wall/attachments/robot/${name}`)).toBe(204);
    expect([(await manifest(client, 'other/app')).status, (await manifest(bearer(token), 'other/app')).status]).toEqual([403, 401]);
    expect(await status(machine, 'DELETE', `/policies/wall/attachments/robot/${login}`)).toBe(403);
    expect(await status(machine, 'DELETE', '/policies/wall')).toBe(409);
    expect(
      await status(machine, 'PATCH', '/policies/wall', { document: policy('', 'allow', ['repository:pull'], ['project:demo']).document }),
    ).toBe(403);
    expect(await status(admin, 'PUT', '/policies/wall/attachments/user/admin')).toBe(409);
    expect((await call(admin, 'GET', '/policies/wall/attachments')).json<{ items: object[] }>().items).toHaveLength(2);
    // Those who may not look do not see any.
    expect(await status(people.client('owner'), 'GET', '/policies')).toBe(403);
    for (const name of [robot.login, login]) expect(await status(admin, 'DELETE', `/policies/wall/attachments/robot/${name}`)).toBe(204);
    expect(await status(admin, 'DELETE', '/policies/wall')).toBe(204);
    expect((await manifest(client, 'other/app')).status).toBe(200);
  });

  test('robots are listed in pages, filtered and sorted by what is allowed only', async () => {
    const stranger = people.client('stranger');
    for (const name of ['b', 'a', 'c']) await newRobot(stranger, 'other', [], { name });
    const names = async (query: string) =>
      (await call(stranger, 'GET', `/projects/other/robots${query}`)).json<{ items: { name: string }[] }>().items.map(({ name }) => name);
    expect(await names('')).toEqual(['a', 'b', 'c']);
    expect(await names('?sort=-name&limit=2')).toEqual(['c', 'b']);
    expect(await names('?name=other.a')).toEqual(['a']);
    expect(await names('?name=%25')).toEqual([]);
    const page = await call(stranger, 'GET', '/projects/other/robots?limit=2');
    const next = /<([^>]+)>/.exec(page.headers.get('link') ?? '')?.[1] ?? '';
    expect((await stranger.request('GET', next)).json<{ items: { name: string }[] }>().items.map(({ name }) => name)).toEqual(['c']);
    for (const query of ['?sort=secret', '?sort=generation', '?hash=a', '?secret=a', '?after=x']) {
      expect((await call(stranger, 'GET', `/projects/other/robots${query}`)).status).toBe(400);
    }
  });

  test('a project goes with its robots', async () => {
    const admin = new Client(server.url);
    await must(admin, [201], 'POST', '/api/v1/projects', { headers: JSON_TYPE, body: '{"name":"short"}' });
    const robot = await newRobot(admin, 'short', PULL);
    const login = new Client(server.url, basic(robot.login, robot.secret));
    expect((await login.request('GET', '/v2/')).status).toBe(200);
    expect((await call(admin, 'DELETE', '/projects/short')).status).toBe(204);
    expect((await login.request('GET', '/v2/')).status).toBe(401);
    // Nobody gets its name back with the rights of before.
    await must(admin, [201], 'POST', '/api/v1/projects', { headers: JSON_TYPE, body: '{"name":"short"}' });
    expect((await login.request('GET', '/v2/')).status).toBe(401);
  });
});
