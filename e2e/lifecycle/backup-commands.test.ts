import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Client, must, sha256 } from '../harness/client.ts';
import { entrepot, startServer, temporaryFolder } from '../harness/server.ts';
import { blobFile, flip } from './disk.ts';

describe('commands of backup', () => {
  test('asks what becomes of the keys, and takes no passphrase that others may read', async () => {
    const server = await startServer();
    const folder = temporaryFolder();
    const passphrase = join(folder, 'passphrase');
    writeFileSync(passphrase, 'a passphrase of some length\n');
    chmodSync(passphrase, 0o644);
    const run = (...words: string[]) => entrepot('backup', join(folder, 'b'), '--data', server.dataDir, ...words);
    expect((await run()).err).toContain('say what becomes of the keys');
    expect((await run('--plain-keys', '--without-keys')).err).toContain('say what becomes of the keys');
    expect((await run('--passphrase-file', passphrase)).err).toContain('chmod 600');
    expect((await entrepot('backup', join(folder, 'b'), '--data', join(folder, 'nowhere'), '--plain-keys')).err).toContain('no registry');
    expect(existsSync(join(folder, 'nowhere'))).toBe(false);
    const hold = await entrepot('backup', 'hold', '--data', server.dataDir, '--hours', '1');
    expect(hold.code).toBe(0);
    expect((await entrepot('backup', 'release', hold.out.trim(), '--data', server.dataDir)).code).toBe(0);
    expect((await entrepot('backup', 'release', hold.out.trim(), '--data', server.dataDir)).code).toBe(1);
    expect(await server.stop()).toBe(0);
  });

  test('repairs what is damaged, while the server runs; half a restore is no registry', async () => {
    const server = await startServer();
    const client = new Client(server.url);
    const folder = temporaryFolder();
    const layer = randomBytes(300_000);
    await client.pushImage('demo/app', 'v1', [layer]);
    const backup = join(folder, 'backup');
    expect((await entrepot('backup', backup, '--data', server.dataDir, '--without-keys')).code).toBe(0);
    flip(blobFile(server.dataDir, sha256(layer)), 200_000);
    const found = await entrepot('scrub', '--data', server.dataDir);
    expect([found.code, found.out]).toEqual([2, expect.stringContaining(sha256(layer))]);
    expect((await entrepot('doctor', '--data', server.dataDir)).code).toBe(2);
    const repaired = await entrepot('scrub', '--data', server.dataDir, '--repair-from', backup, '--damaged-only', '--json');
    expect([repaired.code, JSON.parse(repaired.out)]).toEqual([0, expect.objectContaining({ repaired: [sha256(layer)], damaged: 0 })]);
    expect((await must(client, [200], 'GET', `/v2/demo/app/blobs/${sha256(layer)}`)).bytes.equals(layer)).toBe(true);
    expect(await server.stop()).toBe(0);
    const half = join(folder, 'half');
    const restored = await entrepot('restore', backup, '--data', half);
    expect(restored.code).toBe(2); // doctor misses the keys
    expect(restored.out).toContain('audit.key is missing');
    writeFileSync(join(half, 'restoring'), 'some-snapshot');
    await expect(startServer({ dataDir: half })).rejects.toThrow('half of a restore');
  });
});
