import { beforeAll, describe, expect, it } from 'vitest';
import { type Answer, basic, Client, sha256 } from '../harness/client.ts';
import { type People, populate } from '../harness/people.ts';
import { everyItem } from '../harness/rest.ts';
import { startServer, type TestServer } from '../harness/server.ts';

// What scripts and tools written for Harbor's API v2.0 ask: with its words, and with the rights of the management API.

let server: TestServer;
let people: People;
let root: Client;

beforeAll(async () => {
  server = await startServer();
  root = new Client(server.url);
  people = await populate(server, {
    users: ['alice', 'bob', 'stranger'],
    projects: { demo: { members: { alice: 'admin' } }, open: { public: true }, hidden: {} },
  });
  for (const name of ['demo/app', 'demo/team/api', 'demo/team/web']) await root.pushImage(name, 'v1');
});

async function harbor(client: Client, method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  const json = body === undefined ? {} : { body: JSON.stringify(body) };
  return await client.request(method, `/api/v2.0${path}`, { headers: { 'Content-Type': 'application/json', ...headers }, ...json });
}

async function get<T>(client: Client, path: string): Promise<T> {
  const answer = await harbor(client, 'GET', path);
  if (answer.status !== 200) throw new Error(`GET ${path} answered ${answer.status}: ${answer.bytes}`);
  return answer.json<T>();
}

/** Status and code of a refusal in Harbor's words. */
async function refused(client: Client, method: string, path: string, body?: unknown): Promise<string> {
  const answer = await harbor(client, method, path, body);
  const { errors } = answer.json<{ errors: { code: string; message: string }[] }>();
  expect(answer.headers.get('content-type')).toMatch(/^application\/json/);
  expect(errors).toEqual([{ code: expect.any(String), message: expect.any(String) }]);
  return `${answer.status} ${errors[0]?.code}`;
}

interface Project {
  readonly project_id: number;
  readonly name: string;
  readonly metadata: { public: string };
}
interface Artifact {
  readonly id: number;
  readonly digest: string;
  readonly tags: { name: string }[] | null;
}
const names = (items: readonly { name: string }[]) => items.map(({ name }) => name);

it('answers to ping, and tells of itself', async () => {
  const anonymous = Client.anonymous(server.url);
  const ping = await harbor(anonymous, 'GET', '/ping');
  expect([ping.status, ping.bytes.toString()]).toEqual([200, 'Pong']);
  expect(await get(anonymous, '/health')).toMatchObject({ status: 'healthy', components: expect.any(Array) });
  expect(await get(anonymous, '/systeminfo')).not.toHaveProperty('harbor_version');
  expect(await get(root, '/systeminfo')).toMatchObject({ auth_mode: 'db_auth', harbor_version: expect.stringMatching(/^v2\./) });
  expect(await get(people.client('alice'), '/users/current')).toMatchObject({ username: 'alice', sysadmin_flag: false });
  expect(await get(root, '/users/current')).toMatchObject({ username: 'admin', sysadmin_flag: true });
  expect(await refused(anonymous, 'GET', '/users/current')).toBe('401 UNAUTHORIZED');
  expect(await get(people.client('alice'), '/statistics')).toMatchObject({
    private_project_count: 1,
    public_project_count: 1,
    private_repo_count: 3,
  });
  expect(await refused(root, 'GET', '/nothing')).toBe('404 NOT_FOUND');
});

