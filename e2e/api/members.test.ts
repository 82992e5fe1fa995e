import { beforeAll, describe, expect, it } from 'vitest';
import { Client } from '../harness/client.ts';
import { type People, populate } from '../harness/people.ts';
import { done, everyItem, refused, rest } from '../harness/rest.ts';
import { startServer, type TestServer } from '../harness/server.ts';

interface Member {
  readonly id: number;
  readonly kind: string;
  readonly name: string;
  readonly role?: string;
  readonly permissions?: string[];
  readonly pattern?: string;
}

let server: TestServer;
let people: People;
let root: Client;
const USERS = ['alice', 'bob', 'carol', 'dave', 'erin'] as const;

beforeAll(async () => {
  server = await startServer();
  root = new Client(server.url);
  people = await populate(server, {
    users: USERS,
    projects: { demo: { members: { alice: 'admin', bob: 'developer' } }, other: { members: { carol: 'admin' } }, open: { public: true } },
  });
});

const members = '/projects/demo/members';

describe('members of a project', () => {
  it('are added, read, changed and removed, and every step counts at once', async () => {
    const alice = people.client('alice');
    const dave = people.client('dave');
    expect(await refused(dave, 'GET', '/projects/demo')).toBe('404 not_found');
    const made = await rest(alice, 'POST', members, { kind: 'user', name: 'dave', role: 'guest' });
    expect(made.status).toBe(201);
    const { id } = made.json<Member>();
    expect(made.json<Member>()).toMatchObject({ kind: 'user', name: 'dave', role: 'guest' });
    expect((await rest(dave, 'GET', '/projects/demo')).status).toBe(200);
    expect(await refused(alice, 'POST', members, { kind: 'user', name: 'dave', role: 'developer' })).toBe('409 conflict');

    const etag = made.headers.get('etag') ?? '';
    const changed = await rest(alice, 'PATCH', `${members}/${id}`, { permissions: ['project:read'] }, { 'If-Match': etag });
    expect(changed.json<Member>()).toEqual(expect.objectContaining({ id, permissions: ['project:read'] }));
    expect(changed.json<Member>().role).toBeUndefined();
    expect(await refused(alice, 'PATCH', `${members}/${id}`, { role: 'guest' }, { 'If-Match': etag })).toBe('412 precondition_failed');
    expect(await refused(dave, 'GET', members)).toBe('403 denied');
    await done(204, alice, 'DELETE', `${members}/${id}`, undefined, { 'If-Match': changed.headers.get('etag') ?? '' });
    expect(await refused(dave, 'GET', '/projects/demo')).toBe('404 not_found');
    expect(await refused(alice, 'GET', `${members}/${id}`)).toBe('404 not_found');
  });

  it('on a pattern of repositories see those alone', async () => {
    for (const name of ['demo/team/a', 'demo/team/b', 'demo/secret']) await root.pushImage(name, 'v1');
    const added = await done<Member>(201, people.client('alice'), 'POST', members, {
      ...{ kind: 'user', name: 'erin', role: 'developer', pattern: 'demo/team/**' },
    });
    const erin = people.client('erin');
    const names = async (client: Client) =>
      (await everyItem<{ name: string }>(client, '/projects/demo/repositories')).map(({ name }) => name);
    expect(await names(erin)).toEqual(['demo/team/a', 'demo/team/b']);
    expect(await names(people.client('bob'))).toEqual(['demo/secret', 'demo/team/a', 'demo/team/b']);
    expect(await refused(people.client('dave'), 'GET', '/projects/demo/repositories')).toBe('404 not_found');
    expect(await refused(people.client('dave'), 'GET', '/projects/nowhere/repositories')).toBe('404 not_found');
    expect(await refused(Client.anonymous(server.url), 'GET', '/projects/demo/repositories')).toBe('401 unauthorized');
    await done(200, erin, 'GET', '/projects/demo/repositories/team%2Fa');
    // What the pattern leaves out looks like what does not exist.
    for (const name of ['secret', 'missing']) expect(await refused(erin, 'GET', `/projects/demo/repositories/${name}`)).toBe('403 denied');
    await done(204, people.client('alice'), 'DELETE', `${members}/${added.id}`);
    for (const pattern of ['other/**', '**', 'demo', 'demo/{a', 'demodemo/x']) {
      const body = { kind: 'user', name: 'erin', role: 'guest', pattern };
      const answer = await rest(people.client('alice'), 'POST', members, body);
      expect([pattern, answer.status]).toEqual([pattern, pattern === 'demo' ? 201 : 400]);
      if (answer.status === 201) await done(204, root, 'DELETE', `${members}/${answer.json<Member>().id}`);
    }
  });

  it('are never given more than who gives it holds', async () => {
    const manager = await done<Member>(201, root, 'POST', members, {
      ...{ kind: 'user', name: 'dave', permissions: ['project:read', 'member:read', 'member:manage', 'repository:pull'] },
    });
    const dave = people.client('dave');
    const give = (rights: object) => refused(dave, 'POST', members, { kind: 'user', name: 'erin', ...rights });
    expect(await give({ role: 'admin' })).toBe('403 denied');
    expect(await give({ role: 'guest' })).toBe('403 denied');
    expect(await give({ permissions: ['repository:push'] })).toBe('403 denied');
    expect(await give({ permissions: ['repository:push'], pattern: 'demo/x' })).toBe('403 denied');
    expect(await refused(dave, 'PATCH', `${members}/${manager.id}`, { role: 'admin' })).toBe('403 denied');
    expect(await refused(dave, 'POST', `${members}/batch`, { add: [{ kind: 'user', name: 'erin', role: 'admin' }] })).toBe('403 denied');
    const own = await done<Member>(201, dave, 'POST', members, { kind: 'user', name: 'erin', permissions: ['repository:pull'] });
    // In a public project anybody may pull, which is no right to give away.
    const open = await done<Member>(201, root, 'POST', '/projects/open/members', {
      ...{ kind: 'user', name: 'dave', permissions: ['member:manage'] },
    });
    const pull = { kind: 'user', name: 'erin', permissions: ['repository:pull'] };
    expect(await refused(dave, 'POST', '/projects/open/members', pull)).toBe('403 denied');
    await done(204, root, 'DELETE', `/projects/open/members/${open.id}`);
    for (const { id } of [own, manager]) await done(204, root, 'DELETE', `${members}/${id}`);
  });

  it('of one project are not found under another (attack class C2)', async () => {
    const bob = (await everyItem<Member>(root, members)).find(({ name }) => name === 'bob');
    const path = `/projects/other/members/${bob?.id}`;
    for (const [method, body] of [['GET'], ['PATCH', { role: 'admin' }], ['DELETE']] as const) {
      expect(await refused(people.client('carol'), method, path, body)).toBe('404 not_found');
      expect(await refused(root, method, path, body)).toBe('404 not_found');
    }
    expect(await refused(people.client('carol'), 'POST', '/projects/other/members/batch', { remove: [bob?.id] })).toBe('404 not_found');
    expect((await everyItem<Member>(root, members)).find(({ name }) => name === 'bob')).toEqual(bob);
  });

  it('come and go together, or not at all', async () => {
    const alice = people.client('alice');
    const add = ['carol', 'dave'].map((name) => ({ kind: 'user', name, role: 'guest' }));
    const { added } = await done<{ added: Member[] }>(200, alice, 'POST', `${members}/batch`, { add });
    expect(added.map(({ name }) => name)).toEqual(['carol', 'dave']);
    const [carol, dave] = added.map(({ id }) => id);
    const nobody = { kind: 'user', name: 'nobody-of-that-name', role: 'guest' };
    expect(await refused(alice, 'POST', `${members}/batch`, { add: [nobody], remove: [carol] })).toBe('404 not_found');
    expect((await everyItem<Member>(alice, `${members}?sort=-name`)).map(({ name }) => name)).toEqual(['dave', 'carol', 'bob', 'alice']);
    // Removed first, so that one may come back with another role.
    await done(200, alice, 'POST', `${members}/batch`, {
      remove: [carol, dave],
      add: [{ kind: 'user', name: 'carol', role: 'developer' }],
    });
    const left = await everyItem<Member>(alice, `${members}?role=developer&limit=1`);
    expect(left.map(({ name }) => name)).toEqual(['bob', 'carol']);
    await done(200, alice, 'POST', `${members}/batch`, { remove: left.filter(({ name }) => name === 'carol').map(({ id }) => id) });
  });

  it('may all go, the last administrator too', async () => {
    const carol = people.client('carol');
    const [own] = await everyItem<Member>(carol, '/projects/other/members');
    await done(204, carol, 'DELETE', `/projects/other/members/${own?.id}`);
    expect(await refused(carol, 'GET', '/projects/other')).toBe('404 not_found');
    expect(await everyItem(root, '/projects/other/members')).toEqual([]);
  });
});

