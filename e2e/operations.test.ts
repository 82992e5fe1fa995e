import { randomBytes } from 'node:crypto';
import { readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { basic, Client, sha256 } from './harness/client.ts';
import { ADMIN, startServer, type TestServer } from './harness/server.ts';

interface LogLine {
  readonly msg: string;
  readonly requestId: string;
  readonly [field: string]: unknown;
}

function logOf(server: TestServer): LogLine[] {
  return server
    .output()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as LogLine);
}

/** Values of one metric, by its labels as they are printed. */
async function metric(client: Client, name: string): Promise<Record<string, number>> {
  const text = (await client.request('GET', '/metrics')).bytes.toString();
  const rows = [...text.matchAll(new RegExp(`^${name}(\\{.*\\})? (\\S+)$`, 'gm'))];
  return Object.fromEntries(rows.map(([, labels = '', value]) => [labels, Number(value)]));
}

describe('request ids and the request log', () => {
  const secret = 'a-password-that-must-not-be-logged';
  let server: TestServer;
  let client: Client;

  beforeAll(async () => {
    server = await startServer({ options: { 'log-requests': 'true' } });
    client = new Client(server.url);
  });
  afterAll(() => server.stop());

  test('every answer names its request, with the id of the client where that is sane', async () => {
    const { digest } = await client.pushImage('demo/app', '1', [randomBytes(100_000)]);
    const layer = await client.pushBlob('demo/app', randomBytes(200_000));
    const asks: [string, string, Record<string, string>, number][] = [
      ['GET', '/v2/', {}, 200],
      ['GET', '/v2/demo/app/manifests/1', {}, 200],
      ['HEAD', `/v2/demo/app/manifests/${digest}`, {}, 200],
      ['GET', `/v2/demo/app/manifests/${digest}`, { 'If-None-Match': `"${digest}"` }, 304],
      ['GET', `/v2/demo/app/blobs/${layer}`, { Range: 'bytes=1-2' }, 206],
      ['GET', `/v2/demo/app/blobs/${layer}`, {}, 200],
      ['GET', '/v2/demo/app/manifests/none', {}, 404],
      ['GET', '/v2/demo/app/tags/list', { Authorization: basic('admin', 'wrong') }, 401],
      ['POST', '/v2/demo/app/blobs/uploads/', {}, 202],
      ['PUT', '/v2/demo/app/manifests/1', {}, 400],
      ['DELETE', '/v2/demo/app/tags/list', {}, 405],
      ['GET', '/token?service=entrepot', {}, 200],
      ['GET', '/livez', {}, 200],
      ['GET', '/readyz', {}, 200],
      ['GET', '/metrics', {}, 200],
      ['GET', '/nowhere', {}, 404],
    ];
    const ids = new Set<string | null>();
    for (const [method, path, headers, status] of asks) {
      const plain = await client.request(method, path, { headers });
      expect({ path, status: plain.status }).toEqual({ path, status });
      expect(plain.headers.get('x-request-id')).toMatch(/^[0-9a-f]{12}-[0-9a-z]+$/);
      ids.add(plain.headers.get('x-request-id'));
      const own = await client.request(method, path, { headers: { ...headers, 'X-Request-Id': 'My.own_id-1' } });
      expect(own.headers.get('x-request-id')).toBe('My.own_id-1');
      const odd = await client.request(method, path, { headers: { ...headers, 'X-Request-Id': 'has spaces, "quotes"' } });
      expect(odd.headers.get('x-request-id')).toMatch(/^[0-9a-f]{12}-[0-9a-z]+$/);
    }
    expect(ids.size).toBe(asks.length);
  });

  test('one line for each request, and nothing secret in any', async () => {
    const authorization = basic(ADMIN.user, ADMIN.password);
    const { token, refresh_token: refresh } = (
      await client.request('GET', '/token?service=entrepot&offline_token=true&scope=repository:demo/app:pull')
    ).json<{ token: string; refresh_token: string }>();
    const wrong = await client.request('GET', `/v2/demo/app/tags/list?password=${secret}`, {
      headers: { Authorization: basic('admin', secret), 'X-Request-Id': 'wrong-password' },
    });
    expect(wrong.status).toBe(401);
    await client.request('POST', '/token', {
      headers: { 'Content-Type': 'application/x-www-form-urlencoded', 'X-Request-Id': 'form' },
      body: `grant_type=password&username=admin&password=${secret}`,
    });
    const bearer = new Client(server.url, `Bearer ${token}`);
    const listed = await bearer.request('GET', '/v2/demo/app/tags/list?n=5', { headers: { 'X-Request-Id': 'listing' } });
    expect(listed.status).toBe(200);
    await expect.poll(() => logOf(server).filter((line) => line.requestId === 'listing').length).toBe(1);

    const line = logOf(server).find((found) => found.requestId === 'listing');
    expect(line).toMatchObject({
      msg: 'request',
      method: 'GET',
      path: '/v2/demo/app/tags/list',
      class: 'tags',
      status: 200,
      user: 'admin',
      client: '127.0.0.1',
      bytes: expect.any(Number),
      ms: expect.any(Number),
    });
    expect(line?.bytes).toBeGreaterThan(listed.bytes.length);
    expect(logOf(server).find((found) => found.requestId === 'wrong-password')).toMatchObject({ status: 401, class: 'tags' });
    expect(logOf(server).find((found) => found.requestId === 'form')).toMatchObject({ status: 401, class: 'token' });
    for (const hidden of [secret, ADMIN.password, authorization, authorization.slice(6), token, refresh]) {
      expect(server.output()).not.toContain(hidden);
    }
  });

  test('a request whose client goes away is logged as such', async () => {
    const digest = await client.pushBlob('demo/app', randomBytes(30_000_000));
    const abort = new AbortController();
    const response = await fetch(new URL(`/v2/demo/app/blobs/${digest}`, server.url), {
      headers: { Authorization: basic(ADMIN.user, ADMIN.password), 'X-Request-Id': 'cut' },
      signal: abort.signal,
    });
    await response.body?.getReader().read();
    abort.abort();
    await expect.poll(() => logOf(server).find((line) => line.requestId === 'cut')).toMatchObject({ class: 'blob', aborted: true });
  });
});

