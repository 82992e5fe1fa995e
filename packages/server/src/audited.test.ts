import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createUser, hashPassword } from './access/index.ts';
import { type Instance, openDatabase, startApp } from './app.ts';
import { dataPaths, loadConfig, type Route } from './platform/index.ts';

// Every change is audited because the route tables say so, and is made only together with its record.

const PASSWORD = 'a password for the root of this test';
let folder: string;
let file: string;
let app: Instance;
let routes: readonly Route[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'entrepot-audited-'));
  const config = loadConfig({ env: {}, flags: { dataDir: folder, listen: '127.0.0.1:0', logLevel: 'silent' } });
  file = dataPaths(config).database;
  const database = await openDatabase(config, { checkpoint: false });
  const hash = await hashPassword(PASSWORD);
  await database.write((tx) => createUser(tx, { name: 'root', hash, admin: true, now: Date.now() }));
  await database.close();
  app = await startApp(config, { shared: false, leader: true, holder: 'test' }, (all) => (routes = all));
  await ask('GET', '/api/v1/session');
});
afterAll(async () => {
  await app.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function ask(method: string, path: string, body?: unknown): Promise<number> {
  const authorization = `Basic ${Buffer.from(`root:${PASSWORD}`).toString('base64')}`;
  const isText = typeof body === 'string';
  const answer = await fetch(`http://127.0.0.1:${app.port}${path}`, {
    method,
    headers: { authorization, ...(body === undefined ? {} : { 'content-type': isText ? 'application/octet-stream' : 'application/json' }) },
    ...(body === undefined ? {} : { body: isText ? body : JSON.stringify(body) }),
  });
  await answer.arrayBuffer();
  return answer.status;
}

/** Runs a statement beside the server. */
function sql<T>(statement: string): T[] {
  const database = new DatabaseSync(file, { timeout: 10_000 });
  try {
    return database.prepare(statement).all() as T[];
  } finally {
    database.close();
  }
}

const lastAction = () => sql<{ action: string }>('SELECT action FROM audit_record ORDER BY seq DESC LIMIT 1')[0]?.action;

test('every route that changes something names its audit record', () => {
  const changing = routes.filter((route) => 'change' in route);
  expect(changing.length).toBeGreaterThan(50);
  for (const route of changing) expect([route.path, 'audit' in route && route.audit]).toEqual([route.path, expect.stringMatching(NAME)]);
  for (const route of routes) {
    if ('handle' in route) expect(['GET', 'HEAD', 'POST'], `${route.method} ${route.path}`).toContain(route.method);
  }
});

const NAME = /^[a-z]+(-[a-z]+)*\.[a-z]+(-[a-z]+)*$/;
const CONTENT = 'a blob';
const DIGEST = `sha256:${createHash('sha256').update(CONTENT).digest('hex')}`;

/** Changes, each standing on those before it, and the name of its record. */
const CHANGES: readonly (readonly [string, string, string, unknown, string])[] = [
  ['a project', 'POST', '/api/v1/projects', { name: 'demo' }, 'project.create'],
  ['its description', 'PATCH', '/api/v1/projects/demo', { description: 'x' }, 'project.update'],
  ['a user', 'POST', '/api/v1/users', { name: 'ann', password: 'a long and winding road' }, 'user.create'],
  ['a group', 'POST', '/api/v1/groups', { name: 'team' }, 'group.create'],
  ['a blob', 'POST', `/v2/demo/app/blobs/uploads/?digest=${DIGEST}`, CONTENT, 'blob.push'],
  ['no blob any more', 'DELETE', `/v2/demo/app/blobs/${DIGEST}`, undefined, 'blob.delete'],
];

test.each(CHANGES)('%s is made together with its record, or not at all', async (_, method, path, body, action) => {
  sql("CREATE TRIGGER no_audit BEFORE INSERT ON audit_record BEGIN SELECT RAISE(ABORT, 'no record'); END");
  const count = () => sql<{ n: number }>('SELECT count(*) AS n FROM audit_record')[0]?.n;
  const before = count();
  try {
    expect(await ask(method, path, body)).toBe(500);
  } finally {
    sql('DROP TRIGGER no_audit');
  }
  expect(count()).toBe(before);
  expect(await ask(method, path, body)).toBeLessThan(300); // nothing of the first try is in the way
  expect(lastAction()).toBe(action);
});
