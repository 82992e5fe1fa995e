import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { basic, begin, Client, must, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { head, metric, openRaw, type RawConnection, until } from '../harness/raw.ts';
import { ADMIN, startServer, type TestServer } from '../harness/server.ts';

const name = 'demo/app';
const authorization = `Authorization: ${basic(ADMIN.user, ADMIN.password)}\r\n`;
/** What a load balancer would take for the body of one request, or for the request of another user. */
const SECOND = `GET /v2/ HTTP/1.1\r\nHost: registry\r\nX-Request-Id: smuggled\r\n${authorization}\r\n`;

describe('E8 request smuggling', () => {
  let server: TestServer;
  let client: Client;
  beforeAll(async () => {
    server = await startServer();
    client = new Client(server.url);
  });
  afterAll(async () => {
    expect(server.output()).not.toContain('"level":50');
    expect(await server.stop()).toBe(0);
    await checkInvariants(server.dataDir);
  });

  /** Sends all of it, then nothing more: what is unfinished then stays so. */
  const send = async (text: string): Promise<string> => {
    const connection = await openRaw(server);
    connection.send(Buffer.from(text, 'latin1'));
    await until('an answer, or the end', () => connection.received() !== '' || connection.socket.destroyed);
    connection.socket.end();
    await connection.closed;
    return connection.received();
  };
  const statuses = (answer: string) => [...answer.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
  const post = (headers: string, body: string) =>
    `POST /v2/${name}/blobs/uploads/ HTTP/1.1\r\nHost: registry\r\n${authorization}${headers}\r\n${body}`;
  const chunked = (body: string) => post('Transfer-Encoding: chunked\r\n', body);
  const last = '0\r\n\r\n';

  test('E8 the second request is one where nothing is wrong', async () => {
    const connection = await openRaw(server);
    connection.send(chunked(`3;ext=1\r\nabc\r\n${last}${SECOND}`));
    await until('both answers', () => statuses(connection.received()).length === 2);
    expect(statuses(connection.received())).toEqual([202, 200]);
    expect(connection.received()).toContain('X-Request-Id: smuggled');
    connection.socket.destroy();
  });

  test.each<[string, string]>([
    ['a length and chunks', post('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', last + SECOND)],
    ['chunks and a length', post('Transfer-Encoding: chunked\r\nContent-Length: 5\r\n', last + SECOND)],
    ['two lengths', post('Content-Length: 5\r\nContent-Length: 6\r\n', `aaaaa${SECOND}`)],
    ['the same length twice', post('Content-Length: 5\r\nContent-Length: 5\r\n', `aaaaa${SECOND}`)],
    ['a list of lengths', post('Content-Length: 5, 5\r\n', `aaaaa${SECOND}`)],
    ...['+5', '-5', '0x5', '5.0', '5e0', '', '5 5', "'5'", '5;', '99999999999999999999999'].map((length): [string, string] => [
      `the length "${length}"`,
      post(`Content-Length: ${length}\r\n`, `aaaaa${SECOND}`),
    ]),
    ...[
      'xchunked',
      'identity',
      'chunked, identity',
      'identity, chunked',
      'gzip, chunked',
      'chunked, chunked',
      '"chunked"',
      'chunked;q=1',
      '\x0bchunked',
      '',
      'chunked,',
    ].map((coding): [string, string] => [`the coding "${coding}"`, post(`Transfer-Encoding: ${coding}\r\n`, last + SECOND)]),
    ['two codings, chunks first', post('Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n', last + SECOND)],
    ['two codings, chunks last', post('Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n', last + SECOND)],
    ['a space before the colon', post('Transfer-Encoding : chunked\r\n', last + SECOND)],
    ['a space in the name', post('Content Length: 5\r\n', `aaaaa${SECOND}`)],
    ['a header folded', post('Transfer-Encoding:\r\n chunked\r\n', last + SECOND)],
    ['a header folded before the length', post('X-Header: a\r\n\tb\r\nContent-Length: 0\r\n', SECOND)],
    ['a space before the first header', post(' X-Header: a\r\nContent-Length: 0\r\n', SECOND)],
    ['a line that ends in LF', post('X-Header: a\nContent-Length: 0\r\n', SECOND)],
    ['lines that all end in LF', post('Content-Length: 0\r\n', SECOND).replaceAll('\r\n', '\n')],
    ['a line that ends in CR', post('X-Header: a\rContent-Length: 5\r\n', `aaaaa${SECOND}`)],
    ['a zero byte in a header', post('X-Header: a\0b\r\nContent-Length: 0\r\n', SECOND)],
    ['a header without a colon', post('X-Header\r\nContent-Length: 0\r\n', SECOND)],
    ['two hosts', post('Host: other\r\nContent-Length: 0\r\n', SECOND)],
    ['no host', post('Content-Length: 0\r\n', SECOND).replace('Host: registry\r\n', '')],
    ['HTTP/0.9', `GET /v2/\r\n${SECOND}`],
    ['HTTP/1.0 in chunks', chunked(last + SECOND).replace('HTTP/1.1', 'HTTP/1.0')],
    ['HTTP/1.2', post('Content-Length: 0\r\n', SECOND).replace('HTTP/1.1', 'HTTP/1.2')],
    ['HTTP/2', `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${SECOND}`],
    ['a chunk larger than numbers go', chunked(`FFFFFFFFFFFFFFFFF\r\naaa\r\n${last}${SECOND}`)],
    ...['-1', '0x3', '3 ', ' 3', '3\n', '+3', 'g'].map((size): [string, string] => [
      `a chunk of "${size}"`,
      chunked(`${size}\r\naaa\r\n${last}${SECOND}`),
    ]),
    ['a chunk extension that breaks its line', chunked(`3;a\nb\r\naaa\r\n${last}${SECOND}`)],
    ['a chunk extension without end', chunked(`3;${'a'.repeat(20_000)}\r\naaa\r\n${last}${SECOND}`)],
    ['a trailer that names a length', chunked(`0\r\nContent-Length: 100\r\nTransfer-Encoding: chunked\r\n\r\n${SECOND}`)],
  ])('E8 %s: 400, the connection ends, and nothing behind it is run', async (_, text) => {
    const answer = await send(text);
    expect(statuses(answer)).toEqual([400]);
    expect(answer).toMatch(/^Connection: close\r$/m);
    expect(answer).not.toContain('smuggled');
  });

  test.each<[string, string]>([
    ['longer than it says', '3\r\naaaa\r\n'],
    ['whose end is LF', '3\r\naaa\n'],
    ['whose end is missing', '3\r\naaa'],
  ])('E8 a chunk %s ends the connection, and nothing behind it is run', async (_, chunk) => {
    const answer = await send(chunked(`${chunk}${last}${SECOND}`));
    expect(answer).not.toContain('smuggled');
    expect(statuses(answer).at(-1)).toBe(400);
  });

  test('E8 what ends in the wrong way is not stored, though what came before it has the right digest', async () => {
    for (const bytes of [randomBytes(100), randomBytes(2_600_000)]) {
      for (const tail of ['zz\r\n', '\n0\r\n\r\n', '\r\n0', '\r\n0\r\nX\r\n\r\n']) {
        for (const [method, path] of [
          ['POST', `/v2/${name}/blobs/uploads/?digest=${sha256(bytes)}`],
          ['PUT', `${await begin(client, name)}?digest=${sha256(bytes)}`],
        ] as const) {
          const connection = await openRaw(server);
          connection.send(head(method, path, { 'Transfer-Encoding': 'chunked' }));
          connection.send(`${bytes.length.toString(16)}\r\n`);
          connection.send(bytes);
          connection.send(tail);
          connection.socket.end();
          await connection.closed;
          expect(statuses(connection.received())).not.toContain(201);
        }
      }
      await must(client, [404], 'HEAD', `/v2/${name}/blobs/${sha256(bytes)}`);
    }
  });

  test('E8 a body that nobody asked for is not run as a request, whatever the answer to its head', async () => {
    const heads: [string, string, number][] = [
      ['GET', '/v2/', 200],
      ['HEAD', '/v2/', 200],
      ['DELETE', `/v2/${name}/manifests/none`, 404],
      ['GET', `/v2/${name}/manifests/none`, 404],
      ['POST', `/v2/${name}/blobs/uploads/`, 202],
      ['PUT', '/v2/nowhere', 404],
      ['PUT', '/nowhere', 404],
      ['PATCH', '/v2/', 405],
      ['GET', '/livez', 200],
      ['PUT', `/v2/${name}/manifests/.bad`, 400],
    ];
    for (const [method, path, status] of heads) {
      for (const framed of [
        head(method, path, { 'Content-Length': SECOND.length }) + SECOND,
        `${head(method, path, { 'Transfer-Encoding': 'chunked' })}${SECOND.length.toString(16)}\r\n${SECOND}\r\n${last}`,
      ]) {
        const connection = await openRaw(server);
        connection.send(framed);
        connection.send(head('GET', '/v2/', { 'X-Request-Id': 'third', Connection: 'close' }));
        await connection.closed;
        expect([method, path, statuses(connection.received())]).toEqual([method, path, [status, 200]]);
        expect(connection.received()).toContain('X-Request-Id: third');
        expect(connection.received()).not.toContain('smuggled');
      }
    }
  });

  test('E8 no other protocol is spoken on the connection', async () => {
    for (const headers of [
      { Connection: 'Upgrade, HTTP2-Settings', Upgrade: 'h2c', 'HTTP2-Settings': 'AAMAAABkAAQAAP__' },
      { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Key': 'x', 'Sec-WebSocket-Version': '13' },
    ]) {
      const answer = await send(head('GET', '/v2/', headers));
      expect(statuses(answer)).toEqual([200]);
    }
    expect(await send(`CONNECT registry:443 HTTP/1.1\r\nHost: registry\r\n\r\n${SECOND}`)).not.toContain('smuggled');
  });

  test.each<[string, (connection: RawConnection) => void]>([
    ['garbage', ({ send: more }) => more('GARBAGE\r\n\r\n')],
    ['an ambiguous request', ({ send: more }) => more('GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n')],
    ['a sound request, then garbage', ({ send: more }) => more(`${SECOND}GARBAGE\r\n\r\n`)],
  ])('E8 %s while a blob is sent does not put an answer among its bytes', async (_, disturb) => {
    const bytes = Buffer.alloc(30_000_000, 'z');
    const digest = await client.pushBlob(name, bytes);
    const connection = await openRaw(server);
    connection.socket.pause();
    connection.send(head('GET', `/v2/${name}/blobs/${digest}`));
    await until('the blob is on its way', async () => (await metric(server, 'entrepot_transfers_running')) === 1);
    disturb(connection);
    await until('the transfer ends', async () => (await metric(server, 'entrepot_transfers_running')) === 0);
    connection.socket.resume();
    await connection.closed;
    const answer = connection.received();
    expect(statuses(answer)).toEqual([200]);
    // Cut short, so that nobody takes it for whole.
    expect(answer.length).toBeLessThan(bytes.length);
    expect(answer.slice(answer.indexOf('\r\n\r\n') + 4)).toMatch(/^z*$/);
  });

  test.each<[string, string]>([
    ['of 20,000 bytes', `X-Bomb: ${'b'.repeat(20_000)}\r\n`],
    ['in thousands', 'a: b\r\n'.repeat(5000)],
    ['with a name of 20,000 bytes', `${'b'.repeat(20_000)}: 1\r\n`],
  ])('E8 headers %s: refused, and the connection ends', async (_, headers) => {
    const answer = await send(`GET /v2/ HTTP/1.1\r\nHost: registry\r\n${authorization}${headers}\r\n${SECOND}`);
    expect(statuses(answer)).toEqual([400]);
    expect(answer).not.toContain('smuggled');
  });
});