describe('metrics', () => {
  test('count database writes, open uploads and the event loop', async () => {
    const server = await startServer();
    const client = new Client(server.url);
    const before = (await metric(client, 'entrepot_database_duration_seconds_count'))['{operation="write"}'] ?? 0;
    await client.pushImage('demo/app', '1');
    const begun = await client.request('POST', '/v2/demo/app/blobs/uploads/');
    await client.request('PATCH', begun.headers.get('location') ?? '', { body: 'some bytes' });
    expect((await metric(client, 'entrepot_database_duration_seconds_count'))['{operation="write"}']).toBeGreaterThan(before + 2);
    expect(await metric(client, 'entrepot_uploads_open')).toEqual({ '': 1 });
    await client.request('DELETE', begun.headers.get('location') ?? '');
    expect(await metric(client, 'entrepot_uploads_open')).toEqual({ '': 0 });
    expect((await metric(client, 'nodejs_eventloop_lag_p99_seconds'))['']).toBeGreaterThan(0);
    expect(await server.stop()).toBe(0);
  });

  test('are summed over all workers, whichever answers', async () => {
    const server = await startServer({ options: { workers: '3' } });
    const client = new Client(server.url);
    const count = 60;
    // Each on a connection of its own, which the kernel spreads over the workers.
    for (let i = 0; i < count; i++) await client.request('GET', '/v2/demo/x/tags/list', { headers: { Connection: 'close' } });
    const seen = [];
    for (let i = 0; i < 10; i++) {
      const text = (await client.request('GET', '/metrics', { headers: { Connection: 'close' } })).bytes.toString();
      seen.push(Number(/^entrepot_http_responses_total\{class="tags",status="404"\} (\d+)$/m.exec(text)?.[1]));
    }
    expect(seen).toEqual(Array(10).fill(count));
    expect(await server.stop()).toBe(0);
  });
});

