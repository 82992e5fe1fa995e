import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePort, httpReceiver, listenOn } from '../../packages/server/src/evidence/forwarding/testing-sinks.ts';
import { atEnd } from '../harness/at-end.ts';
import { Client } from '../harness/client.ts';
import { until } from '../harness/raw.ts';
import { done, everyItem, refused, rest } from '../harness/rest.ts';
import { startServer, type TestServer, temporaryFolder } from '../harness/server.ts';

const OPTIONS = { 'outbound-allow': '127.0.0.1' };

interface Hook {
  readonly id: number;
  readonly enabled: boolean;
  readonly secrets: string[];
  readonly signingSecrets: number;
  readonly signingSecret?: string;
}
interface Delivery {
  readonly id: number;
  readonly eventId: string;
  readonly event: string;
  readonly state: string;
  readonly attempts: number;
  readonly status: number | null;
  readonly error: string | null;
  readonly redelivery: boolean;
}
interface CloudEvent {
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly subject: string;
  readonly data: Record<string, unknown>;
}

/** What docs/reference/webhooks.md tells receivers to do, as it stands there. */
const page = readFileSync(new URL('../../docs/reference/webhooks.md', import.meta.url), 'utf8');
const snippet = `${/```js\n([\s\S]*?)```/.exec(page)?.[1]}\nexport { isSigned };`;
const { isSigned } = (await import(`data:text/javascript,${encodeURIComponent(snippet)}`)) as {
  isSigned(secret: string, header: string, body: string): boolean;
};

async function receiver(answer: () => number = () => 200, port = 0) {
  const started = await httpReceiver(() => ({ status: answer(), body: { said: 'nobody may see this' } }), port);
  atEnd(started.close);
  const events = () => started.requests.map(({ body }) => JSON.parse(body) as CloudEvent);
  return { ...started, events };
}