describe('projects', () => {
  it('are made, read by name and id, changed and deleted', async () => {
    const made = await harbor(root, 'POST', '/projects', {
      project_name: 'made',
      metadata: { public: 'true' },
      storage_limit: -1,
      registry_id: null,
    });
    expect([made.status, made.headers.get('location'), made.bytes.length]).toEqual([201, '/api/v2.0/projects/made', 0]);
    expect(await refused(root, 'POST', '/projects', { project_name: 'made' })).toBe('409 CONFLICT');
    const { project_id: id } = await get<Project>(root, '/projects/made');
    expect(await get(root, `/projects/${id}`)).toMatchObject({
      ...{ project_id: id, name: 'made', owner_name: 'admin', repo_count: 0, metadata: { public: 'true' }, current_user_role_id: 1 },
    });
    expect(await refused(root, 'GET', '/projects/999999')).toBe('404 NOT_FOUND');
    expect((await harbor(root, 'GET', `/projects/${id}`, undefined, { 'X-Is-Resource-Name': 'true' })).status).toBe(404);
    const changed = await harbor(root, 'PUT', `/projects/${id}`, { metadata: { public: 'false', prevent_vul: 'false' } });
    expect([changed.status, changed.bytes.length]).toEqual([200, 0]);
    expect((await get<Project>(root, '/projects/made')).metadata.public).toBe('false');
    // What protects, and is not there, must not seem to be.
    for (const body of [{ metadata: { prevent_vul: 'true' } }, { storage_limit: 1000 }, { registry_id: 3 }]) {
      expect(await refused(root, 'PUT', '/projects/made', body)).toBe('400 BAD_REQUEST');
    }
    expect((await harbor(root, 'HEAD', '/projects?project_name=made')).status).toBe(200);
    expect((await harbor(root, 'DELETE', `/projects/${id}`)).status).toBe(200);
    expect((await harbor(root, 'HEAD', '/projects?project_name=made')).status).toBe(404);
    expect(await refused(root, 'DELETE', '/projects/demo')).toBe('412 PRECONDITION');
    expect(await refused(people.client('alice'), 'POST', '/projects', { project_name: 'mine' })).toBe('403 FORBIDDEN');
    expect(await refused(root, 'POST', '/projects', { project_name: 'Not/Good' })).toBe('400 BAD_REQUEST');
  });

  it('are listed by pages with their number, filtered by q, sorted', async () => {
    for (let number = 0; number < 12; number++) await harbor(root, 'POST', '/projects', { project_name: `page-${number}` });
    const list = async (query: string) => {
      const answer = await harbor(root, 'GET', `/projects?${query}`);
      return { names: names(answer.json<Project[]>()), total: answer.headers.get('x-total-count'), link: answer.headers.get('link') };
    };
    const first = await list('name=page-&page_size=5');
    expect([first.names.length, first.total]).toEqual([5, '12']);
    expect(first.link).toBe('</api/v2.0/projects?name=page-&page_size=5&page=2>; rel="next"');
    const last = await list('name=page-&page_size=5&page=3');
    expect([last.names.length, last.link]).toEqual([2, '</api/v2.0/projects?name=page-&page_size=5&page=2>; rel="prev"']);
    expect((await list('q=name%3Dpage-3')).names).toEqual(['page-3']);
    expect((await list('q=name%3D~AGE-1')).names).toEqual(['page-1', 'page-10', 'page-11']);
    expect((await list('q=name%3D%7Bpage-2%20page-4%7D,public%3Dfalse')).names).toEqual(['page-2', 'page-4']);
    expect((await list('q=name%3D~page&sort=-name&page_size=2')).names).toEqual(['page-9', 'page-8']);
    expect((await list('public=true')).names).toEqual(['open']);
    expect((await list('with_detail=false&name=page-11')).names).toEqual(['page-11']);
    for (const query of [
      'q=password_hash%3Dx',
      'q=createdBy%3Dx',
      'sort=version',
      'q=name',
      'q=__proto__%3Dx',
      'page=0',
      'page_size=101',
    ]) {
      expect([query, await refused(root, 'GET', `/projects?${query}`)]).toEqual([query, '400 BAD_REQUEST']);
    }
    expect(names(await get(people.client('stranger'), '/projects?page_size=100'))).toEqual(['open']);
  });

  it('that are hidden look like none (attack class A8)', async () => {
    const { project_id: id } = await get<Project>(root, '/projects/hidden');
    const stranger = people.client('stranger');
    for (const path of [
      '',
      '/members',
      '/repositories',
      '/repositories/app/artifacts',
      '/repositories/app/artifacts/v1/tags',
      '/summary',
    ]) {
      for (const name of ['hidden', 'nowhere', id])
        expect([path, name, await refused(stranger, 'GET', `/projects/${name}${path}`)]).toEqual([path, name, '404 NOT_FOUND']);
    }
    for (const name of ['hidden', 'nowhere']) expect((await harbor(stranger, 'HEAD', `/projects?project_name=${name}`)).status).toBe(404);
  });
});

