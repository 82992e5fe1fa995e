import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createUser, hashPassword } from './access/index.ts';
import type { HarborParts } from './api/harbor/parts.ts';
import { harborSurface } from './api/harbor/surface.ts';
import { type Instance, openDatabase, startApp } from './app.ts';
import { loadConfig, type Route } from './platform/index.ts';

// Attack class F2: whatever moves or removes tags, manifests, repositories or projects is asked to do so with what a rule
// holds, and refuses. A way that is not in the table below fails the last test.

const PASSWORD = 'a password for the root of this test';
const MEDIA_TYPE = 'application/vnd.oci.image.index.v1+json';
const indexOf = (note: string) => JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPE, manifests: [], annotations: { note } });
const digestOf = (text: string) => `sha256:${createHash('sha256').update(text).digest('hex')}`;
const [KEPT, OTHER] = [indexOf('kept'), indexOf('other')];

const REST = '/api/v1/projects/demo';
const HARBOR = '/api/v2.0/projects/demo';

let folder: string;
let app: Instance;
let routes: readonly Route[] = [];
let trashed: number;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'entrepot-immutable-'));
  const config = loadConfig({ env: {}, flags: { dataDir: folder, listen: '127.0.0.1:0', logLevel: 'silent' } });
  const database = await openDatabase(config, { checkpoint: false });
  const hash = await hashPassword(PASSWORD);
  await database.write((tx) => createUser(tx, { name: 'root', hash, admin: true, now: Date.now() }));
  await database.close();
  app = await startApp(config, { shared: false, leader: true, holder: 'test' }, (all) => (routes = all));
  await must(201, 'POST', '/api/v1/projects', { name: 'demo' });
  // Deleted while nothing forbade it, so that the trash has what it pointed at before.
  await must(201, 'PUT', '/v2/demo/app/manifests/v1', OTHER);
  await must(202, 'DELETE', '/v2/demo/app/manifests/v1');
  const trash = (await must(200, 'GET', `${REST}/trash?kind=tag&name=v1`)) as { items: { id: number }[] };
  trashed = trash.items[0]?.id ?? 0;
  await must(201, 'PUT', '/v2/demo/app/manifests/v1', KEPT);
  await must(201, 'PUT', '/v2/demo/app/manifests/other', OTHER);
  const tags = { include: ['release', 'v*'] };
  await must(201, 'POST', '/api/v1/projects/demo/immutability-rules', { name: 'releases', tags });
});
afterAll(async () => {
  await app.stop();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  await must(201, 'PUT', '/v2/demo/app/manifests/other', OTHER); // what an attempt before may have taken
});

async function ask(method: string, path: string, body?: unknown): Promise<Response> {
  const authorization = `Basic ${Buffer.from(`root:${PASSWORD}`).toString('base64')}`;
  const isManifest = typeof body === 'string';
  return await fetch(`http://127.0.0.1:${app.port}${path}`, {
    method,
    headers: { authorization, ...(body === undefined ? {} : { 'content-type': isManifest ? MEDIA_TYPE : 'application/json' }) },
    ...(body === undefined ? {} : { body: isManifest ? body : JSON.stringify(body) }),
  });
}

async function must(status: number, method: string, path: string, body?: unknown): Promise<unknown> {
  const answer = await ask(method, path, body);
  const text = await answer.text();
  expect([method, path, answer.status, answer.status === status ? '' : text]).toEqual([method, path, status, '']);
  return text === '' ? undefined : JSON.parse(text);
}

const [kept, other] = [digestOf(KEPT), digestOf(OTHER)];