describe('webhooks', () => {
  let server: TestServer;
  let client: Client;
  let registry: string;
  beforeAll(async () => {
    const listen = `127.0.0.1:${await freePort()}`;
    registry = `http://${listen}`;
    server = await startServer({ options: { ...OPTIONS, listen, 'public-url': registry } });
    client = new Client(server.url);
    await done(201, client, 'POST', '/projects', { name: 'demo' });
    await done(201, client, 'POST', '/projects', { name: 'other' });
  });
  afterAll(async () => expect(await server.stop()).toBe(0));

  const add = (body: object, where = '/projects/demo') => done<Hook>(201, client, 'POST', `${where}/webhooks`, body);
  const deliveries = (id: number, where = '/projects/demo') => everyItem<Delivery>(client, `${where}/webhooks/${id}/deliveries`);

  test('a push, its tag, their deletion and the members of a project are told, signed', async () => {
    const got = await receiver();
    const hook = await add({ name: 'pipeline', url: `${got.url}/hooks` });
    const image = await client.pushImage('demo/app', 'v1');
    await client.request('DELETE', `/v2/demo/app/manifests/${image.digest}`);
    await done(201, client, 'POST', '/groups', { name: 'team' });
    await done(201, client, 'POST', '/projects/demo/members', { kind: 'group', name: 'team', role: 'guest' });
    await client.pushImage('other/app', 'v1'); // of another project
    await until('all have come', () => got.requests.length >= 6);
    const told = got.events().map(({ type, subject }) => `${type} ${subject.replace(image.digest, 'digest')}`);
    expect(told.sort()).toEqual(
      [
        'repository.created.v1 demo/app',
        'artifact.pushed.v1 demo/app@digest',
        'tag.moved.v1 demo/app:v1',
        'tag.deleted.v1 demo/app:v1',
        'artifact.deleted.v1 demo/app@digest',
        'member.changed.v1 demo',
      ]
        .map((line) => `io.entrepot.${line}`)
        .sort(),
    );
    const data = (type: string) => got.events().find((event) => event.type === `io.entrepot.${type}.v1`)?.data;
    const about = { registry, actor: 'admin', project: 'demo' };
    const size = image.bytes.length;
    const mediaType = 'application/vnd.oci.image.manifest.v1+json';
    expect(data('artifact.pushed')).toEqual({ ...about, repository: 'demo/app', digest: image.digest, mediaType, size, tags: ['v1'] });
    expect(data('artifact.deleted')).toEqual({ ...about, repository: 'demo/app', digest: image.digest, mediaType, size, tags: ['v1'] });
    expect(data('tag.moved')).toEqual({ ...about, repository: 'demo/app', tag: 'v1', digest: image.digest, previousDigest: null });
    expect(data('member.changed')).toMatchObject({ ...about, after: { kind: 'group', name: 'team', role: 'guest' } });
    for (const { headers, body, method, url } of got.requests) {
      expect([method, url]).toEqual(['POST', '/hooks']);
      const signature = String(headers['x-entrepot-signature']);
      expect(isSigned(hook.signingSecret ?? '', signature, body)).toBe(true);
      expect(isSigned('whsec_of-somebody-else', signature, body)).toBe(false);
      expect(isSigned(hook.signingSecret ?? '', signature, `${body} `)).toBe(false);
    }
    await until('all are noted', async () => (await deliveries(hook.id)).every(({ state }) => state === 'delivered'));
  });

  test('pulls are told to who asked for them, together, and never held up', async () => {
    const got = await receiver();
    await add({ name: 'pulls', url: got.url, events: ['artifact.pulled'] });
    const { digest } = await client.pushImage('demo/pulled', 'v1');
    for (let at = 0; at < 3; at++) await client.request('GET', '/v2/demo/pulled/manifests/v1');
    await until('it has come', () => got.requests.length > 0, 20_000);
    const [event] = got.events();
    expect(event).toMatchObject({ type: 'io.entrepot.artifact.pulled.v1', subject: `demo/pulled@${digest}` });
    expect(event?.data).toEqual({
      ...{ registry, actor: 'admin', project: 'demo', repository: 'demo/pulled', digest, tags: ['v1'] },
      pulls: expect.any(Number) as number,
    });
  });

  test("Harbor's payload of a push", async () => {
    const got = await receiver();
    await add({ name: 'harbor', url: got.url, format: 'harbor', events: ['artifact.pushed'], secrets: { authorization: 'secret-header' } });
    const { digest } = await client.pushImage('demo/deep/app', 'v2');
    await until('it has come', () => got.requests.length > 0);
    const [{ headers, body } = { headers: {}, body: '' }] = got.requests;
    expect(headers.authorization).toBe('secret-header');
    const seconds = expect.toSatisfy((value: number) => Math.abs(value - Date.now() / 1000) < 300);
    expect(JSON.parse(body)).toEqual({
      type: 'PUSH_ARTIFACT',
      occur_at: seconds,
      operator: 'admin',
      event_data: {
        resources: [{ digest, tag: 'v2', resource_url: `${server.address}/demo/deep/app:v2` }],
        repository: {
          date_created: seconds,
          name: 'deep/app',
          namespace: 'demo',
          repo_full_name: 'demo/deep/app',
          repo_type: 'private',
        },
      },
    });
    const wrong = { name: 'wrong', url: got.url, format: 'harbor', events: ['tag.moved'] };
    expect(await refused(client, 'POST', '/projects/demo/webhooks', wrong)).toBe('400 bad_request');
  });

  test('those of the system hear of all projects, new ones too', async () => {
    const got = await receiver();
    const hook = await add({ name: 'all', url: got.url, events: ['project.created', 'artifact.pushed'] }, '');
    await done(201, client, 'POST', '/projects', { name: 'newcomer' });
    await client.pushImage('other/app', 'v2');
    await client.pushImage('made-by-push/app', 'v1');
    await until('all have come', () => got.requests.length >= 4);
    const told = got.events().map(({ type, data }) => `${type} ${String(data.repository ?? data.project)}`);
    expect(told.sort()).toEqual([
      'io.entrepot.artifact.pushed.v1 made-by-push/app',
      'io.entrepot.artifact.pushed.v1 other/app',
      'io.entrepot.project.created.v1 made-by-push',
      'io.entrepot.project.created.v1 newcomer',
    ]);
    await done(204, client, 'DELETE', `/webhooks/${hook.id}`);
  });

  test('a receiver that is down hears of it when it is up again', async () => {
    const port = await freePort();
    const hook = await add({ name: 'down', url: `http://127.0.0.1:${port}/`, events: ['artifact.pushed'] });
    await client.pushImage('demo/app', 'v3');
    await until('it failed', async () => (await deliveries(hook.id)).some(({ attempts }) => attempts > 0));
    expect(await deliveries(hook.id)).toMatchObject([{ state: 'waiting', status: null, error: 'the receiver cannot be reached' }]);
    const got = await receiver(() => 200, port);
    await until('it has come', () => got.requests.length > 0);
    await until('it is noted', async () => (await deliveries(hook.id))[0]?.state === 'delivered');
    const [{ eventId } = { eventId: '' }] = await deliveries(hook.id);
    expect(got.events().map(({ id }) => id)).toEqual([eventId]);
  });

  test('what was delivered is sent once more when somebody asks, with the same id; nothing where it is disabled', async () => {
    const got = await receiver();
    const hook = await add({ name: 'again', url: got.url, events: ['artifact.pushed'] });
    await client.pushImage('demo/app', 'v4');
    await until('it is noted', async () => (await deliveries(hook.id))[0]?.state === 'delivered');
    const [first] = await deliveries(hook.id);
    const path = `/projects/demo/webhooks/${hook.id}`;
    const made = await done<Delivery>(202, client, 'POST', `${path}/deliveries/${first?.id}/redeliver`);
    expect(made).toMatchObject({ eventId: first?.eventId, state: 'waiting', redelivery: true });
    await until('it has come again', () => got.requests.length === 2);
    expect(got.requests[1]?.body).toBe(got.requests[0]?.body);
    expect(await done(200, client, 'GET', `${path}/deliveries/${made.id}`)).toMatchObject({ body: got.requests[0]?.body });
    await done(200, client, 'PATCH', path, { enabled: false });
    expect(await refused(client, 'POST', `${path}/deliveries/${made.id}/redeliver`)).toBe('409 conflict');
    await client.pushImage('demo/app', 'v5');
    await done(200, client, 'PATCH', path, { enabled: true });
    await client.pushImage('demo/app', 'v6');
    await until('the last has come', () => got.requests.length >= 3);
    expect(got.events()[2]?.data.tags).toEqual(['v6']);
  });

  test('while its secret rotates a delivery is signed with both', async () => {
    const got = await receiver();
    const hook = await add({ name: 'rotating', url: got.url, events: ['artifact.pushed'] });
    const path = `/projects/demo/webhooks/${hook.id}`;
    const ping = () => done<{ ok: boolean }>(200, client, 'POST', `${path}/ping`);
    const next = await done<Hook>(200, client, 'POST', `${path}/rotate`, {});
    expect(next.signingSecrets).toBe(2);
    expect(await ping()).toMatchObject({ ok: true, status: 200, error: null });
    const last = await done<Hook>(200, client, 'POST', `${path}/rotate`, { overlapHours: 0 });
    expect(last.signingSecrets).toBe(1);
    await ping();
    const signed = (at: number, secret = '') =>
      isSigned(secret, String(got.requests[at]?.headers['x-entrepot-signature']), got.requests[at]?.body ?? '');
    const secrets = [hook.signingSecret, next.signingSecret, last.signingSecret];
    expect(secrets.map((secret) => signed(0, secret))).toEqual([true, true, false]);
    expect(secrets.map((secret) => signed(1, secret))).toEqual([false, false, true]);
    expect(got.events().map(({ type }) => type)).toEqual(['io.entrepot.ping.v1', 'io.entrepot.ping.v1']);
  });

  test('changes only what is as the client saw it, and refuses what makes no sense', async () => {
    const url = 'https://ci.example.com/in';
    const hook = await add({ name: 'etag', url, enabled: false });
    const path = `/projects/demo/webhooks/${hook.id}`;
    const etag = (await rest(client, 'GET', path)).headers.get('etag') ?? '';
    await done(200, client, 'PATCH', path, { tags: 'v*' }, { 'If-Match': etag });
    expect(await refused(client, 'PATCH', path, { tags: 'w*' }, { 'If-Match': etag })).toBe('412 precondition_failed');
    expect(await refused(client, 'POST', `${path}/rotate`, {}, { 'If-Match': etag })).toBe('412 precondition_failed');
    expect(await refused(client, 'DELETE', path, undefined, { 'If-Match': etag })).toBe('412 precondition_failed');
    const create = (more: object) => refused(client, 'POST', '/projects/demo/webhooks', { name: 'x', url, ...more });
    expect(await create({ name: 'etag' })).toBe('409 conflict');
    expect(await create({ repositories: '{a' })).toBe('400 bad_request');
    expect(await create({ events: [] })).toBe('400 invalid_input');
    expect(await create({ events: ['artifact.burnt'] })).toBe('400 invalid_input');
    expect(await create({ id: 7 })).toBe('400 invalid_input');
    expect(await create({ secrets: { authorization: 'a\r\nb: c' } })).toBe('400 invalid_input');
    await done(204, client, 'DELETE', path);
    expect(await refused(client, 'GET', path)).toBe('404 not_found');
  });

  test('go with their project', async () => {
    await done(201, client, 'POST', '/projects', { name: 'passing' });
    const { id } = await add({ name: 'x', url: 'https://ci.example.com/' }, '/projects/passing');
    await done(204, client, 'DELETE', '/projects/passing');
    await done(201, client, 'POST', '/projects', { name: 'passing' });
    expect(await everyItem(client, '/projects/passing/webhooks')).toEqual([]);
    expect(await refused(client, 'GET', `/projects/passing/webhooks/${id}`)).toBe('404 not_found');
  });

  test('F4 what is secret of a webhook is in no answer, record or log, and in the database under seal', async () => {
    const got = await receiver(() => 500);
    const secrets = { authorization: 'Bearer hidden-4712', query: 'token=hidden-4713' };
    const made = await add({ name: 'secretive', url: got.url, events: ['artifact.pushed'], secrets });
    const path = `/projects/demo/webhooks/${made.id}`;
    await done(200, client, 'POST', `${path}/ping`);
    await client.pushImage('demo/app', 'v7');
    await until('it failed', async () => (await deliveries(made.id)).some(({ attempts }) => attempts > 0));
    expect(got.requests[0]?.url).toBe('/?token=hidden-4713');
    const { signingSecret = '', ...shown } = made;
    expect(shown.secrets).toEqual(['authorization', 'query']);
    const [first] = await deliveries(made.id);
    const views = [
      shown,
      await done(200, client, 'GET', path),
      await everyItem(client, '/projects/demo/webhooks'),
      await done(200, client, 'GET', `${path}/deliveries/${first?.id}`),
    ];
    const database = new DatabaseSync(join(server.dataDir, 'entrepot.db'), { readOnly: true });
    const tables = ['webhook', 'webhook_delivery', 'audit_record', 'job', 'outbox_event', 'idempotency'];
    const rows = tables.map((table) => database.prepare(`SELECT * FROM ${table}`).all());
    database.close();
    const everything = JSON.stringify([views, rows]) + server.output();
    expect(everything).toContain('webhook.create');
    expect(signingSecret).toMatch(/^whsec_/);
    for (const secret of ['hidden-471', signingSecret, 'nobody may see']) expect(everything).not.toContain(secret);
  });

  test('D2 the secrets given for one place are not sent to another', async () => {
    const one = await receiver();
    const two = await receiver();
    const hook = await add({ name: 'moving', url: one.url, events: ['artifact.pushed'], secrets: { authorization: 'of-one' } });
    const path = `/projects/demo/webhooks/${hook.id}`;
    expect(await refused(client, 'PATCH', path, { url: two.url })).toBe('400 bad_request');
    await done(200, client, 'PATCH', path, { url: `${one.url}/further` });
    await done(200, client, 'PATCH', path, { url: two.url, secrets: { authorization: null } });
    await done(200, client, 'POST', `${path}/ping`);
    expect(two.requests[0]?.headers).not.toHaveProperty('authorization');
  });
});

