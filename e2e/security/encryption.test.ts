import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { blobFile, canary, expectNoCanary } from '../harness/canary.ts';
import { begin, Client, imageManifest, must, sha256 } from '../harness/client.ts';
import { head, metric, openRaw, until } from '../harness/raw.ts';
import { startServer, type TestServer } from '../harness/server.ts';

const name = 'demo/app';
const options = { encryption: 'file' };
const RECORD = 65_536;

let server: TestServer;
let client: Client;
beforeAll(async () => {
  server = await startServer({ options });
  client = new Client(server.url);
});
afterAll(async () => expect(await server.stop()).toBe(0));

const get = async (digest: string, headers: Record<string, string> = {}) =>
  await client.request('GET', `/v2/${name}/blobs/${digest}`, { headers });
const dataOf = (digest: string) => blobFile(server.dataDir, digest);

describe('uploads of every kind leave no readable byte on disk', () => {
  test('small, in one request', async () => {
    const bytes = canary(3000);
    await client.pushBlob(name, bytes);
    await must(client, [201], 'POST', `/v2/${name}/blobs/uploads/?digest=${sha256(canary(5000))}`, { body: canary(5000) });
    expectNoCanary(server.dataDir);
    expect((await get(sha256(bytes))).bytes.equals(bytes)).toBe(true);
  });

  test('large, in one request and as a stream of unknown length', async () => {
    const bytes = canary(5_000_000);
    await client.pushBlob(name, bytes);
    const other = canary(5_000_001);
    const stream = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(new Uint8Array(other));
        controller.close();
      },
    });
    await must(client, [201], 'PUT', `${await begin(client, name)}?digest=${sha256(other)}`, { body: stream });
    expectNoCanary(server.dataDir);
    expect((await get(sha256(bytes))).bytes.equals(bytes)).toBe(true);
    expect((await get(sha256(other))).bytes.equals(other)).toBe(true);
  });

  test('in chunks of any length, while one is under way, and after it broke off', async () => {
    const bytes = canary(1_000_000);
    const location = await begin(client, name);
    let at = 0;
    for (const length of [1, 100, RECORD - 101, RECORD, 200_000, 77_777]) {
      const headers = { 'Content-Range': `${at}-${at + length - 1}` };
      const answer = await must(client, [202], 'PATCH', location, { headers, body: bytes.subarray(at, at + length) });
      at += length;
      expect(answer.headers.get('range')).toBe(`0-${at - 1}`);
      expectNoCanary(server.dataDir);
    }
    const connection = await openRaw(server);
    connection.send(head('PATCH', location, { 'Content-Length': bytes.length - at }));
    connection.send(bytes.subarray(at, at + 300_000));
    await until('the bytes arrive', async () => (await metric(server, 'entrepot_transfers_running')) === 1);
    expectNoCanary(server.dataDir);
    connection.socket.destroy();
    await until('the upload is given back', async () => (await metric(server, 'entrepot_transfers_running')) === 0);
    const range = (await must(client, [204], 'GET', location)).headers.get('range') ?? '';
    const have = Number(range.split('-')[1]) + 1;
    expect(have).toBeGreaterThanOrEqual(at);
    expectNoCanary(server.dataDir);
    await must(client, [201], 'PUT', `${location}?digest=${sha256(bytes)}`, {
      headers: { 'Content-Range': `${have}-${bytes.length - 1}` },
      body: bytes.subarray(have),
    });
    expectNoCanary(server.dataDir);
    expect((await get(sha256(bytes))).bytes.equals(bytes)).toBe(true);
  });

  test('that are given up', async () => {
    const location = await begin(client, name);
    await must(client, [202], 'PATCH', location, { body: canary(200_000) });
    await must(client, [204], 'DELETE', location);
    await must(client, [400], 'PUT', `${await begin(client, name)}?digest=${sha256('another')}`, { body: canary(3_000_000) });
    expectNoCanary(server.dataDir);
    expect(readdirSync(join(server.dataDir, 'storage/docker/registry/v2/uploads'))).toEqual([]);
  });
});

