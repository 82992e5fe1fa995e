import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Client } from '../harness/client.ts';
import { INSIDE, inUrl, listenInside } from '../harness/inside.ts';
import { type People, populate } from '../harness/people.ts';
import { until } from '../harness/raw.ts';
import { done, everyItem, refused, rest } from '../harness/rest.ts';
import { startServer, type TestServer } from '../harness/server.ts';

const BLOCKED = 'the address is not one that webhooks may lead to';

interface Hook {
  readonly id: number;
}
interface Delivery {
  readonly id: number;
  readonly attempts: number;
  readonly error: string | null;
}

describe('webhooks', () => {
  let server: TestServer;
  let client: Client;
  let people: People;
  let inside: Awaited<ReturnType<typeof listenInside>>;

  beforeAll(async () => {
    inside = await listenInside('HTTP/1.1 200 OK\r\n\r\nsecret of the inside\n');
    server = await startServer();
    client = new Client(server.url);
    people = await populate(server, {
      users: ['ann', 'bob', 'max'],
      projects: { one: { members: { ann: 'admin', max: 'maintainer' } }, two: { members: { bob: 'admin' } } },
    });
  });
  afterAll(async () => expect(await server.stop()).toBe(0));

  const make = (project: string, url: string, more: object = {}) =>
    done<Hook>(201, client, 'POST', `/projects/${project}/webhooks`, { name: url.slice(0, 60), url, ...more });

  test('D1 lead nowhere inside, whatever the address is written like, and tell nothing of what is there', async () => {
    const hook = await make('one', 'https://ci.example.com/');
    const path = `/projects/one/webhooks/${hook.id}`;
    for (const host of INSIDE) {
      await done(200, client, 'PATCH', path, { url: `http://${inUrl(host)}:${inside.port}/` });
      const told = await done<object>(200, client, 'POST', `${path}/ping`);
      // What an unusual spelling becomes is for the resolver of this machine to say; that it is not called is what counts.
      expect([host, told]).toEqual([host, expect.objectContaining({ ok: false, status: null })]);
      expect([BLOCKED, 'the receiver cannot be reached', 'the address cannot be called']).toContain((told as { error: string }).error);
    }
    await client.pushImage('one/app', 'v1');
    const log = () => everyItem<Delivery>(client, `${path}/deliveries`);
    await until('it was tried', async () => (await log()).every(({ attempts }) => attempts > 0) && (await log()).length > 0);
    expect(new Set((await log()).map(({ error }) => error))).toEqual(new Set([BLOCKED]));
    expect(inside.connections()).toBe(0);
  });

  test.each([
    'http://user:password@ci.example.com/',
    'ftp://ci.example.com/',
    'file:///etc/passwd',
    'http://ci.example.com/?token=secret',
    'http://ci.example.com/#a',
    'http://ci.example.com/\r\nX: y',
    'http://ci.example.com\\@127.0.0.1/',
    '//ci.example.com/',
    'http:///',
  ])('D1 %j is no address of a webhook', async (url) => {
    for (const path of ['/webhooks', '/projects/one/webhooks']) {
      expect(await refused(client, 'POST', path, { name: 'x', url })).toBe('400 invalid_input');
    }
  });

  test('C2 of another project, or of the system, are not there under this one', async () => {
    const url = 'https://ci.example.com/two';
    const foreign = await make('two', url);
    const system = await done<Hook>(201, client, 'POST', '/webhooks', { name: 'system', url });
    const own = await make('one', 'https://ci.example.com/own');
    await client.pushImage('two/app', 'v1');
    const theirs = () => everyItem<Delivery>(client, `/projects/two/webhooks/${foreign.id}/deliveries`);
    await until('it was noted', async () => (await theirs()).length > 0);
    const [delivery] = await theirs();
    const ann = people.client('ann');
    const asked: [string, string, object?][] = [];
    for (const { id } of [foreign, system]) {
      const path = `/projects/one/webhooks/${id}`;
      asked.push(
        ['GET', path],
        ['PATCH', path, { name: 'mine' }],
        ['DELETE', path],
        ['POST', `${path}/rotate`, {}],
        ['POST', `${path}/ping`],
      );
      asked.push(['GET', `${path}/deliveries`], ['GET', `${path}/deliveries/${delivery?.id}`]);
      asked.push(['POST', `${path}/deliveries/${delivery?.id}/redeliver`]);
    }
    const path = `/projects/one/webhooks/${own.id}/deliveries/${delivery?.id}`;
    asked.push(['GET', path], ['POST', `${path}/redeliver`]);
    for (const [method, to, body] of asked)
      expect([method, to, await refused(ann, method, to, body)]).toEqual([method, to, '404 not_found']);
    expect(await refused(client, 'GET', `/webhooks/${own.id}`)).toBe('404 not_found');
    expect(await done(200, client, 'GET', `/projects/two/webhooks/${foreign.id}`)).toMatchObject({ url });
    // Nor is the project of another.
    expect((await rest(ann, 'GET', '/projects/two/webhooks')).status).toBe(404);
    expect((await rest(ann, 'GET', '/webhooks')).status).toBe(403);
  });

  test('C1 who may read webhooks changes none, and nobody sets what is not to be set', async () => {
    const { id } = await make('one', 'https://ci.example.com/c1');
    const path = `/projects/one/webhooks/${id}`;
    const max = people.client('max');
    await done(200, max, 'GET', path);
    for (const [method, to, body] of [
      ['PATCH', path, { enabled: false }],
      ['DELETE', path, undefined],
      ['POST', `${path}/ping`, undefined],
      ['POST', `${path}/rotate`, {}],
      ['POST', '/projects/one/webhooks', { name: 'x', url: 'https://ci.example.com/' }],
    ] as const) {
      expect((await rest(max, method, to, body)).status).toBe(403);
    }
    for (const more of [{ projectId: 2 }, { project: 'two' }, { version: 9 }, { signingSecret: 'x' }, { createdBy: 'bob' }]) {
      expect(await refused(people.client('ann'), 'PATCH', path, more)).toBe('400 invalid_input');
    }
  });
});
