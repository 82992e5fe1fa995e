import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Client } from '../harness/client.ts';
import { openRaw, until } from '../harness/raw.ts';
import { startServer, type TestServer } from '../harness/server.ts';

/** Clients send manifests before they know that they need a token. */
describe('a request refused while its body is under way', () => {
  let server: TestServer;
  let client: Client;
  beforeAll(async () => {
    server = await startServer();
    client = new Client(server.url);
  });
  afterAll(async () => expect(await server.stop()).toBe(0));

  const put = (length: number, more = '') =>
    `PUT /v2/demo/app/manifests/1 HTTP/1.1\r\nHost: registry\r\nContent-Length: ${String(length)}\r\n${more}\r\n`;
  const body = Buffer.alloc(10_000, ' ');

  test('is answered after a small body, on a connection that goes on', async () => {
    const connection = await openRaw(server);
    connection.send(put(body.length));
    connection.send(body.subarray(0, 5000));
    // By the time others were answered it could have been, too.
    for (let i = 0; i < 20; i++) await client.request('GET', '/v2/demo/app/tags/list');
    expect(connection.received()).toBe('');
    connection.send(body.subarray(5000));
    await until('the refusal', () => connection.received().includes('UNAUTHORIZED'));
    connection.send('GET /livez HTTP/1.1\r\nHost: registry\r\n\r\n');
    await until('the next answer', () => connection.received().includes('HTTP/1.1 200'));
    connection.socket.destroy();
  });

  test.each([
    ['asks whether to send it', put(body.length, 'Expect: 100-continue\r\n')],
    ['has much to send', put(1_000_000_000)],
    ['does not know how much', put(0, 'Transfer-Encoding: chunked\r\n').replace('Content-Length: 0\r\n', '')],
  ])('is answered at once where the client %s', async (_, request) => {
    const connection = await openRaw(server);
    connection.send(request);
    await until('the refusal', () => connection.received().includes('UNAUTHORIZED'));
    expect(connection.received()).not.toContain('100 Continue');
    connection.socket.destroy();
  });

  test('whose client goes away holds nothing up', async () => {
    const connection = await openRaw(server);
    connection.send(put(body.length));
    connection.send(body.subarray(0, 5000));
    await client.request('GET', '/livez');
    connection.socket.destroy();
    expect((await client.request('GET', '/v2/')).status).toBe(200);
  });
});