it('members are added by role number, listed, changed and removed, within the rights of who does it', async () => {
  const alice = people.client('alice');
  const made = await harbor(alice, 'POST', '/projects/demo/members', { role_id: 2, member_user: { username: 'bob' } });
  const { project_id: project } = await get<Project>(alice, '/projects/demo');
  expect([made.status, made.headers.get('location')]).toEqual([201, expect.stringMatching(/^\/api\/v2\.0\/projects\/demo\/members\/\d+$/)]);
  const [bob] = await get<{ id: number }[]>(alice, '/projects/demo/members?entityname=bob');
  expect(bob).toMatchObject({ project_id: project, entity_name: 'bob', entity_type: 'u', role_id: 2, role_name: 'developer' });
  expect((await harbor(alice, 'PUT', `/projects/${project}/members/${bob?.id}`, { role_id: 5 })).status).toBe(200);
  expect(await get(alice, `/projects/demo/members/${bob?.id}`)).toMatchObject({ role_name: 'limitedGuest' });
  expect(await refused(people.client('bob'), 'POST', '/projects/demo/members', { role_id: 1, member_user: { username: 'stranger' } })).toBe(
    '403 FORBIDDEN',
  );
  expect(await refused(root, 'PUT', `/projects/hidden/members/${bob?.id}`, { role_id: 1 })).toBe('404 NOT_FOUND');
  expect(await refused(alice, 'POST', '/projects/demo/members', { role_id: 9, member_user: { username: 'stranger' } })).toBe(
    '400 BAD_REQUEST',
  );
  expect((await harbor(alice, 'DELETE', `/projects/demo/members/${bob?.id}`)).status).toBe(200);
  expect(await refused(people.client('bob'), 'GET', '/projects/demo')).toBe('404 NOT_FOUND');
});

it('repositories are listed, and read by a name that is encoded twice', async () => {
  const alice = people.client('alice');
  const list = await harbor(alice, 'GET', '/projects/demo/repositories?page_size=2&sort=-name');
  expect(names(list.json<{ name: string }[]>())).toEqual(['demo/team/web', 'demo/team/api']);
  expect(list.headers.get('x-total-count')).toBe('3');
  expect(names(await get(alice, '/projects/demo/repositories?q=name%3D~team'))).toEqual(['demo/team/api', 'demo/team/web']);
  expect(names(await get(alice, '/repositories'))).toEqual(['demo/app', 'demo/team/api', 'demo/team/web']);
  for (const name of ['team%252Fapi', 'team%2Fapi']) {
    expect(await get(alice, `/projects/demo/repositories/${name}`)).toMatchObject({
      name: 'demo/team/api',
      artifact_count: 1,
      pull_count: 0,
    });
    expect((await get<Artifact[]>(alice, `/projects/demo/repositories/${name}/artifacts`)).length).toBe(1);
  }
  expect((await harbor(alice, 'PUT', '/projects/demo/repositories/app', { description: 'the app' })).status).toBe(200);
  expect(await get(alice, '/projects/demo/repositories/app')).toMatchObject({ description: 'the app' });
  await root.pushImage('demo/gone', 'v1');
  expect((await harbor(alice, 'DELETE', '/projects/demo/repositories/gone')).status).toBe(200);
  expect(await refused(alice, 'GET', '/projects/demo/repositories/gone')).toBe('404 NOT_FOUND');
});