test('a server that is killed before it noted a delivery sends it again, with the same id', async () => {
  const dataDir = temporaryFolder();
  const bodies: string[] = [];
  let answers = false;
  const held: Server = createServer((request, response) => {
    void text(request).then((body) => {
      bodies.push(body);
      if (answers) response.end();
    });
  });
  const { port, close } = await listenOn(held);
  atEnd(close);
  let server = await startServer({ dataDir, options: OPTIONS });
  let client = new Client(server.url);
  await done(201, client, 'POST', '/projects', { name: 'demo' });
  const hook = { name: 'ci', url: `http://127.0.0.1:${port}/`, events: ['artifact.pushed'] };
  const { id } = await done<Hook>(201, client, 'POST', '/projects/demo/webhooks', hook);
  await client.pushImage('demo/app', 'v1');
  await until('the receiver has it', () => bodies.length > 0);
  await server.stop('SIGKILL');
  answers = true;
  server = await startServer({ dataDir, options: OPTIONS });
  client = new Client(server.url);
  const list = () => everyItem<Delivery>(client, `/projects/demo/webhooks/${id}/deliveries`);
  await until('it is noted', async () => (await list())[0]?.state === 'delivered');
  expect(await list()).toHaveLength(1);
  expect(bodies.length).toBeGreaterThanOrEqual(2);
  expect(new Set(bodies).size).toBe(1);
  expect(await server.stop()).toBe(0);
});
