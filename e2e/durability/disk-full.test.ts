import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, mkdirSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, Client, imageManifest, must, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { startServer, type TestServer, temporaryFolder } from '../harness/server.ts';
import { describeWith } from '../harness/tools.ts';
import { Ledger } from './ledger.ts';
import { type Material, newMaterial, pushImage } from './scenario.ts';

const disk = join(temporaryFolder(), 'disk');
const TITLE = 'a full disk';

function mounted(): boolean {
  mkdirSync(disk);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', disk], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

function suite(): void {
  const ballast = join(disk, 'ballast');
  const ledger = new Ledger();
  let server: TestServer;
  let client: Client;
  let material: Material;

  beforeAll(async () => {
    server = await startServer({ dataDir: join(disk, 'data') });
    client = new Client(server.url);
    material = newMaterial();
    await pushImage(client, ledger, material);
  });
  afterAll(async () => {
    await server.stop();
    execFileSync('umount', ['-l', disk]);
  });

  const begin = async () => (await must(client, [202], 'POST', `/v2/${material.name}/blobs/uploads/`)).headers.get('location') ?? '';
  const free = () => {
    const { bavail, bsize } = statfsSync(disk);
    return bavail * bsize;
  };

  test('before the first byte: uploads and manifests are refused, reads go on', async () => {
    const session = await begin();
    const kept = randomBytes(50_000);
    await must(client, [202], 'PATCH', session, { body: kept });
    fill(ballast, 0);
    const { name, config, large } = material;
    const blob = randomBytes(200_000);
    const annotations = { padding: 'x'.repeat(100_000) };
    refused(await client.request('PUT', `${await begin()}?digest=${sha256(blob)}`, { body: blob }));
    refused(await client.request('PATCH', await begin(), { body: blob }));
    refused(await client.request('POST', `/v2/${name}/blobs/uploads/?digest=${sha256(blob)}`, { body: blob }));
    refused(await client.request('PATCH', session, { body: blob }));
    refused(await client.request('PUT', `${session}?digest=${sha256(Buffer.concat([kept, blob]))}`, { body: blob }));
    const manifest = Buffer.from(JSON.stringify(imageManifest(config, [large], { annotations })));
    const headers = { 'Content-Type': 'application/vnd.oci.image.manifest.v1+json' };
    refused(await client.request('PUT', `/v2/${name}/manifests/latest`, { headers, body: manifest }));
    await ledger.verify(client);
    await checkInvariants(server.dataDir, ledger.acknowledged());
    expect((await client.request('GET', '/livez')).status).toBe(200);

    rmSync(ballast);
    await pushImage(client, ledger, newMaterial());
    // The upload goes on where it was: what was acknowledged is there.
    const status = await must(client, [204], 'GET', session);
    const have = Number(status.headers.get('range')?.split('-')[1]) + 1;
    expect(have).toBeGreaterThanOrEqual(kept.length);
    const whole = Buffer.concat([kept, blob]);
    await ledger.change('blob', name, sha256(whole), whole, () =>
      must(client, [201], 'PUT', `${session}?digest=${sha256(whole)}`, { body: whole.subarray(have) }),
    );
    await ledger.verify(client);
  });

  test.each([0, 1])('in the middle of an upload, form %i: refused, and what had come takes no space', async (form) => {
    fill(ballast, 2 << 20);
    const before = free();
    const { name } = material;
    const blob = randomBytes(6 << 20);
    if (form === 0) {
      refused(await client.request('POST', `/v2/${name}/blobs/uploads/?digest=${sha256(blob)}`, { body: blob }));
    } else {
      const session = await begin();
      refused(await client.request('PUT', `${session}?digest=${sha256(blob)}`, { body: blob }));
      // Taken back although the upload can go on: most clients never end it.
      expect(before - free()).toBeLessThan(1 << 20);
      await must(client, [204], 'DELETE', session);
    }
    // Only the database may have grown.
    expect(before - free()).toBeLessThan(1 << 20);
    await ledger.verify(client);
    rmSync(ballast);
    await ledger.change('blob', name, sha256(blob), blob, () =>
      must(client, [201], 'POST', `/v2/${name}/blobs/uploads/?digest=${sha256(blob)}`, { body: blob }),
    );
    await ledger.verify(client);
  });

  test('nothing acknowledged is lost over a restart on the full disk', async () => {
    fill(ballast, 0);
    await server.stop('SIGKILL');
    rmSync(ballast);
    server = await startServer({ dataDir: server.dataDir });
    client = new Client(server.url);
    await ledger.verify(client);
    await pushImage(client, ledger, newMaterial());
    expect(await server.stop()).toBe(0);
    await checkInvariants(server.dataDir, ledger.acknowledged());
  });
}

/** 507, or 503 where the database is what cannot be written; with the error body of the distribution API. */
function refused(answer: Answer): void {
  expect([507, 503]).toContain(answer.status);
  expect(answer.json<{ errors: unknown[] }>().errors).toMatchObject([{ code: 'UNAVAILABLE', message: /space|storage/ }]);
}

/** Takes all space but `leave` bytes. */
function fill(path: string, leave: number): void {
  const fd = openSync(path, 'w');
  try {
    for (let chunk = 1 << 20; chunk >= 4096; chunk = chunk / 2) {
      const bytes = Buffer.alloc(chunk);
      try {
        while (room(path) - leave >= chunk || leave === 0) if (writeSync(fd, bytes) < chunk) break;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      }
    }
  } finally {
    closeSync(fd);
  }
}

function room(path: string): number {
  const { bavail, bsize } = statfsSync(path);
  return bavail * bsize;
}

if (mounted()) {
  describe(TITLE, suite);
} else {
  describeWith(['mount'], TITLE, () => {
    console.log(`skipped: ${TITLE} (this system does not permit mounting)`);
    test.skip('needs the right to mount');
  });
}
