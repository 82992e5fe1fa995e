import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOf } from '@entrepot/oci';
import type { TSchema } from 'typebox';
import Value from 'typebox/value';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { assign, createUser, hashPassword, setMember } from './access/index.ts';
import { type Instance, openDatabase, startApp } from './app.ts';
import { createProject, ensureRepository, findProject, putManifest } from './catalog/index.ts';
import { AppError, loadConfig, type Route } from './platform/index.ts';

// The authorization matrix: every route of the management API, asked by every kind of identity, of a project of their own, a
// foreign one, a public one and none, for an object that is there and one that is not. What is allowed is written nowhere but
// in the roles' table and the routes' permissions; what comes of them stands in the golden file, to be read by people.
// `npx vitest run authorization -u` writes it anew.

const PASSWORD = 'a password for every user of this test';
const REACHED = 'the change was carried out, and taken back';
const PROJECTS = ['own', 'foreign', 'open', 'none'] as const;
const BY_ROLE = ['limited-guest', 'guest', 'developer', 'maintainer', 'admin'] as const;
/** Who asks, in the order of the columns. */
const IDENTITIES = [
  'anonymous',
  'stranger',
  ...BY_ROLE,
  'by-pattern',
  'by-group',
  'creator',
  'auditor',
  'root',
  'robot',
  'limited-key',
] as const;

let folder: string;
let app: Instance;
let base: string;
let routes: readonly Route[] = [];
const credentials = new Map<string, string>();

/** The route as it is, but what it does is taken back, and what it prepares outside is not done at all. */
function withoutEffect(route: Route): Route {
  if ('handle' in route) return route;
  return {
    ...route,
    ...(route.prepare ? { prepare: () => Promise.reject(new AppError('conflict', REACHED)) } : {}),
    async change(tx, call, prepared) {
      await route.change(tx, call, prepared);
      throw new AppError('conflict', REACHED);
    },
  };
}

const basic = (name: string, password: string) => `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;

async function ask(who: string, method: string, path: string, body?: unknown): Promise<Response> {
  const authorization = credentials.get(who);
  return await fetch(`${base}${path}`, {
    method,
    headers: {
      ...(authorization === undefined ? {} : { authorization }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    redirect: 'manual',
    signal: AbortSignal.timeout(30_000),
  });
}

async function made(path: string, body: unknown, by = 'root'): Promise<Record<string, unknown>> {
  const answer = await ask(by, 'POST', path, body);
  expect([path, answer.status, answer.ok ? '' : await answer.text()]).toEqual([path, 201, '']);
  return (await answer.json()) as Record<string, unknown>;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'entrepot-matrix-'));
  const config = loadConfig({ env: {}, flags: { dataDir: folder, listen: '127.0.0.1:0', logLevel: 'silent' } });
  const database = await openDatabase(config, { checkpoint: false });
  const hash = await hashPassword(PASSWORD);
  const now = Date.now();
  await database.write(async (tx) => {
    for (const name of ['own', 'foreign', 'open']) {
      await createProject(tx, { name, public: name === 'open', by: 'test', now });
      const repository = await ensureRepository(tx, `${name}/app`, 'test', now);
      const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [] }));
      const mediaType = 'application/vnd.oci.image.index.v1+json';
      const manifest = {
        kind: 'index' as const,
        mediaType,
        blobs: [],
        children: [],
        subject: undefined,
        artifactType: undefined,
        annotations: undefined,
      };
      const sparse = { children: false, blobs: false };
      await putManifest(tx, {
        repositoryId: repository.id,
        digest: digestOf(bytes),
        bytes,
        manifest,
        tags: ['v1', 'gone'],
        sparse,
        by: 'test',
        now,
      });
    }
    const ids = new Map<string, number>();
    for (const name of ['root', 'stranger', 'owner', 'by-pattern', 'by-group', 'creator', 'auditor', ...BY_ROLE]) {
      const id = await createUser(tx, { name: name === 'admin' ? 'boss' : name, hash, admin: name === 'root', now });
      ids.set(name, id ?? 0);
      credentials.set(name, basic(name === 'admin' ? 'boss' : name, PASSWORD));
    }
    const by = 'test';
    for (const role of BY_ROLE) await setMember(tx, { project: 'own', user: role === 'admin' ? 'boss' : role, role, by, now });
    await setMember(tx, { project: 'foreign', user: 'owner', role: 'admin', by, now });
    const own = await findProject(tx, 'own');
    const subject = (name: string) => ({ kind: 'user', id: ids.get(name) ?? 0 }) as const;
    await assign(tx, { subject: subject('by-pattern'), role: 'developer', projectId: own?.id ?? 0, pattern: 'own/a*', by, now });
    await assign(tx, { subject: subject('creator'), role: 'project-creator', by, now });
    await assign(tx, { subject: subject('auditor'), role: 'auditor', by, now });
  });
  await database.close();
  const adapt = (all: readonly Route[]) => {
    routes = all;
    return seeding ? all : all.map(withoutEffect);
  };
  let seeding = true;
  const start = async () => {
    app = await startApp(config, { shared: false, leader: true, holder: 'test' }, adapt);
    base = `http://127.0.0.1:${app.port}/api/v1`;
  };
  await start();
  await seed();
  await app.stop();
  seeding = false;
  await start();
  await ask('root', 'GET', '/projects');
}, 120_000);

