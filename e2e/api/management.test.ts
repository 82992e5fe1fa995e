import { beforeAll, describe, expect, it } from 'vitest';
import { basic, Client } from '../harness/client.ts';
import { type People, populate } from '../harness/people.ts';
import { done, everyItem, nextOf, refused, rest } from '../harness/rest.ts';
import { ADMIN, startServer, type TestServer } from '../harness/server.ts';

// What holds for the management API as a whole; each part of it has tests of its own.

interface Project {
  readonly name: string;
  readonly description: string;
}

let server: TestServer;
let people: People;
let root: Client;

beforeAll(async () => {
  server = await startServer();
  root = new Client(server.url);
  people = await populate(server, { users: ['alice', 'bob'], projects: { demo: { members: { alice: 'admin' } }, hidden: {} } });
});

describe('a refusal', () => {
  it('is a problem of a stable code, with the number of the request (RFC 9457)', async () => {
    const answer = await rest(root, 'GET', '/projects/missing');
    expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(answer.json()).toEqual({
      ...{ type: 'urn:entrepot:problem:not_found', title: 'not found', status: 404, code: 'not_found' },
      ...{ detail: 'there is no project missing', requestId: answer.headers.get('x-request-id') },
    });
    expect(await refused(root, 'GET', '/nothing/here')).toBe('404 not_found');
    expect(await refused(root, 'PUT', '/projects/demo', {})).toMatch(/^40[45] /);
    expect(await refused(Client.anonymous(server.url), 'GET', '/projects/demo')).toBe('401 unauthorized');
    expect(await refused(new Client(server.url, basic('admin', 'wrong')), 'GET', '/projects')).toBe('401 unauthorized');
  });

  it('names every part of the input that is wrong', async () => {
    const answer = await rest(root, 'POST', '/projects', { name: 7, public: 'yes', color: 'red' });
    expect(answer.status).toBe(400);
    const { code, errors } = answer.json<{ code: string; errors: { at: string }[] }>();
    expect(code).toBe('invalid_input');
    expect(errors.map(({ at }) => at)).toEqual(expect.arrayContaining(['body/name', 'body/public']));
  });

  it('is 413 for a body that is too large, 415 for one that is no JSON, 400 for one that cannot be read', async () => {
    const send = async (body: string, type: string) => {
      const headers = { 'Content-Type': type };
      return (await root.request('POST', '/api/v1/projects', { headers, body })).status;
    };
    expect(await send(JSON.stringify({ name: 'x', description: 'x'.repeat(2 << 20) }), 'application/json')).toBe(413);
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/xml', 'json']) {
      expect([type, await send('{"name":"typed"}', type)]).toEqual([type, 415]);
    }
    for (const body of [
      '',
      '{',
      '[]',
      'null',
      '"x"',
      '{"name":"a"}{"name":"b"}',
      '\ufeff{"name":',
      '{"__proto__":{"public":true},"name":"x"}',
    ]) {
      expect([body, await send(body, 'application/json')]).toEqual([body, 400]);
    }
    expect(await refused(root, 'GET', '/projects/typed')).toBe('404 not_found');
  });
});