describe('roles', () => {
  it('are built in, or made of permissions; a change counts at once for all who have one', async () => {
    const all = await everyItem<{ name: string; builtIn: boolean; level: string }>(people.client('bob'), '/roles?limit=3');
    expect(all.map(({ name }) => name)).toContain('system-admin');
    expect(all.every(({ builtIn }) => builtIn)).toBe(true);
    const permissions = ['project:read', 'repository:list'];
    const made = await rest(root, 'POST', '/roles', { name: 'browser', permissions });
    expect(made.json()).toMatchObject({ name: 'browser', level: 'project', builtIn: false, permissions });
    const names = (await everyItem<{ name: string }>(root, '/roles?limit=2&sort=-name')).map(({ name }) => name);
    expect(names).toEqual([...all.map(({ name }) => name), 'browser'].sort().reverse());

    const { id } = await done<Member>(201, people.client('alice'), 'POST', members, { kind: 'user', name: 'erin', role: 'browser' });
    const erin = people.client('erin');
    expect((await rest(erin, 'GET', '/projects/demo')).status).toBe(200);
    expect(await refused(erin, 'GET', members)).toBe('403 denied');
    await done(
      200,
      root,
      'PATCH',
      '/roles/browser',
      { permissions: [...permissions, 'member:read'] },
      { 'If-Match': made.headers.get('etag') ?? '' },
    );
    expect((await rest(erin, 'GET', members)).status).toBe(200);
    const old = { 'If-Match': made.headers.get('etag') ?? '' };
    expect(await refused(root, 'PATCH', '/roles/browser', { description: 'x' }, old)).toBe('412 precondition_failed');
    expect(await refused(root, 'DELETE', '/roles/browser')).toBe('409 conflict');
    await done(204, root, 'DELETE', `${members}/${id}`);
    await done(204, root, 'DELETE', '/roles/browser');
    expect(await refused(root, 'GET', '/roles/browser')).toBe('404 not_found');
  });

  it('that are built in stay as they are', async () => {
    expect(await refused(root, 'PATCH', '/roles/guest', { description: 'x' })).toBe('409 conflict');
    expect(await refused(root, 'DELETE', '/roles/guest')).toBe('409 conflict');
    expect(await refused(root, 'POST', '/roles', { name: 'guest', permissions: ['project:read'] })).toBe('409 conflict');
    for (const name of ['Upper', 'with space', '', 'a/b', '__proto__', '-x']) {
      expect((await rest(root, 'POST', '/roles', { name, permissions: ['project:read'] })).status).toBe(400);
    }
    expect(await refused(people.client('alice'), 'POST', '/roles', { name: 'mine', permissions: ['project:read'] })).toBe('403 denied');
  });
});

