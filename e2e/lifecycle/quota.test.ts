import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { basic, begin, Client, errorOf, imageManifest, must, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { ADMIN, startServer, type TestServer } from '../harness/server.ts';

const MB = 1 << 20;
const PATIENCE = { timeout: 20_000 };

interface Quota {
  readonly limits: Record<string, number | null>;
  readonly used: { readonly bytes: number; readonly repositories: number; readonly tags: number };
  readonly reserved: { readonly bytes: number; readonly repositories: number; readonly tags: number };
}

const json = { 'Content-Type': 'application/json' };

async function limit(client: Client, project: string, limits: object): Promise<void> {
  await client.request('POST', '/api/v1/projects', { headers: json, body: JSON.stringify({ name: project }) });
  await must(client, [200], 'PATCH', `/api/v1/projects/${project}/quota`, { headers: json, body: JSON.stringify(limits) });
}

async function quotaOf(client: Client, project: string): Promise<Quota> {
  return (await must(client, [200], 'GET', `/api/v1/projects/${project}/quota`)).json<Quota>();
}

/** A body without a length, in chunks. */
function chunked(bytes: Uint8Array): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close();
      controller.enqueue(bytes.slice(at, at + 65_536));
      at += 65_536;
    },
  });
}

const status = (work: Promise<{ status: number }>) => work.then((answer) => answer.status);
const counted = (statuses: readonly number[]) =>
  Object.fromEntries([...new Set(statuses)].map((each) => [each, statuses.filter((s) => s === each).length]));