describe('a change', () => {
  it('of another state than If-Match names is refused, and nothing changes', async () => {
    const etag = (await rest(root, 'GET', '/projects/demo')).headers.get('etag') ?? '';
    const change = (description: string, condition: string) =>
      rest(root, 'PATCH', '/projects/demo', { description }, { 'If-Match': condition });
    const first = await change('first', etag);
    expect(first.status).toBe(200);
    expect(first.headers.get('etag')).not.toBe(etag);
    for (const condition of [etag, '"x"', '', `W/${first.headers.get('etag')}`]) {
      const { status } = await change('second', condition);
      expect([condition, status]).toEqual([condition, 412]);
    }
    expect((await rest(root, 'GET', '/projects/demo')).json<Project>().description).toBe('first');
    expect((await change('third', `"other", ${first.headers.get('etag')}`)).status).toBe(200);
    expect((await change('fourth', '*')).status).toBe(200);
    const state = (await rest(root, 'GET', '/projects/demo')).headers.get('etag') ?? '';
    const both = await Promise.all(['a', 'b', 'c', 'd'].map((text) => change(text, state)));
    expect(both.map(({ status }) => status).sort()).toEqual([200, 412, 412, 412]);
  });

  it('cannot set what is not its to set (attack class C1)', async () => {
    const before = (await rest(root, 'GET', '/projects/demo')).json();
    const foreign = [
      { id: 1 },
      { name: 'taken' },
      { version: 9 },
      { createdBy: 'root' },
      { createdAt: 0 },
      { owner: 'x' },
      { pull_networks: '' },
    ];
    for (const fields of [...foreign, { constructor: {} }]) {
      expect([fields, await refused(people.client('alice'), 'PATCH', '/projects/demo', { description: 'x', ...fields })]).toEqual([
        fields,
        '400 invalid_input',
      ]);
      expect(await refused(root, 'POST', '/projects', { name: 'assigned', ...fields, ...('name' in fields ? { admin: true } : {}) })).toBe(
        '400 invalid_input',
      );
    }
    const member = { kind: 'user', name: 'bob', role: 'guest' };
    for (const fields of [{ id: 1 }, { projectId: 1 }, { project: 'hidden' }, { createdBy: 'x' }, { subject: 1 }]) {
      expect(await refused(people.client('alice'), 'POST', '/projects/demo/members', { ...member, ...fields })).toBe('400 invalid_input');
    }
    expect(await refused(root, 'POST', '/roles', { name: 'mine', permissions: ['project:read'], builtIn: true })).toBe('400 invalid_input');
    expect((await rest(root, 'GET', '/projects/demo')).json()).toEqual(before);
    expect(await refused(root, 'GET', '/projects/assigned')).toBe('404 not_found');
  });
});

describe('an Idempotency-Key', () => {
  const make = (client: Client, name: string, key: string) => rest(client, 'POST', '/projects', { name }, { 'Idempotency-Key': key });

  it('makes a creation count once, and gives the same answer again', async () => {
    const first = await make(root, 'once', 'key-1');
    const again = await make(root, 'once', 'key-1');
    expect([first.status, again.status]).toEqual([201, 201]);
    expect(again.json()).toEqual(first.json());
    expect(again.headers.get('etag')).toBe(first.headers.get('etag'));
    expect([first.headers.get('idempotent-replayed'), again.headers.get('idempotent-replayed')]).toEqual([null, 'true']);
    expect((await make(root, 'once', 'key-2')).status).toBe(409);
    expect((await make(root, 'twice', 'key-1')).json<{ code: string }>().code).toBe('idempotency_mismatch');
    expect(await refused(root, 'GET', '/projects/twice')).toBe('404 not_found');
    for (const key of ['', 'x'.repeat(256), 'with space']) expect([key, (await make(root, 'keyed', key)).status]).toEqual([key, 400]);
  });

  it('serves all who send it at once', async () => {
    const answers = await Promise.all(Array.from({ length: 12 }, () => make(root, 'at-once', 'key-at-once')));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201]));
    expect(new Set(answers.map(({ bytes }) => bytes.toString())).size).toBe(1);
    expect(answers.filter(({ headers }) => headers.get('idempotent-replayed') === null).length).toBe(1);
    expect((await everyItem<object>(root, '/projects/at-once/members')).length).toBe(1);
  });

  it('belongs to who sends it, and what failed may be tried again', async () => {
    await done(201, root, 'POST', '/assignments', { kind: 'user', name: 'bob', role: 'project-creator' });
    expect((await make(root, 'of-root', 'shared-key')).status).toBe(201);
    expect((await make(people.client('bob'), 'of-bob', 'shared-key')).status).toBe(201);
    expect((await make(people.client('alice'), 'of-root', 'shared-key')).status).toBe(403);
    expect((await make(people.client('bob'), 'of-root', 'later')).status).toBe(409);
    await done(204, root, 'DELETE', '/projects/of-root');
    expect((await make(people.client('bob'), 'of-root', 'later')).status).toBe(201);
  });
});

