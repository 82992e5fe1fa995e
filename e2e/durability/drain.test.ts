import { randomBytes } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import { Client, must, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { head, metric, openRaw, until } from '../harness/raw.ts';
import { startServer, type TestServer } from '../harness/server.ts';

const name = 'demo/app';
const big = randomBytes(16 << 20);
const upload = randomBytes(2_000_000);

describe('SIGTERM', () => {
  const servers: TestServer[] = [];
  const start = async (env: Record<string, string>) => {
    const server = await startServer({ env });
    servers.push(server);
    return { server, client: new Client(server.url) };
  };
  afterEach(async () => {
    for (const server of servers.splice(0)) await server.stop('SIGKILL');
  });

  /** An upload and a download that are half way. */
  const busy = async (server: TestServer, client: Client) => {
    await client.pushBlob(name, big);
    const location = (await must(client, [202], 'POST', `/v2/${name}/blobs/uploads/`)).headers.get('location') ?? '';
    const up = await openRaw(server);
    up.send(head('PUT', `${location}?digest=${sha256(upload)}`, { 'Content-Length': upload.length }));
    up.send(upload.subarray(0, 1_000_000));
    const down = await openRaw(server);
    down.socket.pause();
    down.send(head('GET', `/v2/${name}/blobs/${sha256(big)}`));
    await until('both run', async () => (await metric(server, 'entrepot_transfers_running')) === 2);
    return { up, down };
  };

  test('lets an upload and a download finish, says that it is not ready, and exits with 0', async () => {
    const { server, client } = await start({ ENTREPOT_DRAIN_SECONDS: '3600' });
    const { up, down } = await busy(server, client);
    const exit = server.stop('SIGTERM');
    // A connection from before may be closed at any time now.
    const ready = () =>
      fetch(new URL('/readyz', server.url), { headers: { Connection: 'close' } }).then(
        ({ status }) => status,
        () => 0,
      );
    await until('it is not ready', async () => (await ready()) === 503);
    expect((await client.request('GET', '/livez')).status).toBe(200);
    // Who comes all the same, because a load balancer has not looked yet, is served, and asked to go elsewhere next.
    const late = await must(client, [200], 'GET', `/v2/${name}/blobs/${sha256(big)}`);
    expect(late.bytes.equals(big)).toBe(true);
    expect(late.headers.get('connection')).toBe('close');

    down.socket.resume();
    up.send(upload.subarray(1_000_000));
    await Promise.all([up.closed, down.closed]);
    expect(up.received()).toMatch(/^HTTP\/1\.1 201 /);
    expect(down.received().endsWith(big.toString('latin1'))).toBe(true);
    expect(await exit).toBe(0);
    await expect(fetch(server.url)).rejects.toThrow();
    await checkInvariants(server.dataDir, { blobs: [{ name, digest: sha256(upload), size: upload.length }] });
  });

  test('does not wait for connections on which nothing runs', async () => {
    const { server, client } = await start({ ENTREPOT_DRAIN_SECONDS: '3600' });
    const idle = await openRaw(server);
    idle.send(head('GET', '/v2/'));
    await until('it is answered', () => idle.received().includes('{}'));
    const silent = await openRaw(server);
    await must(client, [200], 'GET', '/v2/');
    expect(await server.stop('SIGTERM')).toBe(0);
    await Promise.all([idle.closed, silent.closed]);
  });

  test.each(['1', '2'])(
    'cuts what has not finished within the limit (workers: %s); the upload goes on after the restart',
    async (workers) => {
      const { server, client } = await start({ ENTREPOT_DRAIN_SECONDS: '1', ENTREPOT_WORKERS: workers });
      const location = (await must(client, [202], 'POST', `/v2/${name}/blobs/uploads/`)).headers.get('location') ?? '';
      const up = await openRaw(server);
      up.send(head('PATCH', location, { 'Content-Length': upload.length }));
      up.send(upload.subarray(0, 1_000_000));
      await until('the bytes arrive', async () => (await must(client, [204], 'GET', location)).headers.get('range') !== '0-0');
      expect(await server.stop('SIGTERM')).toBe(0);
      await up.closed;
      const { server: next, client: again } = await (async () => {
        const restarted = await startServer({ dataDir: server.dataDir });
        servers.push(restarted);
        return { server: restarted, client: new Client(restarted.url) };
      })();
      const have = Number((await must(again, [204], 'GET', location)).headers.get('range')?.split('-')[1]) + 1;
      await must(again, [201], 'PUT', `${location}?digest=${sha256(upload)}`, { body: upload.subarray(have) });
      await checkInvariants(next.dataDir, { blobs: [{ name, digest: sha256(upload), size: upload.length }] });
    },
  );
});
