import { createServer, type Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { listenOn } from '../../packages/server/src/evidence/forwarding/testing-sinks.ts';
import { atEnd } from '../harness/at-end.ts';
import { Client } from '../harness/client.ts';
import { done, refused, rest } from '../harness/rest.ts';
import { startServer, type TestServer } from '../harness/server.ts';

/** Loopback, private, link-local and metadata addresses, in the spellings that some programs read as those. */
const INSIDE = [
  ...[
    '127.0.0.1',
    'localhost',
    '127.1',
    '2130706433',
    '0x7f000001',
    '0177.0.0.1',
    '0.0.0.0',
    '::1',
    '::',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
  ],
  ...['10.0.0.1', '192.168.0.1', '169.254.169.254', '100.100.100.200', '168.63.129.16', 'fd00:ec2::254', 'fe80::1', '64:ff9b::7f00:1'],
];
const KINDS = ['fluentd', 'syslog', 'http', 'elasticsearch'] as const;

const REFUSED = /^400 (invalid_input|bad_request)$/;

interface Check {
  readonly ok: boolean;
  readonly error: string;
}

describe('D1 audit sinks', () => {
  let server: TestServer;
  let client: Client;
  let inside: Server;
  let port: number;
  let connections = 0;

  beforeAll(async () => {
    inside = createServer((socket) => {
      connections++;
      socket.on('error', () => undefined).end('secret of the inside\n');
    });
    const listening = await listenOn(inside);
    port = listening.port;
    atEnd(listening.close);
    server = await startServer();
    client = new Client(server.url);
    for (const kind of KINDS) {
      await done(201, client, 'POST', '/audit-sinks', { name: kind, target: targetOf(kind, '127.0.0.1'), enabled: false });
    }
  });
  afterAll(async () => expect(await server.stop()).toBe(0));

  function targetOf(kind: (typeof KINDS)[number], host: string) {
    if (kind === 'fluentd' || kind === 'syslog') return { kind, host, port, tls: false };
    return { kind, url: `http://${host.includes(':') ? `[${host}]` : host}:${port}/` };
  }

  test.each(KINDS)('D1 a sink of kind %s leads nowhere inside, whatever its address is written like', async (kind) => {
    for (const host of INSIDE) {
      await done(200, client, 'PATCH', `/audit-sinks/${kind}`, { target: targetOf(kind, host) });
      const { ok, error } = await done<Check>(200, client, 'POST', `/audit-sinks/${kind}/test`);
      expect([host, ok, error]).toEqual([host, false, expect.stringMatching(/not public and not in outboundAllow|cannot be resolved/)]);
      expect(error).not.toContain('secret of the inside');
    }
    expect(connections).toBe(0);
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
        expect(await refused(client, 'PATCH', `/audit-sinks/${kind}`, { target: { kind, host, port } })).toBe('400 invalid_input');
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