describe('a list', () => {
  it('goes on by Link to its end, without gap or repeat, while others are made', async () => {
    const names = Array.from({ length: 25 }, (_, index) => `paged-${String(index).padStart(2, '0')}`);
    for (const name of names) await done(201, root, 'POST', '/projects', { name });
    let extra = 0;
    const between = async () => {
      await done(201, root, 'POST', '/projects', { name: `aaa-${extra}` });
      await done(201, root, 'POST', '/projects', { name: `zzz-${extra++}` });
    };
    for (const sort of ['name', '-name']) {
      const seen = (await everyItem<Project>(root, `/projects?limit=3&sort=${sort}`, between)).map(({ name }) => name);
      expect(seen).toEqual([...new Set(seen)].sort((a, b) => (sort === 'name' ? 1 : -1) * (a < b ? -1 : 1)));
      expect(seen.filter((name) => name.startsWith('paged-')).length).toBe(names.length);
    }
    // Filters stay with the pages.
    const filtered = await everyItem<Project>(root, '/projects?limit=2&name=paged-1');
    expect(filtered.map(({ name }) => name)).toEqual(names.slice(10, 20));
    const first = await rest(root, 'GET', '/projects?limit=2&name=paged-1');
    expect(nextOf(first)).toContain('name=paged-1');
  });

  it('is sorted and filtered by named fields only, and wildcards are letters (attack class C4)', async () => {
    const lists = ['/projects', '/projects/demo/members', '/projects/demo/repositories', '/roles', '/assignments', '/users', '/jobs'];
    for (const list of lists) {
      for (const query of [
        'sort=password_hash',
        'sort=id',
        'sort=name;drop',
        'sort=',
        'sort=name&sort=-name',
        'password_hash=x',
        'q=x',
        'passwordHash=a',
        'id=1',
      ]) {
        expect([list, query, await refused(root, 'GET', `${list}?${query}`)]).toEqual([list, query, '400 invalid_input']);
      }
      for (const query of [
        'limit=0',
        'limit=1001',
        'limit=-1',
        'limit=x',
        'limit=1.5',
        'limit=1e1',
        'limit=0x5',
        'limit=',
        `after=${'x'.repeat(2000)}`,
      ]) {
        expect([list, query, await refused(root, 'GET', `${list}?${query}`)]).toEqual([list, query, '400 invalid_input']);
      }
      const forged = [
        'x',
        Buffer.from('[]').toString('base64url'),
        Buffer.from('[{"a":1}]').toString('base64url'),
        Buffer.from('["a","b","c"]').toString('base64url'),
      ];
      for (const after of forged) {
        expect([list, after, await refused(root, 'GET', `${list}?after=${after}`)]).toEqual([list, after, '400 pagination_invalid']);
      }
    }
    for (const list of lists.filter((path) => path !== '/jobs')) {
      for (const name of ['%', '_', '%25%', "' or 1=1 --", '\\']) {
        expect([list, name, await everyItem(root, `${list}?name=${encodeURIComponent(name)}`)]).toEqual([list, name, []]);
      }
    }
  });
});

describe('what one may not see', () => {
  it('looks like what does not exist, whatever is asked of it (attack class A8)', async () => {
    const routes: [string, string, unknown?][] = [
      ['GET', ''],
      ['PATCH', '', { description: 'x' }],
      ['DELETE', ''],
      ['GET', '/members'],
      ['POST', '/members', { kind: 'user', name: 'bob', role: 'admin' }],
      ['GET', '/members/1'],
      ['GET', '/repositories'],
      ['GET', '/repositories/app'],
      ['DELETE', '/repositories/app'],
      ['GET', '/repositories/app/tags'],
      ['PUT', '/repositories/app/tags/v1', { digest: `sha256:${'0'.repeat(64)}` }],
    ];
    for (const client of [people.client('alice'), Client.anonymous(server.url)]) {
      for (const [method, path, body] of routes) {
        const told = async (project: string) => {
          const { status, bytes } = await rest(client, method, `/projects/${project}${path}`, body);
          return [
            method,
            path,
            status,
            bytes
              .toString()
              .replaceAll(project, 'X')
              .replace(/"requestId":"[^"]*"/, ''),
          ];
        };
        expect(await told('hidden')).toEqual(await told('nowhere'));
      }
    }
  });

  it('is not reached by a token for images (attack class A2)', async () => {
    const token = await people.bearer('alice', 'repository:demo/app:pull,push');
    expect(await refused(new Client(server.url, token), 'GET', '/projects/demo')).toBe('401 unauthorized');
  });
});

it('the document and the page of reference are for everybody', async () => {
  const anonymous = Client.anonymous(server.url);
  const { openapi } = (await anonymous.request('GET', '/api/openapi.json')).json<{ openapi: string }>();
  expect(openapi).toMatch(/^3\.1\./);
  const page = await anonymous.request('GET', '/api/docs/');
  expect([page.status, page.headers.get('content-type')]).toEqual([200, expect.stringMatching(/^text\/html/)]);
  expect(ADMIN.password.length).toBeGreaterThan(8);
  expect(`${server.output()}${page.bytes}`).not.toContain(ADMIN.password);
});