describe('quotas (attack class F1)', () => {
  let server: TestServer;
  let client: Client;

  beforeAll(async () => {
    server = await startServer({ options: { workers: '2' } });
    client = new Client(server.url);
  });
  afterAll(async () => {
    await server.stop();
    await checkInvariants(server.dataDir); // among them: what is counted is what is there
  });

  it('fifty pushes at once never hold more than the limit together, and as much as fits gets in', async () => {
    await limit(client, 'parallel', { bytes: 10 * MB });
    const push = async (at: number) => {
      const bytes = randomBytes(MB);
      const location = await client.request('POST', `/v2/parallel/r${at}/blobs/uploads/`);
      if (location.status !== 202) return location.status;
      const target = location.headers.get('location') ?? '';
      // Half of them come with a length, in one request or two, the others without.
      if (at % 2 === 0) return await status(client.request('PUT', `${target}?digest=${sha256(bytes)}`, { body: bytes }));
      const sent = await client.request('PATCH', target, { body: chunked(bytes) });
      if (sent.status !== 202) return sent.status;
      return await status(client.request('PUT', `${target}?digest=${sha256(bytes)}`));
    };
    const statuses = await Promise.all(Array.from({ length: 50 }, (_, at) => push(at)));
    const { used, reserved } = await quotaOf(client, 'parallel');
    expect(reserved).toEqual({ bytes: 0, repositories: 0, tags: 0 });
    expect(used.bytes).toBe((counted(statuses)[201] ?? 0) * MB);
    expect(used.bytes).toBeLessThanOrEqual(10 * MB);
    expect(Object.keys(counted(statuses)).sort()).toEqual(['201', '403']);
    // What was turned away while others tried fits now, until it is full.
    for (let at = 100; used.bytes + (at - 100) * MB < 10 * MB; at++) expect(await push(at)).toBe(201);
    expect((await quotaOf(client, 'parallel')).used.bytes).toBe(10 * MB);
    expect(await push(200)).toBe(403);
  }, 60_000);

  it('a body without a length is cut where the room ends, and leaves nothing behind', async () => {
    await limit(client, 'chunks', { bytes: 6 * MB });
    for (let round = 0; round < 3; round++) {
      const location = await begin(client, 'chunks/app');
      const refused = await client.request('PATCH', location, { body: chunked(randomBytes(20 * MB)) }).catch(() => undefined);
      if (refused) expect(refused.status).toBe(403); // the connection may be cut before the answer is read
      await expect.poll(() => quotaOf(client, 'chunks').then(({ reserved }) => reserved.bytes), PATIENCE).toBe(0);
      expect((await client.request('GET', location)).status).toBe(404);
    }
    const bytes = randomBytes(6 * MB);
    const location = await begin(client, 'chunks/app');
    await must(client, [202], 'PATCH', location, { body: chunked(bytes) });
    expect((await quotaOf(client, 'chunks')).reserved.bytes).toBe(6 * MB);
    await must(client, [201], 'PUT', `${location}?digest=${sha256(bytes)}`);
    expect((await quotaOf(client, 'chunks')).used.bytes).toBe(6 * MB);
  });

  it('a push with a length is refused before its bytes are sent, with an error that says why and that clients do not repeat', async () => {
    await limit(client, 'told', { bytes: 3 * MB });
    const bytes = randomBytes(4 * MB);
    const location = await begin(client, 'told/app');
    const refused = await client.request('PUT', `${location}?digest=${sha256(bytes)}`, { body: bytes });
    expect(refused.status).toBe(403);
    expect(errorOf(refused)).toEqual({
      code: 'DENIED',
      message: "the project's quota of 3.00 MiB has no room for 4.00 MiB more: 0 bytes are taken",
      detail: { quota: 'bytes', limit: 3 * MB, used: 0, wanted: 4 * MB },
    });
    await client.pushBlob('told/app', randomBytes(3 * MB));
    expect(errorOf(await client.request('POST', '/v2/told/app/blobs/uploads/')).code).toBe('DENIED'); // full: before anything is sent
  });

  it('a mount counts, unless the project has the blob already', async () => {
    await limit(client, 'mounted', { bytes: 2 * MB });
    const large = await client.pushBlob('source/app', randomBytes(3 * MB));
    const fits = await client.pushBlob('source/app', randomBytes(MB));
    const mount = (to: string, digest: string) => client.request('POST', `/v2/${to}/blobs/uploads/?mount=${digest}&from=source/app`);
    expect(errorOf(await mount('mounted/a', large)).code).toBe('DENIED');
    expect((await client.request('HEAD', `/v2/mounted/a/blobs/${large}`)).status).toBe(404);
    expect((await mount('mounted/a', fits)).status).toBe(201);
    for (const other of ['b', 'c', 'd', 'e']) expect((await mount(`mounted/${other}`, fits)).status).toBe(201);
    expect((await quotaOf(client, 'mounted')).used.bytes).toBe(MB);
  });

  it('what an upload has received counts until it ends', async () => {
    await limit(client, 'abandoned', { bytes: 8 * MB });
    const location = await begin(client, 'abandoned/app');
    await must(client, [202], 'PATCH', location, { body: randomBytes(6 * MB) });
    const other = randomBytes(4 * MB);
    const push = async () =>
      await status(client.request('POST', `/v2/abandoned/app/blobs/uploads/?digest=${sha256(other)}`, { body: other }));
    expect(await push()).toBe(403);
    await must(client, [204], 'DELETE', location);
    expect(await push()).toBe(201);
    expect((await quotaOf(client, 'abandoned')).reserved.bytes).toBe(0);
  });

  it('requests that break off leave no room taken but for what they brought', async () => {
    await limit(client, 'retries', { bytes: 8 * MB });
    const location = await begin(client, 'retries/app');
    await must(client, [202], 'PATCH', location, { body: randomBytes(1000) });
    for (let round = 0; round < 5; round++) {
      const abort = new AbortController();
      const body = new ReadableStream<Uint8Array>({
        async pull(controller) {
          controller.enqueue(randomBytes(65_536));
          await new Promise((resolve) => setTimeout(resolve, 20));
          abort.abort();
        },
      });
      const init = {
        method: 'PATCH',
        body,
        duplex: 'half',
        signal: abort.signal,
        headers: { Authorization: basic(ADMIN.user, ADMIN.password) },
      };
      await fetch(new URL(location, server.url), init as unknown as RequestInit).catch(() => undefined);
    }
    const received = async () => {
      const range = (await client.request('GET', location)).headers.get('range') ?? '0-0';
      return Number(range.split('-')[1]) + 1;
    };
    await expect.poll(async () => (await quotaOf(client, 'retries')).reserved.bytes - (await received()), PATIENCE).toBe(0);
    await must(client, [204], 'DELETE', location);
    expect((await quotaOf(client, 'retries')).reserved.bytes).toBe(0);
  });

  it('tags and repositories have limits of their own, whichever way they come', async () => {
    await limit(client, 'counted', { tags: 3, repositories: 2 });
    const image = await client.pushImage('counted/app', 'one');
    const type = 'application/vnd.oci.image.manifest.v1+json';
    const put = (reference: string, repository = 'app', body: Uint8Array = image.bytes) =>
      client.request('PUT', `/v2/counted/${repository}/manifests/${reference}`, { headers: { 'Content-Type': type }, body });
    expect((await put('two')).status).toBe(201);
    expect((await put(`${image.digest}?tag=three&tag=four`)).status).toBe(403); // all or none
    expect((await quotaOf(client, 'counted')).used.tags).toBe(2);
    expect((await put('three')).status).toBe(201);
    expect(errorOf(await put('four')).message).toMatch(/quota of 3 tags/);
    const another = imageManifest(Buffer.from('{}'), [], { annotations: { n: '1' } });
    await client.pushBlob('counted/app', Buffer.from('{}'));
    expect((await put('three', 'app', Buffer.from(JSON.stringify(another)))).status).toBe(201); // moving one is no new one
    const rest = await client.request('PUT', '/api/v1/projects/counted/repositories/app/tags/five', {
      headers: json,
      body: JSON.stringify({ digest: image.digest }),
    });
    expect([rest.status, rest.json<{ code: string }>().code]).toEqual([403, 'quota_exceeded']);
    await client.pushBlob('counted/second', randomBytes(10));
    const third = await client.request('POST', `/v2/counted/third/blobs/uploads/?digest=${sha256('x')}`, { body: 'x' });
    expect(errorOf(third).message).toMatch(/quota of 2 repositories/);
    await must(client, [202], 'DELETE', '/v2/counted/app/manifests/one');
    expect((await put('four')).status).toBe(201);
    const racing = await Promise.all(Array.from({ length: 20 }, (_, at) => status(put(`race${at}`))));
    expect(counted(racing)).toEqual({ 403: 20 });
    expect((await quotaOf(client, 'counted')).used).toMatchObject({ tags: 3, repositories: 2 });
  });

  it('many small manifests count too', async () => {
    await limit(client, 'small', {});
    const config = Buffer.from('{}');
    await client.pushBlob('small/app', config);
    const before = (await quotaOf(client, 'small')).used.bytes;
    const manifests = Array.from({ length: 10 }, (_, at) =>
      Buffer.from(JSON.stringify(imageManifest(config, [], { annotations: { at: `${at}` } }))),
    );
    const size = manifests[0]?.length ?? 0;
    await limit(client, 'small', { bytes: before + 4 * size });
    const type = 'application/vnd.oci.image.manifest.v1+json';
    const statuses = await Promise.all(
      manifests.map((body) =>
        status(client.request('PUT', `/v2/small/app/manifests/${sha256(body)}`, { headers: { 'Content-Type': type }, body })),
      ),
    );
    const { used } = await quotaOf(client, 'small');
    expect(used.bytes).toBe(before + (counted(statuses)[201] ?? 0) * size);
    expect(used.bytes).toBeLessThanOrEqual(before + 4 * size);
  });

  it('what is deleted gives its room back', async () => {
    await limit(client, 'freed', { bytes: 2 * MB });
    const digest = await client.pushBlob('freed/app', randomBytes(2 * MB));
    expect((await client.request('POST', '/v2/freed/app/blobs/uploads/')).status).toBe(403);
    await must(client, [202], 'DELETE', `/v2/freed/app/blobs/${digest}`);
    expect((await quotaOf(client, 'freed')).used.bytes).toBe(0);
    await client.pushBlob('freed/app', randomBytes(2 * MB));
  });
});

