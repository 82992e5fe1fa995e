import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { addProject, disableUser, resetPassword, setProjectMember, setVisibility } from '../../packages/server/src/admin.ts';
import { loadConfig } from '../../packages/server/src/platform/config.ts';
import { basic, begin, Client, errorOf, imageManifest, must, sha256 } from '../harness/client.ts';
import { claimsOf } from '../harness/jwt.ts';
import { type People, populate } from '../harness/people.ts';
import { startServer, type TestServer } from '../harness/server.ts';

const name = 'demo/app';
const config = Buffer.from('{}');
const manifest = Buffer.from(JSON.stringify(imageManifest(config, [])));

describe('what a token or role does not say is not allowed', () => {
  let server: TestServer;
  let admin: Client;
  let people: People;
  beforeAll(async () => {
    server = await startServer();
    admin = new Client(server.url);
    people = await populate(server, {
      users: ['guest', 'developer', 'maintainer'],
      projects: { demo: { members: { guest: 'guest', developer: 'developer', maintainer: 'maintainer' } }, open: { public: true } },
    });
    for (const repository of [name, 'demo/other', 'open/app']) {
      await admin.pushBlob(repository, config);
      await admin.pushManifest(repository, 'v1', imageManifest(config, []));
    }
  });
  afterAll(async () => expect(await server.stop()).toBe(0));

  const by = async (user: string, ...scopes: string[]) => new Client(server.url, await people.bearer(user, ...scopes));
  const bare = Buffer.from('loose');
  /** Everything that can be asked of a repository, and the right it takes. */
  const asks = async (
    repository: string,
    client = admin,
  ): Promise<['pull' | 'push' | 'delete', string, string, (Uint8Array | string)?][]> => {
    await admin.pushBlob(repository, bare);
    const location = await begin(client, repository);
    return [
      ['pull', 'GET', `/v2/${repository}/manifests/v1`],
      ['pull', 'HEAD', `/v2/${repository}/blobs/${sha256(config)}`],
      ['pull', 'GET', `/v2/${repository}/blobs/${sha256(config)}`],
      ['pull', 'GET', `/v2/${repository}/tags/list`],
      ['pull', 'GET', `/v2/${repository}/referrers/${sha256(manifest)}`],
      ['push', 'POST', `/v2/${repository}/blobs/uploads/`],
      ['push', 'POST', `/v2/${repository}/blobs/uploads/?digest=${sha256('own')}`, 'own'],
      ['push', 'GET', location],
      ['push', 'PATCH', location, 'own'],
      ['push', 'PUT', `${location}?digest=${sha256('own')}`],
      ['push', 'PUT', `/v2/${repository}/manifests/pushed`, manifest],
      ['push', 'PUT', `/v2/${repository}/manifests/${sha256(manifest)}?tag=pushed`, manifest],
      ['delete', 'DELETE', `/v2/${repository}/manifests/pushed`],
      ['delete', 'DELETE', `/v2/${repository}/manifests/${sha256(manifest)}`],
      ['delete', 'DELETE', `/v2/${repository}/blobs/${sha256(bare)}`],
    ];
  };
  /** Asks everything, and gives which rights turned out to be held. */
  const held = async (client: Client, repository: string, sessionOf?: Client): Promise<string[]> => {
    const found = new Map<string, Set<boolean>>();
    for (const [right, method, path, body] of await asks(repository, sessionOf)) {
      const { status } = await client.request(method, path, body === undefined ? {} : { body });
      expect([200, 201, 202, 204, 401, 403], `${method} ${path}`).toContain(status);
      found.set(right, (found.get(right) ?? new Set()).add(status < 300));
    }
    // A right is held for all it takes, or for none of it.
    for (const [right, answers] of found) expect([right, answers.size]).toEqual([right, 1]);
    if (found.get('delete')?.has(true)) await admin.pushManifest(repository, 'v1', imageManifest(config, []));
    return [...found].filter(([, answers]) => answers.has(true)).map(([right]) => right);
  };

  test.each([
    ['guest', ['pull']],
    ['developer', ['pull', 'push']],
    ['maintainer', ['pull', 'push', 'delete']],
  ])('A4 a %s may %j, by password and by a token for everything', async (user, rights) => {
    const token = await by(user, `repository:${name}:pull,push,delete`);
    for (const client of [people.client(user), token]) {
      expect(await held(client, name, rights.includes('push') ? client : admin)).toEqual(rights);
    }
  });

  test.each([
    ['pull', ['pull']],
    ['push', ['push']],
    ['pull,push', ['pull', 'push']],
    ['delete', ['delete']],
    ['*', ['pull', 'push', 'delete']],
  ])('A4 a token for %s, of one who may everything, allows %j', async (actions, rights) => {
    const client = await by('maintainer', `repository:${name}:${actions}`);
    expect(await held(client, name, rights.includes('push') ? client : admin)).toEqual(rights);
  });

  test('A4 deleting by tag takes the same right as by digest, and a push cannot be made to delete', async () => {
    const client = await by('developer', `repository:${name}:pull,push`);
    for (const reference of ['v1', sha256(manifest)]) {
      const answer = await must(client, [401], 'DELETE', `/v2/${name}/manifests/${reference}`);
      expect(answer.headers.get('www-authenticate')).toContain(`scope="repository:${name}:delete",error="insufficient_scope"`);
    }
    // An empty push, a push of nothing under a tag, a push under another digest: none takes away what is there.
    for (const body of ['', '{}', 'null']) await must(client, [400], 'PUT', `/v2/${name}/manifests/v1`, { body: Buffer.from(body) });
    await must(client, [400], 'PUT', `/v2/${name}/manifests/${sha256(manifest)}`, { body: '{}' });
    expect((await must(client, [200], 'GET', `/v2/${name}/manifests/v1`)).bytes.equals(manifest)).toBe(true);
  });

  test('A2 a token for one repository says nothing about another', async () => {
    for (const scope of [
      'repository:demo/app:*',
      'repository:demo/ap:*',
      'repository:demo:*',
      'repository:demo/other/x:*',
      'repository:*:*',
    ]) {
      const client = await by('maintainer', scope);
      const wide = scope === 'repository:*:*'; // stands for what one may pull, never more
      expect([scope, await held(client, 'demo/other')]).toEqual([scope, wide ? ['pull'] : []]);
    }
  });

  test('A2 who asks for more gets what is held, however it is asked', async () => {
    for (const [scope, expected] of [
      [`repository:${name}:pull,push,delete,*`, ['pull']],
      [`repository:${name}:*`, ['pull']],
      [`repository:${name}:PUSH,Delete`, []],
      ['repository:open/app:pull,push,delete', ['pull']],
      ['repository:nowhere/app:*', []],
      ['repository:admin:*', []],
    ] as const) {
      const { access } = claimsOf((await people.bearer('guest', scope)).slice(7)) as { access: { actions: string[] }[] };
      expect([scope, access.flatMap(({ actions }) => actions)]).toEqual([scope, expected]);
    }
    const catalog = await people.bearer('guest', 'registry:catalog:*', 'registry:users:*', 'registry:*:*');
    expect(claimsOf(catalog.slice(7)).access).toEqual([{ type: 'registry', name: 'catalog', actions: ['*'] }]);
  });

  test('A2 the audience is never what the client says', async () => {
    const query = 'aud=refresh&audience=refresh&service=other.example&client_id=admin&account=admin&sub=1&typ=refresh%2Bjwt&exp=9999999999';
    const answer = await must(people.client('guest'), [200], 'GET', `/token?${query}&scope=repository:${name}:pull`);
    const mine = claimsOf((await people.bearer('guest', `repository:${name}:pull`)).slice(7));
    const claims = claimsOf(answer.json<{ token: string }>().token);
    expect({ ...claims, iat: 0, exp: 0 }).toEqual({ ...mine, iat: 0, exp: 0 });
    expect(Number(claims.exp) - Number(claims.iat)).toBe(300);
  });

  test('A2 a registry token is not taken where a password is asked for', async () => {
    const token = await people.bearer('maintainer', `repository:${name}:pull`);
    await must(new Client(server.url, token), [401], 'GET', `/token?scope=repository:${name}:push`);
    await must(new Client(server.url, basic('maintainer', token.slice(7))), [401], 'GET', `/token?scope=repository:${name}:push`);
    await must(new Client(server.url, basic('<token>', token.slice(7))), [401], 'GET', '/v2/');
  });
});

