import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, begin, Client, errorOf, must, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { head, metric, openRaw, until } from '../harness/raw.ts';
import { startServer, type TestServer } from '../harness/server.ts';
import { unmeasured } from './ways.ts';

const name = 'demo/app';

describe('chunks out of place', () => {
  let server: TestServer;
  let client: Client;
  beforeAll(async () => {
    server = await startServer();
    client = new Client(server.url);
  });
  afterAll(async () => {
    expect(await server.stop()).toBe(0);
    await checkInvariants(server.dataDir);
  });

  const bytes = randomBytes(1_000_000);
  const digest = sha256(bytes);
  const from = (start: number) => ({ headers: { 'Content-Range': `${start}-${bytes.length - 1}` }, body: bytes.subarray(start) });
  const isStored = async () => {
    expect((await must(client, [200], 'GET', `/v2/${name}/blobs/${digest}`)).bytes.equals(bytes)).toBe(true);
    await must(client, [202], 'DELETE', `/v2/${name}/blobs/${digest}`);
  };
  /** What a refusal must tell, so that the client can go on. */
  const tellsPlace = (answer: Answer, location: string, range: string) => {
    expect(errorOf(answer).code).toBe('BLOB_UPLOAD_INVALID');
    expect(answer.headers.get('location')).toBe(location);
    expect(answer.headers.get('range')).toBe(range);
  };

  test.each(['PATCH', 'PUT'])('%s before, after or over what is there: 416 with the place, then the upload goes on', async (method) => {
    const location = await begin(client, name);
    const path = method === 'PUT' ? `${location}?digest=${digest}` : location;
    tellsPlace(await must(client, [416], method, path, from(1)), location, '0-0');
    await must(client, [202], 'PATCH', location, { body: bytes.subarray(0, 300_000) });
    for (const start of [0, 299_999, 300_001, 900_000]) {
      tellsPlace(await must(client, [416], method, path, from(start)), location, '0-299999');
      expect((await must(client, [204], 'GET', location)).headers.get('range')).toBe('0-299999');
    }
    // Also where the length is not announced, and the body must be taken to be answered.
    tellsPlace(await must(client, [416], method, path, { ...from(7), body: unmeasured(bytes.subarray(7)) }), location, '0-299999');
    await must(client, [method === 'PUT' ? 201 : 202], method, path, from(300_000));
    if (method === 'PATCH') await must(client, [201], 'PUT', `${location}?digest=${digest}`);
    await isStored();
  });

  test.each(['PATCH', 'PUT'])(
    '%s whose Content-Range is malformed or not as long as its body: 400, then the upload goes on',
    async (method) => {
      const location = await begin(client, name);
      await must(client, [202], 'PATCH', location, { body: bytes.subarray(0, 1000) });
      const path = method === 'PUT' ? `${location}?digest=${digest}` : location;
      for (const range of [
        '1000-1998',
        '1000-2000',
        '1000-999',
        '1000-0',
        '1000',
        '-1999',
        '1000-',
        'a-b',
        '0x3e8-0x7cf',
        '1000-1999/x',
        'bytes=1000',
        'items 1000-1999',
        '1000-1999, 1000-1999',
        '9999999999999999-9999999999999999',
      ]) {
        const answer = await client.request(method, path, { headers: { 'Content-Range': range }, body: bytes.subarray(1000, 2000) });
        expect({ range, status: answer.status, code: errorOf(answer).code }).toEqual({ range, status: 400, code: 'BLOB_UPLOAD_INVALID' });
      }
      expect((await must(client, [204], 'GET', location)).headers.get('range')).toBe('0-999');
      await must(client, [201], 'PUT', `${location}?digest=${digest}`, from(1000));
      await isStored();
    },
  );

  test('chunks of an upload that another request finished: 404', async () => {
    const location = await begin(client, name);
    await must(client, [201], 'PUT', `${location}?digest=${digest}`, { body: bytes });
    await must(client, [404], 'PATCH', location, from(0));
    await must(client, [404], 'PUT', `${location}?digest=${digest}`, { body: bytes });
    await isStored();
  });

  test('a PUT whose connection breaks off keeps the session and what arrived', async () => {
    const large = randomBytes(3_000_000); // a small one would be gathered in memory
    const target = `${await begin(client, name)}?digest=${sha256(large)}`;
    const connection = await openRaw(server);
    connection.send(head('PUT', target, { 'Content-Length': large.length }));
    connection.send(large.subarray(0, 800_000));
    await until('the bytes arrive', async () => (await metric(server, 'entrepot_transfers_running')) === 1);
    connection.socket.destroy();
    await until('the transfer ends', async () => (await metric(server, 'entrepot_transfers_running')) === 0);
    for (;;) {
      const range = (await must(client, [204], 'GET', target)).headers.get('range') ?? '';
      const have = range === '0-0' ? 0 : Number(range.slice(2)) + 1;
      expect(have).toBeLessThanOrEqual(800_000);
      const rest = { headers: { 'Content-Range': `${have}-${large.length - 1}` }, body: large.subarray(have) };
      if ((await must(client, [201, 416], 'PUT', target, rest)).status === 201) break;
    }
    expect((await must(client, [200], 'GET', `/v2/${name}/blobs/${sha256(large)}`)).bytes.equals(large)).toBe(true);
  });

  test('a small PUT or POST whose connection breaks off leaves nothing, and is no failure of the server', async () => {
    const location = await begin(client, name);
    for (const [method, path] of [
      ['PUT', `${location}?digest=${digest}`],
      ['POST', `/v2/${name}/blobs/uploads/?digest=${digest}`],
      ['PUT', `/v2/${name}/manifests/cut`],
    ] as const) {
      const connection = await openRaw(server);
      connection.send(head(method, path, { 'Content-Length': 1000, 'X-Request-Id': 'cut' }));
      connection.send(bytes.subarray(0, 500));
      const before = await metric(server, 'entrepot_http_responses_total');
      connection.socket.destroy();
      await until('the request ends', async () => (await metric(server, 'entrepot_http_responses_total')) > before);
    }
    expect(server.output()).not.toContain('request failed');
    await must(client, [201], 'PUT', `${location}?digest=${digest}`, from(0));
    await isStored();
  });

  test('two at once: the later one takes over, and the blob is whole', async () => {
    const location = await begin(client, name);
    const connection = await openRaw(server);
    connection.send(head('PATCH', location, { 'Content-Length': bytes.length }));
    connection.send(bytes.subarray(0, 600_000));
    await until('the bytes arrive', async () => (await metric(server, 'entrepot_transfers_running')) === 1);
    const taken = await must(client, [416], 'PATCH', location, from(999_999)); // waits for the former one to end
    await connection.closed;
    const have = Number(taken.headers.get('range')?.slice(2)) + 1;
    await must(client, [201], 'PUT', `${location}?digest=${digest}`, from(have === 1 ? 0 : have));
    await isStored();
  });
});