it('a server that is killed leaves no room taken but for what its uploads brought (attack class F1)', async () => {
  let server = await startServer();
  let client = new Client(server.url);
  await limit(client, 'demo', { bytes: 10 * MB });
  const location = await begin(client, 'demo/app');
  await must(client, [202], 'PATCH', location, { body: randomBytes(2 * MB) });
  const endless = new ReadableStream<Uint8Array>({
    pull: () => new Promise(() => undefined),
    start: (c) => c.enqueue(randomBytes(65_536)),
  });
  const fresh = await begin(client, 'demo/app');
  const hanging = client.request('PATCH', fresh, { body: endless }).catch(() => undefined);
  await expect.poll(async () => (await quotaOf(client, 'demo')).reserved.bytes, PATIENCE).toBeGreaterThan(2 * MB);
  await server.stop('SIGKILL');
  await hanging;
  server = await startServer({ dataDir: server.dataDir });
  client = new Client(server.url);
  expect((await quotaOf(client, 'demo')).reserved.bytes).toBe(2 * MB);
  const bytes = randomBytes(8 * MB);
  await must(client, [201], 'POST', `/v2/demo/app/blobs/uploads/?digest=${sha256(bytes)}`, { body: bytes });
  await server.stop();
  await checkInvariants(server.dataDir);
});

it('new projects have the limit that the operator chose, and only who manages quotas sets others', async () => {
  const server = await startServer({ options: { 'project-quota-bytes': String(MB) } });
  const client = new Client(server.url);
  await client.pushBlob('pushed/app', randomBytes(1000));
  expect((await quotaOf(client, 'pushed')).limits).toEqual({ bytes: MB, repositories: null, tags: null });
  const made = await client.request('POST', `/v2/another/app/blobs/uploads/?digest=${sha256('x')}`, { body: 'x' });
  expect(made.status).toBe(201);
  const bytes = randomBytes(2 * MB);
  expect((await client.request('POST', `/v2/another/app/blobs/uploads/?digest=${sha256(bytes)}`, { body: bytes })).status).toBe(403);
  const read = await client.request('GET', '/api/v1/projects/pushed/quota');
  const stale = { ...json, 'If-Match': '"other"' };
  expect((await client.request('PATCH', '/api/v1/projects/pushed/quota', { headers: stale, body: '{"tags":1}' })).status).toBe(412);
  const current = { ...json, 'If-Match': read.headers.get('etag') ?? '' };
  expect((await client.request('PATCH', '/api/v1/projects/pushed/quota', { headers: current, body: '{"tags":1}' })).status).toBe(200);
  for (const body of ['{"bytes":-1}', '{"bytes":1.5}', '{"bytes":"1"}', '{"size":1}', '{"bytes":1e300}']) {
    expect((await client.request('PATCH', '/api/v1/projects/pushed/quota', { headers: json, body })).status).toBe(400);
  }
  const list = (await must(client, [200], 'GET', '/api/v1/quotas?limited=true&limit=1')).json<{ items: { project: string }[] }>();
  expect(list.items.map(({ project }) => project)).toEqual(['another']);
  await server.stop();
});