describe('A5 rights that were taken away', () => {
  let server: TestServer;
  let people: People;
  let client: Client;
  let token: Client;
  let refresh: string;
  let count = 0;
  beforeAll(async () => {
    server = await startServer();
  });
  afterAll(async () => expect(await server.stop()).toBe(0));

  const config = () => loadConfig({ env: {}, flags: { dataDir: server.dataDir } });
  let user: string;
  let project: string;
  beforeEach(async () => {
    user = `user-${++count}`;
    project = `project-${count}`;
    people = await populate(server, { users: [user], projects: { [project]: { members: { [user]: 'developer' } } } });
    client = people.client(user);
    await client.pushBlob(`${project}/app`, Buffer.from('x'));
    token = new Client(server.url, await people.bearer(user, `repository:${project}/app:pull,push`));
    refresh = (await must(client, [200], 'GET', '/token?offline_token=true')).json<{ refresh_token: string }>().refresh_token;
    expect(await statuses()).toEqual([200, 200, 202, 202, 200]);
  });

  /** Reading and pushing with the password and the token of before, and the refresh token. */
  const statuses = async () => {
    const asked = [
      client.request('GET', `/v2/${project}/app/tags/list`),
      token.request('GET', `/v2/${project}/app/tags/list`),
      client.request('POST', `/v2/${project}/app/blobs/uploads/`),
      token.request('POST', `/v2/${project}/app/blobs/uploads/`),
      Client.anonymous(server.url).request('POST', '/token', {
        headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
        body: `grant_type=refresh_token&refresh_token=${refresh}`,
      }),
    ];
    return (await Promise.all(asked)).map(({ status }) => status);
  };

  test('A5 a changed password ends all that was issued before, at once', async () => {
    const password = await resetPassword(config(), user);
    expect(await statuses()).toEqual([401, 401, 401, 401, 401]);
    client = new Client(server.url, basic(user, password));
    expect((await statuses()).slice(0, 3)).toEqual([200, 401, 202]);
  });

  test('A5 a disabled user is out at once, and what was issued before stays void when enabled again', async () => {
    await disableUser(config(), user, true);
    expect(await statuses()).toEqual([401, 401, 401, 401, 401]);
    await disableUser(config(), user, false);
    expect(await statuses()).toEqual([200, 401, 202, 401, 401]);
  });

  test('A5 a smaller role counts at once, against tokens of before too', async () => {
    await setProjectMember(config(), project, user, 'guest');
    expect(await statuses()).toEqual([200, 200, 403, 401, 200]);
    await setProjectMember(config(), project, user, 'developer');
    expect(await statuses()).toEqual([200, 200, 202, 202, 200]);
  });

  test('A5 an upload begun with a role that is gone does not go on', async () => {
    const location = await begin(token, `${project}/app`);
    await setProjectMember(config(), project, user, 'guest');
    for (const method of ['GET', 'PATCH', 'PUT', 'DELETE']) {
      await must(token, [401], method, `${location}?digest=${sha256('x')}`, method === 'PATCH' ? { body: randomBytes(5) } : {});
    }
  });

  test('A5 a project made private is closed at once', async () => {
    await addProject(config(), `open-${count}`, true);
    await new Client(server.url).pushBlob(`open-${count}/app`, Buffer.from('x'));
    const anonymous = Client.anonymous(server.url);
    const bearer = new Client(server.url, await people.bearer(undefined, `repository:open-${count}/app:pull`));
    const path = `/v2/open-${count}/app/blobs/${sha256('x')}`;
    for (const who of [anonymous, bearer]) await must(who, [200], 'GET', path);
    await setVisibility(config(), `open-${count}`, 'private');
    for (const who of [anonymous, bearer]) expect(errorOf(await must(who, [401], 'GET', path)).code).toBe('UNAUTHORIZED');
  });
});