it('artifacts and tags are listed, tagged and deleted', async () => {
  const alice = people.client('alice');
  const base = '/projects/demo/repositories/images/artifacts';
  const { digest } = await root.pushImage('demo/images', 'v1');
  const second = await root.pushImage('demo/images', 'v2');
  const untagged = await root.pushImage('demo/images', sha256('x') && 'gone');
  const list = async (query = '') => (await get<Artifact[]>(alice, `${base}?${query}`)).map((artifact) => artifact.digest);
  expect(await list('page_size=2')).toEqual([untagged.digest, second.digest]);
  expect(await list('page_size=2&page=2&with_tag=true&with_scan_overview=true')).toEqual([digest]);
  expect(await list('q=tags%3Dv1')).toEqual([digest]);
  expect(await list(`q=digest%3D${second.digest}`)).toEqual([second.digest]);
  expect((await harbor(alice, 'DELETE', `${base}/gone/tags/gone`)).status).toBe(200);
  expect(await list('q=tags%3Dnil')).toEqual([untagged.digest]);
  expect(await list('q=tags%253Dnil')).toEqual([untagged.digest]);
  expect(await get(alice, `${base}/v1`)).toMatchObject({
    ...{ digest, type: 'IMAGE', manifest_media_type: 'application/vnd.oci.image.manifest.v1+json', repository_name: 'demo/images' },
    ...{ media_type: 'application/vnd.oci.image.config.v1+json', extra_attrs: { os: 'linux', architecture: 'amd64' } },
    tags: [{ name: 'v1', immutable: false }],
  });
  const tagged = await harbor(alice, 'POST', `${base}/${digest}/tags`, { name: 'stable' });
  expect([tagged.status, tagged.headers.get('location')]).toEqual([201, `/api/v2.0${base}/${digest}/tags/stable`]);
  expect(await refused(alice, 'POST', `${base}/v2/tags`, { name: 'stable' })).toBe('409 CONFLICT');
  expect(names(await get(alice, `${base}/v1/tags`))).toEqual(['stable', 'v1']);
  // A tag is found under the artifact that it points at, and no other (attack class C2).
  expect(await refused(alice, 'DELETE', `${base}/v2/tags/stable`)).toBe('404 NOT_FOUND');
  expect((await harbor(alice, 'DELETE', `${base}/${digest}/tags/stable`)).status).toBe(200);
  expect(names(await get(alice, `${base}/v1/tags`))).toEqual(['v1']);
  expect(await refused(alice, 'POST', `${base}/v1/scan`)).toBe('412 PRECONDITION');
  expect(await refused(alice, 'GET', `${base}/v1/additions/vulnerabilities`)).toBe('404 NOT_FOUND');
  expect((await harbor(alice, 'DELETE', `${base}/${untagged.digest}`)).status).toBe(200);
  expect(await list()).toEqual([second.digest, digest]);

  const index = await root.pushManifest('demo/images', 'multi', {
    ...{ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json' },
    manifests: [
      {
        ...{
          mediaType: 'application/vnd.oci.image.manifest.v1+json',
          digest,
          size: (await root.request('GET', `/v2/demo/images/manifests/${digest}`)).bytes.length,
        },
        platform: { os: 'linux', architecture: 'arm64' },
      },
    ],
  });
  expect(await get(alice, `${base}/multi`)).toMatchObject({
    digest: index.digest,
    references: [{ child_digest: digest, platform: { os: 'linux', architecture: 'arm64' } }],
  });
  expect(await refused(alice, 'DELETE', `${base}/${digest}`)).toBe('412 VIOLATE_FOREIGN_KEY_CONSTRAINT');
});

describe('robots', () => {
  interface Robot {
    readonly id: number;
    readonly name: string;
    readonly secret: string;
  }
  const wanted = (name: string, namespace = 'demo', action = 'push') => ({
    ...{ name, level: 'project', duration: -1 },
    permissions: [
      {
        kind: 'project',
        namespace,
        access: [
          { resource: 'repository', action: 'pull' },
          { resource: 'repository', action },
        ],
      },
    ],
  });

  it('of a project are made, used, given another secret and deleted', async () => {
    const alice = people.client('alice');
    const made = await harbor(alice, 'POST', '/robots', wanted('ci'));
    expect(made.status).toBe(201);
    const { id, name, secret } = made.json<Robot>();
    expect(made.headers.get('location')).toBe(`/api/v2.0/robots/${id}`);
    const robot = (password: string) => new Client(server.url, basic(name, password));
    await robot(secret).pushImage('demo/by-robot', 'v1');
    expect(await get(alice, `/robots/${id}`)).toMatchObject({
      ...{ id, name, level: 'project', disable: false, duration: -1, expires_at: -1 },
      permissions: [
        {
          kind: 'project',
          namespace: 'demo',
          access: [
            { resource: 'repository', action: 'pull' },
            { resource: 'repository', action: 'push' },
          ],
        },
      ],
    });
    const { project_id: project } = await get<Project>(alice, '/projects/demo');
    const list = await harbor(alice, 'GET', `/robots?q=Level%3Dproject,ProjectID%3D${project}`);
    expect(names(list.json<Robot[]>())).toEqual([name]);
    expect(list.bytes.toString()).not.toContain(secret);
    const fresh = (await harbor(alice, 'PATCH', `/robots/${id}`, { secret: '' })).json<Robot>().secret;
    await robot(fresh).pushImage('demo/by-robot', 'v2');
    expect((await robot(secret).request('GET', '/v2/')).status).toBe(401);
    expect((await harbor(alice, 'PUT', `/robots/${id}`, { ...wanted('ci'), disable: true })).status).toBe(200);
    expect((await robot(fresh).request('GET', '/v2/')).status).toBe(401);
    expect((await harbor(alice, 'DELETE', `/robots/${id}`)).status).toBe(200);
    expect(await refused(alice, 'GET', `/robots/${id}`)).toBe('404 NOT_FOUND');
  });

  it('are for those who manage them, and never get more than these hold', async () => {
    const { id } = (await harbor(root, 'POST', '/robots', wanted('other', 'hidden'))).json<Robot>();
    for (const client of [people.client('alice'), people.client('stranger')]) {
      for (const [method, body] of [['GET'], ['DELETE'], ['PATCH', { secret: '' }], ['PUT', wanted('other', 'hidden')]] as const) {
        expect(await refused(client, method, `/robots/${id}`, body)).toBe('404 NOT_FOUND');
      }
      expect(await refused(client, 'POST', '/robots', wanted('mine', 'hidden'))).toBe('404 NOT_FOUND');
      expect(await refused(client, 'POST', '/robots', { ...wanted('mine', '*'), level: 'system' })).toBe('403 FORBIDDEN');
      expect(await refused(client, 'GET', '/robots')).toBe('403 FORBIDDEN');
    }
    expect(await refused(Client.anonymous(server.url), 'POST', '/robots', wanted('mine'))).toBe('401 UNAUTHORIZED');
    const two = { ...wanted('two'), permissions: [...wanted('two').permissions, ...wanted('two', 'hidden').permissions] };
    expect(await refused(people.client('alice'), 'POST', '/robots', two)).toMatch(/^40[03] /);
  });

  it('show a secret once, also to who repeats a request', async () => {
    const make = () => harbor(root, 'POST', '/robots', wanted('repeated'), { 'Idempotency-Key': 'robot-once' });
    const [first, again] = [await make(), await make()];
    expect([first.status, again.status]).toEqual([201, 201]);
    expect(first.json<Robot>().secret.length).toBeGreaterThan(20);
    expect(again.json()).toEqual({ ...first.json<Robot>(), secret: undefined });
  });
});

it('writes the same audit records, and keys of one face are none of the other', async () => {
  const key = { 'Idempotency-Key': 'both-faces' };
  expect((await harbor(root, 'POST', '/projects', { project_name: 'face-one' }, key)).status).toBe(201);
  const other = await root.request('POST', '/api/v1/projects', {
    headers: { 'Content-Type': 'application/json', ...key },
    body: JSON.stringify({ name: 'face-two' }),
  });
  expect(other.status).toBe(201);
  expect(names(await everyItem(root, '/projects?name=face-'))).toEqual(['face-one', 'face-two']);
  const document = await (await root.request('GET', '/api/openapi.json')).bytes.toString();
  expect(document).not.toContain('/api/v2.0');
});

describe('rules', () => {
  it('of immutable tags are made, listed, changed and hold', async () => {
    const rules = '/projects/demo/immutabletagrules';
    const body = {
      tag_selectors: [{ kind: 'doublestar', decoration: 'matches', pattern: 'rel-*' }],
      scope_selectors: { repository: [{ kind: 'doublestar', decoration: 'repoMatches', pattern: 'team/**' }] },
    };
    const made = await harbor(people.client('alice'), 'POST', rules, body);
    expect(made.status).toBe(201);
    const location = made.headers.get('location') ?? '';
    expect(location).toMatch(/^\/api\/v2\.0\/projects\/demo\/immutabletagrules\/\d+$/);
    const [rule] = await get<Record<string, unknown>[]>(root, rules);
    expect(rule).toMatchObject({ ...body, disabled: false, action: 'immutable', template: 'immutable_template' });
    for (const name of ['demo/team/api', 'demo/app']) await root.pushImage(name, 'rel-1');
    expect((await root.request('DELETE', '/v2/demo/team/api/manifests/rel-1')).status).toBe(409);
    expect((await root.request('DELETE', '/v2/demo/app/manifests/rel-1')).status).toBe(202);
    const path = location.slice('/api/v2.0'.length);
    expect((await harbor(root, 'PUT', path, { ...body, id: rule?.id, disabled: true })).status).toBe(200);
    expect((await root.request('DELETE', '/v2/demo/team/api/manifests/rel-1')).status).toBe(202);
    expect(await refused(people.client('bob'), 'POST', rules, body)).toBe('404 NOT_FOUND');
    expect(await refused(root, 'POST', rules, { tag_selectors: [{ kind: 'regex', pattern: '.*' }] })).toBe('400 BAD_REQUEST');
    expect(await refused(root, 'PUT', path.replace('/demo/', '/open/'), body)).toBe('404 NOT_FOUND');
    expect((await harbor(root, 'DELETE', path)).status).toBe(200);
    expect(await get(root, rules)).toEqual([]);
  });

  it('of retention are made for a project, read, changed, run and deleted', async () => {
    const { project_id: id } = await get<{ project_id: number }>(root, '/projects/demo');
    const rule = {
      ...{ action: 'retain', template: 'latestPushedK', params: { latestPushedK: 1 } },
      tag_selectors: [{ kind: 'doublestar', decoration: 'matches', pattern: 'old-*', extras: '{"untagged":true}' }],
      scope_selectors: { repository: [{ kind: 'doublestar', decoration: 'repoMatches', pattern: 'kept' }] },
    };
    const trigger = { kind: 'Schedule', references: {}, settings: { cron: '0 0 3 * * *' } };
    const policy = { algorithm: 'or', rules: [rule], trigger, scope: { level: 'project', ref: id } };
    const alice = people.client('alice');
    const made = await harbor(alice, 'POST', '/retentions', policy);
    expect(made.status).toBe(201);
    const path = (made.headers.get('location') ?? '').slice('/api/v2.0'.length);
    const { metadata } = await get<{ metadata: { retention_id: string } }>(root, '/projects/demo');
    expect(path).toBe(`/retentions/${metadata.retention_id}`);
    const { extras: _, ...selector } = rule.tag_selectors[0] ?? { extras: '' };
    expect(await get(alice, path)).toMatchObject({
      algorithm: 'or',
      trigger,
      scope: policy.scope,
      rules: [{ ...rule, tag_selectors: [selector] }],
    });
    expect(await refused(root, 'POST', '/retentions', policy)).toBe('409 CONFLICT');
    for (const client of [people.client('stranger'), people.client('bob')]) {
      expect(await refused(client, 'GET', path)).toBe('404 NOT_FOUND');
      expect(await refused(client, 'POST', '/retentions', policy)).toBe('404 NOT_FOUND');
    }
    for (const tag of ['old-1', 'old-2']) await root.pushImage('demo/kept', tag);
    const run = await harbor(alice, 'POST', `${path}/executions`, { dry_run: false });
    expect(run.status).toBe(201);
    const runs = () => get<{ status: string; dry_run: boolean }[]>(root, `${path}/executions`);
    await expect.poll(async () => (await runs())[0]?.status, { timeout: 30_000 }).toBe('Succeed');
    expect((await root.request('GET', '/v2/demo/kept/tags/list')).json<{ tags: string[] }>().tags).toEqual(['old-2']);
    expect((await harbor(root, 'PUT', path, { ...policy, rules: [{ ...rule, template: 'always', params: {} }] })).status).toBe(200);
    expect(await get(root, path)).toMatchObject({ rules: [{ template: 'always', params: {} }] });
    expect(await refused(root, 'PUT', path, { ...policy, rules: [{ ...rule, disabled: true }] })).toBe('400 BAD_REQUEST');
    expect(await refused(root, 'PATCH', `${path}/executions/1`, { action: 'start' })).toBe('400 BAD_REQUEST');
    expect((await harbor(root, 'DELETE', path)).status).toBe(200);
    expect(await refused(root, 'GET', path)).toBe('404 NOT_FOUND');
  });

  it('of garbage collection are what they are: it runs by itself, and at once where that is asked for', async () => {
    expect(await get(root, '/system/gc/schedule')).toMatchObject({ schedule: { type: 'Custom', cron: '0 * * * * *' } });
    const asked = await harbor(root, 'POST', '/system/gc/schedule', { schedule: { type: 'Manual' }, parameters: { dry_run: false } });
    expect(asked.status).toBe(201);
    const path = (asked.headers.get('location') ?? '').slice('/api/v2.0'.length);
    await expect.poll(async () => (await get<{ job_status: string }>(root, path)).job_status, { timeout: 30_000 }).toBe('Success');
    expect(await get(root, '/system/gc')).toMatchObject([{ job_name: 'GARBAGE_COLLECTION', job_status: 'Success' }]);
    expect(await refused(root, 'POST', '/system/gc/schedule', { schedule: { type: 'Daily', cron: '0 0 0 * * *' } })).toBe(
      '400 BAD_REQUEST',
    );
    expect(
      await refused(root, 'POST', '/system/gc/schedule', { schedule: { type: 'Manual' }, parameters: { delete_untagged: true } }),
    ).toBe('400 BAD_REQUEST');
    expect(await refused(people.client('alice'), 'GET', '/system/gc')).toBe('403 FORBIDDEN');
    expect(await refused(root, 'GET', '/system/gc/999999')).toBe('404 NOT_FOUND');
  });
});
