import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client, sha256 } from './harness/client.ts';
import { startServer, type TestServer } from './harness/server.ts';

describe('push and pull by plain requests', () => {
  let server: TestServer;
  let client: Client;
  beforeAll(async () => {
    server = await startServer();
    client = new Client(server.url);
  });
  afterAll(async () => expect(await server.stop()).toBe(0));

  it('gives back an image byte for byte, by tag and by digest', async () => {
    const layer = randomBytes(2_000_000);
    const image = await client.pushImage('demo/app', 'v1', [layer]);
    for (const reference of ['v1', image.digest]) {
      const answer = await client.request('GET', `/v2/demo/app/manifests/${reference}`);
      expect(answer.status).toBe(200);
      expect(answer.bytes.equals(image.bytes)).toBe(true);
      expect(answer.headers.get('docker-content-digest')).toBe(image.digest);
    }
    const blob = await client.request('GET', `/v2/demo/app/blobs/${sha256(layer)}`);
    expect(blob.bytes.equals(layer)).toBe(true);
  });

  it('keeps everything over a restart', async () => {
    const image = await client.pushImage('demo/kept', 'v1');
    expect(await server.stop()).toBe(0);
    server = await startServer({ dataDir: server.dataDir });
    client = new Client(server.url);
    expect((await client.request('GET', '/v2/demo/kept/manifests/v1')).bytes.equals(image.bytes)).toBe(true);
  });
});