afterAll(async () => {
  await app.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** One object of each kind in each project, made as a user would. */
async function seed(): Promise<void> {
  await made('/groups', { name: 'team' });
  const { status } = await ask('root', 'PUT', '/groups/team/members/by-group');
  expect(status).toBeLessThan(300);
  await made('/projects/own/members', { kind: 'group', name: 'team', role: 'developer' });
  await made('/roles', { name: 'tagger', permissions: ['tag:create'] });
  const statements = [{ effect: 'allow', actions: ['tag:create'], resources: ['project:open'] }];
  await made('/policies', { name: 'tagging', document: { statements } });

  const policy = await made('/retention-policies', { name: 'nightly', enabled: false });
  expect((await ask('root', 'POST', `/retention-policies/${policy.id}/runs`, { dryRun: true })).status).toBe(202);
  await made('/immutability-rules', { name: 'never', tags: { include: ['never'] } });
  await made('/webhooks', { name: 'ci', url: 'https://ci.example.com/' });
  for (const project of ['own', 'foreign', 'open']) {
    await made(`/projects/${project}/webhooks`, { name: 'ci', url: 'https://ci.example.com/' });
    await made(`/projects/${project}/immutability-rules`, { name: 'never', tags: { include: ['never'] } });
    const { id } = await made(`/projects/${project}/retention-policies`, { name: 'nightly', enabled: false });
    expect((await ask('root', 'POST', `/projects/${project}/retention-policies/${id}/runs`, { dryRun: true })).status).toBe(202);
    const deleted = await ask('root', 'DELETE', `/projects/${project}/repositories/app/tags/gone`);
    expect(deleted.status).toBe(204);
    const robot = await made(`/projects/${project}/robots`, { name: 'ci', rights: [{ role: 'developer', project }] });
    if (project === 'own') credentials.set('robot', basic(String(robot.login), String(robot.secret)));
    await made(`/projects/${project}/robots/${robot.id}/keys`, {});
    const trust = { name: 'ci', issuer: 'https://ci.example.com', audience: 'registry', condition: 'claims.sub == "ci"' };
    await made(`/projects/${project}/robots/${robot.id}/trust-rules`, trust);
  }
  const limits = [{ project: 'own', permissions: ['project:read', 'repository:list', 'repository:pull', 'artifact:read', 'tag:list'] }];
  const key = await made('/access-keys', { name: 'limited', limits }, 'admin');
  credentials.set('limited-key', `Bearer ${key.secret}`);
}

/** The first thing that a list shows, as its own path names it. */
async function sampleOf(listPath: string, project: string): Promise<string | undefined> {
  const answer = await ask('root', 'GET', listPath);
  if (!answer.ok) return undefined;
  const { items } = (await answer.json()) as { items?: readonly Record<string, string | number | undefined>[] };
  const [item] = items ?? [];
  const key = item?.id ?? item?.seq ?? item?.name ?? item?.digest;
  // A repository is named in full, and below its project's path without that.
  return key === undefined ? undefined : encodeURIComponent(String(key).replace(`${project}/`, ''));
}

/** The path with every parameter replaced by something that is there; undefined where nothing of the kind is. */
async function existing(path: string, project: string): Promise<string | undefined> {
  let done = '';
  for (const part of path.split('/').slice(1)) {
    const isParameter = part.startsWith(':');
    const found = !isParameter ? part : part === ':project' ? project : await sampleOf(done, project);
    if (found === undefined) return undefined;
    done += `/${found}`;
  }
  return done;
}

/** The path with the last parameter replaced by what is not there; undefined where the project is its only one. */
function missing(route: Route, path: string): string | undefined {
  const template = route.path.split('/');
  const at = template.findLastIndex((part) => part.startsWith(':'));
  if (at < 0 || template[at] === ':project') return undefined;
  const name = template[at]?.slice(1) ?? '';
  const schema = (route.params as { properties?: Record<string, { type?: string }> } | undefined)?.properties?.[name];
  const parts = path.split('/');
  parts[at] = schema?.type === 'integer' ? '999999' : 'missing';
  return parts.join('/');
}

/** What an answer says of the caller's right: `ok` where it has it, whatever was then wrong with the input. */
async function verdictOf(answer: Response): Promise<string> {
  const { status } = answer;
  if (status >= 500) return `${status} ${await answer.text()}`;
  await answer.body?.cancel();
  return status === 401 || status === 403 || status === 404 ? String(status) : 'ok';
}

/** The least that a route's schema takes, where that can be told from it; what is refused for its body was allowed before. */
function bodyOf({ body }: Route): unknown {
  if (body === undefined) return undefined;
  try {
    return Value.Create(body as TSchema);
  } catch {
    return {};
  }
}

const HEADER = `${'route'.padEnd(90)}${IDENTITIES.map((name) => name.padStart(14)).join('')}`;

test('who may use which route of the management API', async () => {
  const lines = [HEADER];
  let cells = 0;
  for (const route of [...routes].sort((a, b) => (a.path === b.path ? a.method.localeCompare(b.method) : a.path < b.path ? -1 : 1))) {
    const inProject = route.path.startsWith('/projects/:project');
    for (const project of inProject ? PROJECTS : ['']) {
      const there = await existing(route.path, project);
      const paths: [string, string | undefined][] = [
        ['', there],
        ['(missing)', missing(route, there ?? route.path.replace(':project', project).replaceAll(/:\w+/g, 'missing'))],
      ];
      for (const [note, path] of paths) {
        if (path === undefined) continue;
        const found: string[] = [];
        for (const who of IDENTITIES) found.push(await verdictOf(await ask(who, route.method, path, bodyOf(route))));
        cells += found.length;
        const title = `${route.method} ${route.path} ${project} ${note}`;
        lines.push(`${title.padEnd(90)}${found.map((verdict) => verdict.padStart(14)).join('')}`);
      }
    }
  }
  expect(cells).toBeGreaterThan(2000);
  await expect(`${lines.join('\n')}\n`).toMatchFileSnapshot('../golden/authorization.txt');
}, 300_000);

const DIGEST = digestOf('nothing of the kind');
/** What changes nothing even where it is allowed: for each route of the distribution API something that is there, and something that is not. */
const REGISTRY: readonly [method: string, path: string, note: string][] = [
  ...['GET', 'HEAD'].flatMap((method): [string, string, string][] => [
    [method, 'manifests/v1', ''],
    [method, 'manifests/missing', '(missing)'],
    [method, `blobs/${DIGEST}`, '(missing)'],
  ]),
  ['PUT', 'manifests/v1', ''],
  ['PUT', 'manifests/missing', '(missing)'],
  ['DELETE', 'manifests/missing', '(missing)'],
  ['DELETE', `blobs/${DIGEST}`, '(missing)'],
  ['POST', 'blobs/uploads/', ''],
  ['POST', `blobs/uploads/?mount=${DIGEST}&from=foreign/app`, '(mount)'],
  ...['GET', 'PATCH', 'PUT', 'DELETE'].map((method): [string, string, string] => [
    method,
    `blobs/uploads/missing?digest=${DIGEST}`,
    '(missing)',
  ]),
  ['GET', 'tags/list', ''],
  ['GET', `referrers/${DIGEST}`, ''],
];

test('who may do what over the distribution API', async () => {
  const lines = [HEADER];
  const at = base.replace('/api/v1', '/v2');
  const look = async (title: string, method: string, path: string) => {
    const found: string[] = [];
    for (const who of IDENTITIES) {
      const authorization = credentials.get(who);
      const headers = { ...(authorization === undefined ? {} : { authorization }) };
      const body = method === 'PUT' || method === 'PATCH' ? { body: '{' } : {};
      found.push(await verdictOf(await fetch(at + path, { method, headers, ...body })));
    }
    lines.push(`${title.padEnd(90)}${found.map((verdict) => verdict.padStart(14)).join('')}`);
  };
  for (const path of ['/', '/_catalog']) await look(`GET /v2${path}`, 'GET', path);
  for (const [method, path, note] of REGISTRY) {
    for (const project of PROJECTS) {
      for (const repository of ['app', 'other']) {
        const title = `${method} ${path.replace(DIGEST, '<digest>')} ${project}/${repository} ${note}`;
        await look(title, method, `/${project}/${repository}/${path}`);
      }
    }
  }
  await expect(`${lines.join('\n')}\n`).toMatchFileSnapshot('../golden/authorization-v2.txt');
}, 300_000);