test('a worker that dies is replaced, and what it held is free without waiting for its lease to lapse', async () => {
  const server = await startServer({ options: { workers: '2' } });
  const client = new Client(server.url);
  const location = (await client.request('POST', '/v2/demo/app/blobs/uploads/')).headers.get('location') ?? '';
  const [id = ''] = location.slice(location.lastIndexOf('/') + 1).split('.');
  const database = new DatabaseSync(join(server.dataDir, 'entrepot.db'), { readOnly: true });
  const lease = () => database.prepare('SELECT lease FROM upload_session WHERE id = ?').get(id)?.lease;
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(Buffer.from('first half'));
    },
  });
  const cut = client.request('PATCH', location, { body }).catch((error: unknown) => error);
  await expect.poll(lease).toEqual(expect.any(String));

  const before = workersOf(server);
  expect(before).toHaveLength(2);
  for (const pid of before) process.kill(pid, 'SIGKILL');
  expect(await cut).toBeInstanceOf(Error);
  await expect.poll(() => workersOf(server).filter((pid) => !before.includes(pid)).length, { timeout: 30_000 }).toBe(2);
  // Nobody asks for this upload meanwhile: only the first process can have freed it.
  await expect.poll(lease, { timeout: 30_000 }).toBeNull();
  database.close();

  const bytes = Buffer.from('another try');
  await expect
    .poll(
      () =>
        client.request('GET', '/readyz').then(
          ({ status }) => status,
          () => 0,
        ),
      { timeout: 30_000 },
    )
    .toBe(200);
  const status = await client.request('GET', location);
  const have = Number(status.headers.get('range')?.split('-')[1]) + 1;
  const whole = Buffer.concat([Buffer.from('first half').subarray(0, have === 1 ? 0 : have), bytes]);
  const finished = await client.request('PUT', `${location}?digest=${sha256(whole)}`, { body: bytes });
  expect(finished.status).toBe(201);
  expect(await server.stop()).toBe(0);
});

describe('SIGTERM with a drain delay', () => {
  test('serves as before, not ready, until the delay is over', async () => {
    const server = await startServer({ options: { 'drain-delay-seconds': '2' } });
    const client = new Client(server.url);
    const exit = server.stop('SIGTERM');
    const close = { headers: { Connection: 'close' } };
    await expect.poll(async () => (await client.request('GET', '/readyz', close)).status).toBe(503);
    // New connections are taken although nothing runs.
    await client.pushImage('demo/late', '1');
    expect((await client.request('GET', '/livez', close)).status).toBe(200);
    expect(await exit).toBe(0);
    await expect(client.request('GET', '/livez', close)).rejects.toThrow();
  });
});

function workersOf({ process: { pid = 0 } }: TestServer): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
}

describe('readiness', () => {
  test('is lost while the store cannot be written to, and comes back', async () => {
    const server = await startServer();
    const client = new Client(server.url);
    const ready = async () => (await client.request('GET', '/readyz')).status;
    expect(await ready()).toBe(200);
    const uploads = join(server.dataDir, 'storage/docker/registry/v2/uploads');
    renameSync(uploads, `${uploads}.away`);
    await expect.poll(ready, { timeout: 10_000 }).toBe(503);
    expect((await client.request('GET', '/readyz')).bytes.toString()).toBe('storage cannot be written to\n');
    expect((await client.request('GET', '/livez')).status).toBe(200);
    renameSync(`${uploads}.away`, uploads);
    await expect.poll(ready, { timeout: 10_000 }).toBe(200);
    expect(await server.stop()).toBe(0);
  });

  test('is lost while the database cannot be written to, and comes back', async () => {
    const server = await startServer();
    const client = new Client(server.url);
    const ready = async () => (await client.request('GET', '/readyz')).status;
    expect(await ready()).toBe(200);
    // Another process holds the write lock for good.
    const other = new DatabaseSync(join(server.dataDir, 'entrepot.db'));
    other.exec('BEGIN IMMEDIATE');
    await expect.poll(ready, { timeout: 20_000 }).toBe(503);
    expect((await client.request('GET', '/readyz')).bytes.toString()).toMatch(/^the database cannot be written to\n$/);
    expect((await client.request('GET', '/livez')).status).toBe(200);
    other.exec('ROLLBACK');
    other.close();
    await expect.poll(ready, { timeout: 20_000 }).toBe(200);
    expect(await server.stop()).toBe(0);
  });
});