/** Each way: its route, and what is asked of it. */
const WAYS: [route: string, method: string, path: string, body?: unknown][] = [
  ['v2 PUT manifest', 'PUT', '/v2/demo/app/manifests/v1', OTHER],
  ['v2 PUT manifest', 'PUT', `/v2/demo/app/manifests/${other}?tag=free&tag=v1`, OTHER],
  ['v2 PUT manifest', 'PUT', '/v2/demo/app/manifests/v1', indexOf('new')],
  ['v2 DELETE manifest', 'DELETE', '/v2/demo/app/manifests/v1'],
  ['v2 DELETE manifest', 'DELETE', `/v2/demo/app/manifests/${kept}`],
  ['PUT /projects/:project/repositories/:repository/tags/:tag', 'PUT', `${REST}/repositories/app/tags/v1`, { digest: other }],
  ['DELETE /projects/:project/repositories/:repository/tags/:tag', 'DELETE', `${REST}/repositories/app/tags/v1`],
  [
    'POST /projects/:project/repositories/:repository/tags/delete',
    'POST',
    `${REST}/repositories/app/tags/delete`,
    { tags: ['other', 'v1'] },
  ],
  ['DELETE /projects/:project/repositories/:repository/artifacts/:reference', 'DELETE', `${REST}/repositories/app/artifacts/v1`],
  ['DELETE /projects/:project/repositories/:repository/artifacts/:reference', 'DELETE', `${REST}/repositories/app/artifacts/${kept}`],
  [
    'POST /projects/:project/repositories/:repository/artifacts/delete',
    'POST',
    `${REST}/repositories/app/artifacts/delete`,
    { references: ['other', 'v1'] },
  ],
  ['DELETE /projects/:project/repositories/:repository', 'DELETE', `${REST}/repositories/app`],
  ['POST /projects/:project/trash/:item/restore', 'POST', `${REST}/trash/TRASHED/restore`, { replace: true }],
  ['POST /projects/:project/trash/:item/restore', 'POST', `${REST}/trash/TRASHED/restore`, {}],
  ['POST /projects/:project/trash/restore', 'POST', `${REST}/trash/restore`, () => ({ items: [trashed], replace: true })],
  [
    'POST /projects/:project/repositories/:repository/tags/:tag/roll-back',
    'POST',
    `${REST}/repositories/app/tags/v1/roll-back`,
    { digest: other },
  ],
  [
    'DELETE /projects/:project/repositories/:repository/artifacts/:reference',
    'DELETE',
    `${REST}/repositories/app/artifacts/v1?referrers=true&children=true`,
  ],
  ['DELETE /projects/:project', 'DELETE', REST],
  ['harbor DELETE /projects/:project/repositories/:repository', 'DELETE', `${HARBOR}/repositories/app`],
  ['harbor DELETE /projects/:project', 'DELETE', HARBOR],
  [
    'harbor DELETE /projects/:project/repositories/:repository/artifacts/:reference',
    'DELETE',
    `${HARBOR}/repositories/app/artifacts/${kept}`,
  ],
  [
    'harbor DELETE /projects/:project/repositories/:repository/artifacts/:reference/tags/:tag',
    'DELETE',
    `${HARBOR}/repositories/app/artifacts/${kept}/tags/v1`,
  ],
  [
    'harbor POST /projects/:project/repositories/:repository/artifacts/:reference/tags',
    'POST',
    `${HARBOR}/repositories/app/artifacts/${other}/tags`,
    { name: 'v1' },
  ],
];

test.each(WAYS)('F2: %s (%s %s) leaves what a rule holds', async (_, method, path, body) => {
  const answer = await ask(method, path.replace('TRASHED', String(trashed)), typeof body === 'function' ? (body as () => unknown)() : body);
  const text = await answer.text();
  expect([409, 412], text).toContain(answer.status);
  const found = await ask('HEAD', '/v2/demo/app/manifests/v1');
  expect([found.status, found.headers.get('docker-content-digest')]).toEqual([200, kept]);
  expect((await ask('HEAD', '/v2/demo/app/manifests/other')).headers.get('docker-content-digest')).toBe(other); // nothing of it was done
});

test('the refusal names the rule: as what clients of images show, and as a problem', async () => {
  const pushed = await ask('PUT', '/v2/demo/app/manifests/v1', OTHER);
  expect(await pushed.json()).toEqual({
    errors: [
      {
        code: 'DENIED',
        message: 'tag v1 is immutable by rule releases of the project; it can be neither moved nor deleted',
        detail: { tag: 'v1', rule: { id: expect.any(Number), name: 'releases', system: false } },
      },
    ],
  });
  const moved = await ask('PUT', `${REST}/repositories/app/tags/v1`, { digest: other });
  expect(await moved.json()).toMatchObject({ status: 409, code: 'tag_immutable', detail: expect.stringContaining('rule releases') });
});

test('a push of what the tag points at is no change', async () => {
  await must(201, 'PUT', '/v2/demo/app/manifests/v1', KEPT);
  await must(201, 'PUT', `/v2/demo/app/manifests/${kept}?tag=v1`, KEPT);
  await must(200, 'PUT', `${REST}/repositories/app/tags/v1`, { digest: kept });
});

test('F2: a retention run that would delete everything leaves what a rule holds', async () => {
  const rules = [{ template: 'latestPushedK', n: 1, repositories: { include: ['demo/app'] }, tags: { include: ['none'] } }];
  const made = await must(201, 'POST', `${REST}/retention-policies`, { name: 'nothing', uncovered: 'delete', rules });
  const runs = `${REST}/retention-policies/${(made as { id: number }).id}/runs`;
  const { id } = (await must(202, 'POST', runs, { dryRun: false })) as { id: number };
  await expect
    .poll(async () => ((await must(200, 'GET', `${runs}/${id}`)) as { state: string }).state, { timeout: 20_000 })
    .not.toMatch(/waiting|running/);
  expect((await ask('HEAD', '/v2/demo/app/manifests/v1')).headers.get('docker-content-digest')).toBe(kept);
  expect((await ask('HEAD', '/v2/demo/app/manifests/other')).status).toBe(404);
});

