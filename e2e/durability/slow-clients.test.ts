import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Client, must, sha256 } from '../harness/client.ts';
import { head, metric, openRaw, type RawConnection, until } from '../harness/raw.ts';
import { startServer, type TestServer } from '../harness/server.ts';
import { Ledger } from './ledger.ts';
import { newMaterial, pushImage } from './scenario.ts';

const IDLE_SECONDS = 3;
const CLIENTS = 200;
const name = 'demo/app';
const uploads = `/v2/${name}/blobs/uploads/`;

describe('slow and half-open clients', () => {
  let server: TestServer;
  let client: Client;
  const big = randomBytes(16 << 20);

  beforeAll(async () => {
    server = await startServer({ env: { ENTREPOT_IDLE_TIMEOUT_SECONDS: String(IDLE_SECONDS) } });
    client = new Client(server.url);
    await client.pushBlob(name, big);
  });
  afterAll(() => server.stop('SIGKILL'));

  const begin = async () => (await must(client, [202], 'POST', uploads)).headers.get('location') ?? '';
  const running = () => metric(server, 'entrepot_transfers_running');

  test(`${CLIENTS} of them do not keep others from pushing and pulling`, async () => {
    const slow: RawConnection[] = [];
    const drips: (() => void)[] = [];
    const timer = setInterval(() => drips.forEach((drip) => void drip()), 200);
    for (let i = 0; i < CLIENTS; i++) {
      const connection = await openRaw(server);
      slow.push(connection);
      switch (i % 4) {
        case 0: // head byte by byte
          drips.push(() => connection.send('X-Padding: 1\r\n'));
          connection.send(`GET /v2/ HTTP/1.1\r\n`);
          break;
        case 1: // body byte by byte
          connection.send(head('PATCH', await begin(), { 'Content-Length': 1_000_000 }));
          drips.push(() => connection.send('x')); // not before the head is out
          break;
        case 2: // a download that is not read
          connection.socket.pause();
          connection.send(head('GET', `/v2/${name}/blobs/${sha256(big)}`));
          break;
        default: // a body read on demand, a little at a time
          connection.socket.pause();
          drips.push(() => void connection.socket.read(1000));
          connection.send(head('GET', `/v2/${name}/blobs/${sha256(big)}`));
      }
    }
    try {
      await until('the slow transfers run', async () => (await running()) >= CLIENTS / 2);
      const ledger = new Ledger();
      await Promise.all(
        Array.from({ length: 8 }, () => pushImage(new Client(server.url), ledger, newMaterial(`demo/${randomBytes(4).toString('hex')}`))),
      );
      await ledger.verify(client);
      expect((await must(client, [200], 'GET', `/v2/${name}/blobs/${sha256(big)}`)).bytes.equals(big)).toBe(true);
      // They were there all the time: those whose body drips still are. A head has its own limit, which may be over by now.
      const dripping = slow.filter((_, index) => index % 4 === 1);
      expect(dripping.filter(({ socket }) => socket.readyState === 'open')).toHaveLength(dripping.length);
    } finally {
      clearInterval(timer);
      for (const { socket } of slow) socket.destroy();
    }
    await until('all transfers end', async () => (await running()) === 0);
  });

  test('an upload that keeps moving takes as long as it takes', async () => {
    const bytes = randomBytes(30_000);
    const connection = await openRaw(server);
    connection.send(head('PUT', `${await begin()}?digest=${sha256(bytes)}`, { 'Content-Length': bytes.length, Connection: 'close' }));
    const pieces = 15;
    for (let i = 0; i < pieces; i++) {
      connection.send(bytes.subarray((i * bytes.length) / pieces, ((i + 1) * bytes.length) / pieces));
      await delay((IDLE_SECONDS * 1000) / 5); // three times the limit on silence in all
    }
    await connection.closed;
    expect(connection.received()).toMatch(/^HTTP\/1\.1 201 /);
  });

  test('so does a download that is read slowly', async () => {
    const connection = await openRaw(server);
    connection.socket.pause();
    connection.send(head('GET', `/v2/${name}/blobs/${sha256(big)}`, { Connection: 'close' }));
    let length = 0;
    connection.socket.removeAllListeners('data');
    for await (const chunk of connection.socket) {
      length += (chunk as Buffer).length;
      if (length < 6 << 20) await delay(50);
    }
    expect(length).toBeGreaterThan(big.length);
  });

  test('a stalled one is cut and what it held is free again; its upload can go on', async () => {
    const files = await metric(server, 'process_open_fds');
    const bytes = randomBytes(1_000_000);
    const location = await begin();
    const silent = await openRaw(server);
    const upload = await openRaw(server);
    upload.send(head('PATCH', location, { 'Content-Length': bytes.length }));
    upload.send(bytes.subarray(0, 700_000));
    const downloads = await Promise.all(Array.from({ length: 10 }, () => openRaw(server)));
    for (const { socket, send } of downloads) {
      socket.pause();
      send(head('GET', `/v2/${name}/blobs/${sha256(big)}`));
    }
    await until('the transfers run', async () => (await running()) === 11);
    await until('they are cut', async () => (await running()) === 0);
    for (const { socket } of downloads) socket.resume(); // what had arrived is read, then comes the end
    await Promise.all([silent, upload, ...downloads].map(({ closed }) => closed));
    for (const { received } of downloads) expect(received().length).toBeLessThan(big.length);
    await until('their files and sockets are closed', async () => (await metric(server, 'process_open_fds')) <= files + 2);

    const status = await must(client, [204], 'GET', location);
    expect(status.headers.get('range')).toBe('0-699999');
    await must(client, [201], 'PUT', `${location}?digest=${sha256(bytes)}`, { body: bytes.subarray(700_000) });
    expect((await must(client, [200], 'GET', `/v2/${name}/blobs/${sha256(bytes)}`)).bytes.equals(bytes)).toBe(true);
  });
});