describe('a stored blob', () => {
  const bytes = randomBytes(20 * RECORD + 1234);
  const digest = sha256(bytes);
  beforeAll(async () => void (await client.pushBlob(name, bytes)));

  test.each([
    ['0-0', 0, 0],
    ['65535-65535', 65_535, 65_535],
    ['65536-65536', 65_536, 65_536],
    ['65530-65541', 65_530, 65_541],
    ['-1', bytes.length - 1, bytes.length - 1],
    [`${19 * RECORD}-`, 19 * RECORD, bytes.length - 1],
    ['0-', 0, bytes.length - 1],
    ['100-1200000', 100, 1_200_000],
  ])('gives the range %s', async (range, first, last) => {
    const answer = await get(digest, { Range: `bytes=${range}` });
    expect(answer.status).toBe(206);
    expect(answer.headers.get('content-range')).toBe(`bytes ${first}-${last}/${bytes.length}`);
    expect(answer.bytes.equals(bytes.subarray(first, last + 1))).toBe(true);
  });

  test('gives several ranges at once', async () => {
    const answer = await get(digest, { Range: 'bytes=0-9,70000-70009,-5' });
    expect(answer.status).toBe(206);
    for (const part of [bytes.subarray(0, 10), bytes.subarray(70_000, 70_010), bytes.subarray(-5)])
      expect(answer.bytes.includes(part)).toBe(true);
  });

  test('that was changed on disk is cut off where it was, and is never given out whole', async () => {
    const path = dataOf(digest);
    const stored = readFileSync(path);
    const damaged = Buffer.from(stored);
    damaged[32 + 10 * 65_552 + 5] = (damaged[32 + 10 * 65_552 + 5] ?? 0) ^ 1;
    writeFileSync(path, damaged);
    await expect(get(digest)).rejects.toThrow(); // the connection ends before the announced length
    expect((await get(digest, { Range: 'bytes=0-99' })).bytes.equals(bytes.subarray(0, 100))).toBe(true);
    writeFileSync(path, stored.subarray(0, -1));
    expect((await get(digest)).status).toBe(503);
    writeFileSync(path, stored);
    expect((await get(digest)).bytes.equals(bytes)).toBe(true);
  });
});

test('an upload goes on after kill -9 wherever it strikes, and its blob is whole', async () => {
  const bytes = randomBytes(2_000_000);
  const location = await begin(client, name);
  for (let kills = 0, have = 0; kills < 2; kills++) {
    const connection = await openRaw(server);
    connection.send(head('PATCH', location, { 'Content-Length': bytes.length - have, 'Content-Range': `${have}-${bytes.length - 1}` }));
    connection.send(bytes.subarray(have, have + 123_457 * (kills + 1)));
    await until('the bytes arrive', async () => (await metric(server, 'entrepot_transfers_running')) === 1);
    await server.stop('SIGKILL');
    server = await startServer({ dataDir: server.dataDir, options });
    client = new Client(server.url);
    const range = (await must(client, [204], 'GET', location)).headers.get('range') ?? '';
    have = range === '0-0' ? 0 : Number(range.split('-')[1]) + 1;
    const part = bytes.subarray(have, have + 100_001);
    await must(client, [202], 'PATCH', location, { headers: { 'Content-Range': `${have}-${have + part.length - 1}` }, body: part });
    have += part.length;
  }
  const range = (await must(client, [204], 'GET', location)).headers.get('range') ?? '';
  const have = Number(range.split('-')[1]) + 1;
  expect(have).toBeGreaterThanOrEqual(200_002);
  await must(client, [201], 'PUT', `${location}?digest=${sha256(bytes)}`, {
    headers: { 'Content-Range': `${have}-${bytes.length - 1}` },
    body: bytes.subarray(have),
  });
  expect((await get(sha256(bytes))).bytes.equals(bytes)).toBe(true);
});

test('images that their clients encrypted pass through unchanged', async () => {
  const layer = randomBytes(100_000);
  const config = Buffer.from('{"architecture":"amd64","os":"linux"}');
  await client.pushBlob(name, layer);
  await client.pushBlob(name, config);
  const manifest = imageManifest(config, [layer]) as { layers: object[] };
  manifest.layers = manifest.layers.map((each) => ({
    ...each,
    mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip+encrypted',
    annotations: {
      'org.opencontainers.image.enc.keys.jwe': Buffer.from('{"protected":"…"}').toString('base64'),
      'org.opencontainers.image.enc.pubopts': Buffer.from('{"cipher":"AES_256_CTR_HMAC_SHA256","hmac":"…","cipheroptions":{}}').toString(
        'base64',
      ),
    },
  }));
  const { bytes, digest } = await client.pushManifest(name, 'sealed', manifest);
  const pulled = await client.request('GET', `/v2/${name}/manifests/sealed`);
  expect(pulled.bytes.equals(bytes)).toBe(true);
  expect(pulled.headers.get('docker-content-digest')).toBe(digest);
  expect((await get(sha256(layer))).bytes.equals(layer)).toBe(true);
});