/** Of projects and of the system, by the same job. */
const RETENTION = ['/retention-policies', '/projects/:project/retention-policies'].flatMap((path) => [
  `POST ${path}/:policy/runs`,
  `POST ${path}/:policy/runs/:run/undo`, // by restoring, as the trash does
]);
const HARBOR_RETENTION = ['POST /retentions/:retention/executions', 'PATCH /retentions/:retention/executions/:execution'].map(
  (path) => `harbor ${path}`,
);
const HARBOR_SETTINGS = ['POST /retentions', 'PUT /retentions/:retention', 'DELETE /retentions/:retention'].map((path) => `harbor ${path}`);
const SETTINGS = ['/retention-policies', '/projects/:project/retention-policies'].flatMap((path) => [
  `POST ${path}`,
  `PATCH ${path}/:policy`,
  `DELETE ${path}/:policy`,
  `POST ${path}/:policy/runs/:run/cancel`,
]);

/** Changes that neither move nor remove what a rule can hold, and why. */
const HARMLESS: Readonly<Record<string, string>> = {
  'POST /projects/:project/repositories/:repository/uses': 'says what is in use',
  'PUT /projects/:project/repositories/:repository/tiers/pin': 'says where bytes lie',
  'DELETE /projects/:project/repositories/:repository/tiers/pin': 'says where bytes lie',
  'POST /projects/:project/repositories/:repository/tiers/moves': 'says where bytes lie',
  'POST /projects/:project/repositories/:repository/artifacts/:reference/scan': 'reads',
  'DELETE /projects/:project/repositories/:repository/artifacts/:reference/scan': 'reads no more',
  'v2 DELETE blob': 'what a manifest needs is held by that already (manifest_referenced)',
  'v2 POST uploads': 'adds',
  'v2 PATCH upload': 'adds',
  'v2 PUT upload': 'adds',
  'v2 DELETE upload': 'ends what is not yet there',
  'PATCH /projects/:project/repositories/:repository': 'describes',
  'DELETE /projects/:project/trash/:item': 'what is in the trash was deleted before',
  'DELETE /projects/:project/trash': 'what is in the trash was deleted before',
  'PUT /projects/:project/trash-policy': 'what is in the trash was deleted before',
  'harbor PUT /projects/:project/repositories/:repository': 'describes',
  'harbor POST /projects/:project/repositories/:repository/artifacts/:reference/scan': 'changes nothing',
  'harbor POST /projects/:project/repositories/:repository/artifacts/:reference/scan/stop': 'changes nothing',
};
const TOUCHES = /\/(repositories|artifacts|tags|trash|retention[a-z-]*|replication[a-z-]*)\b|^(harbor )?DELETE \/projects\/:project$/;
const V2 = {
  manifest: `manifests/${kept}`,
  blob: `blobs/${kept}`,
  uploads: 'blobs/uploads/',
  upload: 'blobs/uploads/x',
  tags: 'tags/list',
  referrers: `referrers/${kept}`,
};

test('F2: every way that changes tags, manifests, repositories or projects is tried above', async () => {
  const harbor = harborSurface({} as HarborParts, routes).routes;
  const named = [
    ...routes.filter((route) => 'change' in route).map(({ method, path }) => `${method} ${path}`),
    ...harbor.filter(({ method }) => method !== 'GET' && method !== 'HEAD').map(({ method, path }) => `harbor ${method} ${path}`),
  ].filter((name) => TOUCHES.test(name));
  for (const [resource, path] of Object.entries(V2)) {
    const answer = await ask('OPTIONS', `/v2/demo/app/${path}`);
    expect(answer.status).toBe(405);
    const allowed = (answer.headers.get('allow') ?? '').split(', ').filter((method) => method !== 'GET' && method !== 'HEAD');
    named.push(...allowed.filter((method) => method !== '').map((method) => `v2 ${method} ${resource}`));
  }
  const tried = new Set([
    ...WAYS.map(([route]) => route),
    ...RETENTION,
    ...SETTINGS,
    ...HARBOR_RETENTION,
    ...HARBOR_SETTINGS,
    ...Object.keys(HARMLESS),
  ]);
  expect(named.filter((name) => !tried.has(name))).toEqual([]);
  expect([...tried].filter((name) => !named.includes(name))).toEqual([]);
});
