import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Client, must, sha256 } from '../harness/client.ts';
import { until } from '../harness/raw.ts';
import { done } from '../harness/rest.ts';
import { entrepot, startServer, temporaryFolder } from '../harness/server.ts';
import { blobFile, blobStatus, flip } from './disk.ts';

describe('an encrypted registry', () => {
  test('has encrypted backups, also of what was pushed again since an older snapshot', async () => {
    const options = { encryption: 'file' };
    const server = await startServer({ options });
    const client = new Client(server.url);
    const canary = Buffer.from('a canary that nobody may find on a disk. '.repeat(8000));
    const image = await client.pushImage('demo/app', 'v1', [canary, randomBytes(200_000)]);
    const backup = join(temporaryFolder(), 'backup');
    const run = (...words: string[]) => entrepot(...words, '--encryption', 'file');
    const create = () => run('backup', backup, '--data', server.dataDir, '--plain-keys', '--json');
    const first = JSON.parse((await create()).out) as { copied: number; snapshot: { id: string } };
    await client.pushBlob('demo/again', canary); // under another key
    const second = JSON.parse((await create()).out) as { copied: number };
    expect([first.copied, second.copied]).toEqual([3, 1]);
    expect((await entrepot('backup', 'verify', backup)).code).toBe(0);
    for (const entry of readdirSync(backup, { recursive: true, withFileTypes: true })) {
      if (entry.isFile()) expect(readFileSync(join(entry.parentPath, entry.name)).includes('a canary that')).toBe(false);
    }
    expect(await server.stop()).toBe(0);
    rmSync(server.dataDir, { recursive: true, force: true });
    for (const words of [[], ['--snapshot', first.snapshot.id]]) {
      const data = join(temporaryFolder(), 'new');
      const restored = await run('restore', backup, '--data', data, ...words);
      expect([restored.code, restored.out, restored.err]).toEqual([0, expect.stringContaining('all is well'), '']);
      const again = await startServer({ dataDir: data, options });
      const reader = new Client(again.url);
      expect((await must(reader, [200], 'GET', `/v2/demo/app/manifests/${image.digest}`)).bytes.equals(image.bytes)).toBe(true);
      expect((await must(reader, [200], 'GET', `/v2/demo/app/blobs/${sha256(canary)}`)).bytes.equals(canary)).toBe(true);
      expect(await again.stop()).toBe(0);
    }
    // Sealed bytes that rot are found without keys.
    const path = join(backup, 'storage/docker/registry/v2/blobs/sha256', sha256(canary).slice(7, 9), sha256(canary).slice(7), 'data');
    flip(path, 100_000);
    expect((await entrepot('backup', 'verify', backup)).code).toBe(2);
  });

  test('has damage found and repaired as any other', async () => {
    const server = await startServer({ options: { encryption: 'file' } });
    const client = new Client(server.url);
    const layer = randomBytes(300_000);
    const digest = await client.pushBlob('demo/app', layer);
    flip(blobFile(server.dataDir, digest), 150_000);
    await done(202, client, 'POST', `/storage/damaged-blobs/${digest}/check`);
    await until('quarantine', async () => (await blobStatus(client, 'HEAD', 'demo/app', digest)) === 404);
    await client.pushBlob('demo/app', layer);
    expect((await must(client, [200], 'GET', `/v2/demo/app/blobs/${digest}`)).bytes.equals(layer)).toBe(true);
    expect(await server.stop()).toBe(0);
  });
});
