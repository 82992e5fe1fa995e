import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Client } from '../harness/client.ts';
import { INSIDE, inUrl, listenInside } from '../harness/inside.ts';
import { done, refused, rest } from '../harness/rest.ts';
import { startServer, type TestServer } from '../harness/server.ts';

const KINDS = ['fluentd', 'syslog', 'http', 'elasticsearch'] as const;

const REFUSED = /^400 (invalid_input|bad_request)$/;

interface Check {
  readonly ok: boolean;
  readonly error: string;
}

describe('D1 audit sinks', () => {
  let server: TestServer;
  let client: Client;
  let inside: Awaited<ReturnType<typeof listenInside>>;

  beforeAll(async () => {
    inside = await listenInside('secret of the inside\n');
    server = await startServer();
    client = new Client(server.url);
    for (const kind of KINDS) {
      await done(201, client, 'POST', '/audit-sinks', { name: kind, target: targetOf(kind, '127.0.0.1'), enabled: false });
    }
  });
  afterAll(async () => expect(await server.stop()).toBe(0));

  function targetOf(kind: (typeof KINDS)[number], host: string) {
    if (kind === 'fluentd' || kind === 'syslog') return { kind, host, port: inside.port, tls: false };
    return { kind, url: `http://${inUrl(host)}:${inside.port}/` };
  }

  test.each(KINDS)('D1 a sink of kind %s leads nowhere inside, whatever its address is written like', async (kind) => {
    for (const host of INSIDE) {
      await done(200, client, 'PATCH', `/audit-sinks/${kind}`, { target: targetOf(kind, host) });
      const { ok, error } = await done<Check>(200, client, 'POST', `/audit-sinks/${kind}/test`);
      expect([host, ok, error]).toEqual([host, false, expect.stringMatching(/not public and not in outboundAllow|cannot be resolved/)]);
      expect(error).not.toContain('secret of the inside');
    }
    expect(inside.connections()).toBe(0);
  });

  test.each([
    'http://user:password@logs.example.com/',
    'http://user@logs.example.com/',
    'ftp://logs.example.com/',
    'file:///etc/passwd',
    'gopher://logs.example.com/',
    'http://logs.example.com/?token=secret',
    'http://logs.example.com/#a',
    'http://logs.example.com/\r\nX: y',
    'http://logs.example.com\\@127.0.0.1/',
    '//logs.example.com/',
    'http:///',
  ])('D1 %j is no address of a sink', async (url) => {
    for (const kind of ['http', 'elasticsearch']) {
      expect(await refused(client, 'PATCH', `/audit-sinks/${kind}`, { target: { kind, url } })).toBe('400 invalid_input');
    }
  });

  test.each(['a b', 'logs.example.com/x', 'user@host', 'a\r\nb', '', 'http://host', 'a'.repeat(300)])(
    'D1 %j is no host of a sink',
    async (host) => {
      for (const kind of ['fluentd', 'syslog']) {
        expect(await refused(client, 'PATCH', `/audit-sinks/${kind}`, { target: { kind, host, port: inside.port } })).toBe(
          '400 invalid_input',
        );
      }
    },
  );

  test('C5 names that mean something to JavaScript are no targets and no secrets', async () => {
    const target = { kind: 'http', url: 'http://logs.example.com/' };
    for (const name of ['__proto__', 'constructor', 'toString']) {
      const more = JSON.parse(`{"${name}": "x"}`) as object;
      await rest(client, 'PATCH', '/audit-sinks/http', { target: { ...target, ...more } }); // refused, or left out
      expect(await refused(client, 'PATCH', '/audit-sinks/http', { target, secrets: more })).toMatch(REFUSED);
      expect(await refused(client, 'PATCH', '/audit-sinks/http', { target: { ...target, kind: name } })).toMatch(REFUSED);
    }
    const view = await done<{ target: object; secrets: string[] }>(200, client, 'GET', '/audit-sinks/http');
    expect(view).toMatchObject({ target: { ...target, format: 'ndjson' }, secrets: [] });
    expect(Object.keys(view.target)).toEqual(['kind', 'url', 'format']);
  });
});