describe('assignments on the system', () => {
  it('are given by who holds them, and the last user who administers the system stays', async () => {
    const [only, ...others] = await everyItem<Member>(root, '/assignments');
    expect([only?.name, only?.role, others.length]).toEqual(['admin', 'system-admin', 0]);
    expect(await refused(root, 'DELETE', `/assignments/${only?.id}`)).toBe('409 conflict');
    expect(await refused(root, 'PATCH', `/assignments/${only?.id}`, { role: 'auditor' })).toBe('409 conflict');
    expect(await refused(people.client('alice'), 'GET', '/assignments')).toBe('403 denied');

    const second = await done<Member>(201, root, 'POST', '/assignments', { kind: 'user', name: 'alice', role: 'system-admin' });
    await done(204, people.client('alice'), 'DELETE', `/assignments/${only?.id}`);
    expect(await refused(root, 'GET', '/assignments')).toBe('403 denied');
    await done(201, people.client('alice'), 'POST', '/assignments', { kind: 'user', name: 'admin', role: 'system-admin' });
    await done(204, root, 'DELETE', `/assignments/${second.id}`);

    const permissions = ['role:read', 'role:manage'];
    const { id } = await done<Member>(201, root, 'POST', '/assignments', { kind: 'user', name: 'dave', permissions });
    expect(await refused(people.client('dave'), 'POST', '/assignments', { kind: 'user', name: 'erin', role: 'auditor' })).toBe(
      '403 denied',
    );
    expect(await refused(people.client('dave'), 'POST', '/roles', { name: 'mine', permissions: ['system:update'] })).toBe('403 denied');
    expect(await refused(root, 'GET', `${members}/${id}`)).toBe('404 not_found');
    await done(204, root, 'DELETE', `/assignments/${id}`);
    expect(await refused(root, 'POST', members, { kind: 'user', name: 'dave', role: 'auditor' })).toBe('400 bad_request');
  });
});

