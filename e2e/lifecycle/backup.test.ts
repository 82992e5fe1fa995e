import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Client, must, type PushedImage, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { entrepot, startServer, temporaryFolder } from '../harness/server.ts';

describe('backup', () => {
  test('under pushes and deletions has all that was acknowledged before it began, on a clean host', { timeout: 110_000 }, async () => {
    const server = await startServer();
    const client = new Client(server.url);
    const backup = join(temporaryFolder(), 'backup');
    const before: PushedImage[] = [];
    const layers = new Map<string, Buffer>();
    for (let at = 0; at < 8; at++) {
      const layer = randomBytes(200_000 + at);
      layers.set(sha256(layer), layer);
      before.push(await client.pushImage('demo/before', `v${at}`, [layer]));
    }
    // Pushes and deletions of others while it runs.
    let running = true;
    let pushed = 0;
    const busy = [1, 2].map(async (worker) => {
      while (running) {
        const image = await client.pushImage(`demo/busy${worker}`, 'latest', [randomBytes(50_000)]);
        pushed++;
        if (pushed % 2 === 0) await must(client, [202], 'DELETE', `/v2/demo/busy${worker}/manifests/${image.digest}`);
      }
    });
    const passphrase = join(temporaryFolder(), 'passphrase');
    writeFileSync(passphrase, 'a passphrase of some length\n', { mode: 0o600 });
    const first = await entrepot('backup', backup, '--data', server.dataDir, '--passphrase-file', passphrase);
    const second = await entrepot('backup', backup, '--data', server.dataDir, '--passphrase-file', passphrase, '--json');
    running = false;
    await Promise.all(busy);
    expect([first.code, second.code, first.err]).toEqual([0, 0, '']);
    const { copied, snapshot } = JSON.parse(second.out) as { copied: number; snapshot: { blobs: { count: number } } };
    expect(copied).toBeLessThan(snapshot.blobs.count - 8);
    expect(pushed).toBeGreaterThan(0);
    expect((await entrepot('backup', 'verify', backup)).code).toBe(0);
    const key = join(temporaryFolder(), 'key.pem');
    writeFileSync(key, await server.command('audit', 'key'));
    expect((await entrepot('backup', 'verify', backup, '--quick', '--public-key', key)).code).toBe(0);
    expect(await server.stop()).toBe(0);
    rmSync(server.dataDir, { recursive: true, force: true });

    const data = join(temporaryFolder(), 'new');
    const refused = await entrepot('restore', backup, '--data', data);
    expect([refused.code, refused.err]).toEqual([1, expect.stringContaining('--passphrase-file')]);
    const restored = await entrepot('restore', backup, '--data', data, '--passphrase-file', passphrase);
    expect([restored.code, restored.out]).toEqual([0, expect.stringContaining('all is well')]);
    expect((await entrepot('restore', backup, '--data', data, '--passphrase-file', passphrase)).err).toContain('never overwrites');
    await checkInvariants(data);
    const again = await startServer({ dataDir: data });
    const reader = new Client(again.url);
    for (const { digest, bytes } of before) {
      expect((await must(reader, [200], 'GET', `/v2/demo/before/manifests/${digest}`)).bytes.equals(bytes)).toBe(true);
    }
    for (const [digest, bytes] of layers) {
      expect((await must(reader, [200], 'GET', `/v2/demo/before/blobs/${digest}`)).bytes.equals(bytes)).toBe(true);
    }
    expect(await again.command('audit', 'verify')).toContain('are as they were written');
    expect(await again.stop()).toBe(0);
    // Nothing in a backup is for others, and keys are not in it as they are.
    const master = readFileSync(join(data, 'keys/master.key'));
    for (const entry of readdirSync(backup, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      expect([path, statSync(path).mode & 0o077]).toEqual([path, 0]);
      if (entry.isFile()) expect(readFileSync(path).includes(master)).toBe(false);
    }
  });
});
