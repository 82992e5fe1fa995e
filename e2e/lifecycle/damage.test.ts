import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Client, imageManifest, must, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { until } from '../harness/raw.ts';
import { done, rest } from '../harness/rest.ts';
import { entrepot, startServer, type TestServer, temporaryFolder } from '../harness/server.ts';
import { describeWith, exec } from '../harness/tools.ts';
import { blobFile, blobStatus, flip } from './disk.ts';

describe('damage', () => {
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

  test('of a layer is found by scrub, kept from clients, told with its images, and ended by a push', async () => {
    const layer = randomBytes(400_000);
    const digest = sha256(layer);
    const image = await client.pushImage('demo/app', 'v1', [layer]);
    await client.pushBlob('demo/other', layer);
    flip(blobFile(server.dataDir, digest), 123_456);
    await done(202, client, 'POST', '/storage/scrub');
    await until('quarantine', async () => (await blobStatus(client, 'HEAD', 'demo/app', digest)) === 404);
    for (const name of ['demo/app', 'demo/other']) expect(await blobStatus(client, 'GET', name, digest)).toBe(404);
    const { items } = await done<{ items: { digest: string; problem: string }[] }>(200, client, 'GET', '/storage/damaged-blobs');
    expect(items).toMatchObject([{ digest, problem: 'hash' }]);
    const images = await done<{ items: object[] }>(200, client, 'GET', `/storage/damaged-blobs/${digest}/images`);
    expect(images.items).toEqual([{ repository: 'demo/app', digest: image.digest, tags: ['v1'] }]);
    // Neither mounted nor named by a new manifest.
    expect((await client.request('POST', `/v2/demo/third/blobs/uploads/?mount=${digest}&from=demo/app`)).status).toBe(202);
    const config = Buffer.from('{}');
    await client.pushBlob('demo/app', config);
    const manifest = JSON.stringify(imageManifest(config, [layer]));
    const put = { headers: { 'Content-Type': 'application/vnd.oci.image.manifest.v1+json' }, body: manifest };
    expect((await client.request('PUT', '/v2/demo/app/manifests/v2', put)).status).toBe(404);
    // Whoever has it pushes it again, here into yet another repository.
    await client.pushBlob('demo/fourth', layer);
    for (const name of ['demo/app', 'demo/other', 'demo/fourth']) {
      expect((await must(client, [200], 'GET', `/v2/${name}/blobs/${digest}`)).bytes.equals(layer)).toBe(true);
    }
    expect((await client.request('PUT', '/v2/demo/app/manifests/v2', put)).status).toBe(201);
    const trail = await done<{ items: { record: { action: string } }[] }>(200, client, 'GET', '/audit?action=blob.quarantine');
    expect(trail.items).toHaveLength(1);
  });

  test('of a small blob never reaches a client, before scrub found it too', async () => {
    const config = randomBytes(500);
    const digest = await client.pushBlob('demo/small', config);
    flip(blobFile(server.dataDir, digest), 5);
    const first = await client.request('GET', `/v2/demo/small/blobs/${digest}`);
    expect(first.status).toBe(503);
    await until('quarantine', async () => (await blobStatus(client, 'GET', 'demo/small', digest)) === 404);
    await client.pushBlob('demo/small', config);
    expect((await must(client, [200], 'GET', `/v2/demo/small/blobs/${digest}`)).bytes.equals(config)).toBe(true);
  });

  test('that a request meets is looked at at once: an object that is gone', async () => {
    const layer = randomBytes(100_000);
    const digest = await client.pushBlob('demo/gone', layer);
    rmSync(blobFile(server.dataDir, digest));
    expect(await blobStatus(client, 'GET', 'demo/gone', digest)).toBe(503);
    await until('quarantine', async () => (await blobStatus(client, 'HEAD', 'demo/gone', digest)) === 404);
    await client.pushBlob('demo/gone', layer);
    expect(await blobStatus(client, 'HEAD', 'demo/gone', digest)).toBe(200);
  });

  test('is found by doctor of the running server', async () => {
    await done(202, client, 'POST', '/storage/doctor', { deep: true });
    await until('the report', async () => (await rest(client, 'GET', '/storage/doctor')).status === 200);
    expect(await done(200, client, 'GET', '/storage/doctor')).toMatchObject({ errors: 0, warnings: 0 });
  });
});

describeWith(['skopeo'], 'skopeo', () => {
  test('pushes a damaged image again, layers and all', async () => {
    const server = await startServer();
    const client = new Client(server.url);
    const layer = randomBytes(150_000);
    await client.pushImage('demo/app', 'v1', [layer]);
    const folder = temporaryFolder();
    const credentials = 'admin:correct-horse-battery-staple';
    const image = `docker://${server.address}/demo/app:v1`;
    const pull = ['copy', '--src-tls-verify=false', '--src-creds', credentials, image, `dir:${folder}/image`];
    await exec('skopeo', pull);
    flip(blobFile(server.dataDir, sha256(layer)), 77);
    expect((await entrepot('scrub', '--data', server.dataDir)).code).toBe(2);
    await expect(exec('skopeo', [...pull.slice(0, -1), `dir:${folder}/broken`])).rejects.toThrow();
    await exec('skopeo', [
      'copy',
      '--preserve-digests',
      '--dest-tls-verify=false',
      '--dest-creds',
      credentials,
      `dir:${folder}/image`,
      image,
    ]);
    await exec('skopeo', [...pull.slice(0, -1), `dir:${folder}/again`]);
    const looked = await entrepot('doctor', '--data', server.dataDir, '--deep');
    expect([looked.code, looked.out]).toEqual([0, expect.stringContaining('all is well')]);
    expect(await server.stop()).toBe(0);
  });
});