describe('explain', () => {
  interface Explained {
    readonly allowed: boolean;
    readonly reason: string;
    readonly steps: { rule: string; applies: boolean }[];
  }
  const ask = (client: Client, query: string) => done<Explained>(200, client, 'GET', `/explain?${query}`);

  it('says of oneself and, with role:read, of others which rule allows or denies', async () => {
    const bob = people.client('bob');
    const push = 'permission=repository:push&project=demo&repository=app';
    expect(await ask(bob, push)).toMatchObject({ allowed: true, reason: 'allowed by role developer in project demo' });
    expect(await ask(bob, 'permission=repository:delete&project=demo&repository=app')).toMatchObject({
      ...{ allowed: false, reason: 'no rule allows it' },
      steps: [{ rule: 'role developer in project demo', applies: false }],
    });
    expect(await refused(bob, 'GET', `/explain?${push}&user=alice`)).toBe('403 denied');
    expect((await ask(root, `${push}&user=bob`)).allowed).toBe(true);
    expect((await ask(root, `${push}&user=erin`)).allowed).toBe(false);
    expect((await ask(root, 'permission=repository:pull&project=open&repository=x&anonymous=true')).reason).toBe(
      'allowed by project open is public',
    );
    expect(await refused(root, 'GET', `/explain?${push}&user=nobody`)).toBe('404 not_found');
    expect(await refused(root, 'GET', `/explain?${push}&user=bob&anonymous=true`)).toBe('400 bad_request');
    await done(200, root, 'PATCH', '/projects/demo', { pushNetworks: '192.0.2.0/24' });
    expect((await ask(bob, push)).reason).toMatch(/^denied by networks of project demo/);
    expect((await ask(bob, `${push}&client=192.0.2.7`)).allowed).toBe(true);
    await done(200, root, 'PATCH', '/projects/demo', { pushNetworks: '' });
  });

  it('tells nothing of a project that is not seen (attack class A8)', async () => {
    const erin = people.client('erin');
    const told = async (project: string) => {
      const answer = await rest(erin, 'GET', `/explain?permission=repository:pull&project=${project}&repository=x`);
      return [
        answer.status,
        answer.bytes
          .toString()
          .replaceAll(project, 'PROJECT')
          .replace(/"requestId":"[^"]*"/, ''),
      ];
    };
    expect(await told('demo')).toEqual(await told('nothing-there'));
    expect((await told('demo'))[0]).toBe(404);
  });
});
