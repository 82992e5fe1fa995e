import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Client, must } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { head, metric, openRaw, until } from '../harness/raw.ts';
import { startServer, type TestServer } from '../harness/server.ts';

const name = 'demo/app';
const SIZE = 3_000_000;
const FIRST = 1_000_000;

describe('an upload goes on', () => {
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

  const restart = async (signal: NodeJS.Signals) => {
    await server.stop(signal);
    server = await startServer({ dataDir: server.dataDir });
    client = new Client(server.url);
  };

  /** Sends a part of a chunk, and breaks the connection off. */
  const cut = async (location: string, bytes: Buffer) => {
    const connection = await openRaw(server);
    connection.send(head('PATCH', location, { 'Content-Length': bytes.length }));
    connection.send(bytes.subarray(0, bytes.length / 2));
    await until('the bytes arrive', async () => (await metric(server, 'entrepot_transfers_running')) === 1);
    connection.socket.destroy();
  };

  /** What a client does: asks how far the upload came and sends the rest from there, again if that was not yet settled. */
  const resume = async (location: string, bytes: Buffer): Promise<number> => {
    for (;;) {
      const status = await must(client, [204], 'GET', location);
      const range = status.headers.get('range') ?? '';
      const have = range === '0-0' ? 0 : Number(range.split('-')[1]) + 1;
      const headers = { 'Content-Range': `${have}-${bytes.length - 1}` };
      const { status: answered } = await must(client, [202, 416], 'PATCH', location, { headers, body: bytes.subarray(have) });
      if (answered === 202) return have;
    }
  };

  test.each([
    ['sha256', 'sha256', 'a cut connection', async (location: string, rest: Buffer) => cut(location, rest)],
    ['sha512', 'sha512', 'a cut connection', async (location: string, rest: Buffer) => cut(location, rest)],
    ['sha256', 'sha512', 'a cut connection', async (location: string, rest: Buffer) => cut(location, rest)],
    ['sha256', 'sha256', 'a restart', async () => restart('SIGTERM')],
    ['sha512', 'sha512', 'a restart', async () => restart('SIGTERM')],
    ['sha256', 'sha256', 'kill -9', async () => restart('SIGKILL')],
    [
      'sha512',
      'sha512',
      'kill -9 in the middle of a chunk',
      async (location: string, rest: Buffer) => {
        const connection = await openRaw(server);
        connection.send(head('PATCH', location, { 'Content-Length': rest.length }));
        connection.send(rest.subarray(0, rest.length / 2));
        await until('the bytes arrive', async () => (await metric(server, 'entrepot_transfers_running')) === 1);
        await restart('SIGKILL');
      },
    ],
  ])('begun as %s, ended as %s, after %s', async (begunAs, endedAs, _, interrupt) => {
    const bytes = randomBytes(SIZE);
    const digest = `${endedAs}:${createHash(endedAs).update(bytes).digest('hex')}`;
    const begun = await must(client, [202], 'POST', `/v2/${name}/blobs/uploads/?digest-algorithm=${begunAs}`);
    const location = begun.headers.get('location') ?? '';
    await must(client, [202], 'PATCH', location, { body: bytes.subarray(0, FIRST) });
    await interrupt(location, bytes.subarray(FIRST));
    expect(await resume(location, bytes)).toBeGreaterThanOrEqual(FIRST);
    await must(client, [201], 'PUT', `${location}?digest=${digest}`);
    expect((await must(client, [200], 'GET', `/v2/${name}/blobs/${digest}`)).bytes.equals(bytes)).toBe(true);
    await must(client, [404], 'GET', location);
  });

  test('a chunk in the wrong place is refused with the right one, and a wrong digest ends it', async () => {
    const bytes = randomBytes(1000);
    const location = (await must(client, [202], 'POST', `/v2/${name}/blobs/uploads/`)).headers.get('location') ?? '';
    await must(client, [202], 'PATCH', location, { body: bytes.subarray(0, 500) });
    for (const range of ['0-499', '400-899', '600-999']) {
      const { headers } = await must(client, [416], 'PATCH', location, {
        headers: { 'Content-Range': range },
        body: bytes.subarray(0, range.startsWith('6') ? 400 : 500),
      });
      expect(headers.get('range')).toBe('0-499');
    }
    await must(client, [400], 'PUT', `${location}?digest=sha256:${'0'.repeat(64)}`, { body: bytes.subarray(500) });
    await must(client, [404], 'GET', location);
  });
});
