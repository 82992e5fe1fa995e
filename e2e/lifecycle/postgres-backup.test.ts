import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Client, must } from '../harness/client.ts';
import { freshDatabase, ownPostgres } from '../harness/postgres.ts';
import { entrepot, startServer, temporaryFolder } from '../harness/server.ts';
import { useRegistry } from './registry-in-use.ts';

describe('backup of a registry on PostgreSQL', () => {
  test('under pushes has all that was acknowledged, on a clean host, on PostgreSQL and on SQLite', { timeout: 240_000 }, async () => {
    const folder = temporaryFolder();
    const cluster = await ownPostgres({ durable: true });
    const databaseUrl = await freshDatabase(cluster);
    const server = await startServer({ databaseUrl });
    const use = await useRegistry(server.url);
    const passphrase = join(folder, 'passphrase');
    writeFileSync(passphrase, 'a passphrase of some length\n', { mode: 0o600 });
    const urlFile = (name: string, url: string) => {
      writeFileSync(join(folder, name), url, { mode: 0o600 });
      return join(folder, name);
    };
    let running = true;
    let pushed = 0;
    const busy = [1, 2].map(async (worker) => {
      const client = new Client(server.url);
      while (running) {
        const image = await client.pushImage(`demo/busy${worker}`, 'latest', [randomBytes(20_000)]);
        if (++pushed % 2 === 0) await must(client, [202], 'DELETE', `/v2/demo/busy${worker}/manifests/${image.digest}`);
      }
    });
    const backup = join(folder, 'backup');
    const from = ['--data', server.dataDir, '--database-url-file', urlFile('from', databaseUrl)];
    const made = await entrepot('backup', backup, ...from, '--passphrase-file', passphrase);
    running = false;
    await Promise.all(busy);
    expect([made.code, made.err, pushed > 0]).toEqual([0, '', true]);
    expect((await entrepot('backup', 'verify', backup)).code).toBe(0);
    // Blobs that stay where they are: only seen to be there.
    const left = await entrepot('backup', join(folder, 'left'), ...from, '--without-keys', '--without-blobs');
    expect([left.code, left.out]).toEqual([0, expect.stringContaining('left where they were')]);
    expect(await server.stop()).toBe(0);

    const clean = await freshDatabase(cluster);
    for (const database of [clean, undefined]) {
      const dataDir = join(folder, `new-${database === undefined ? 'sqlite' : 'postgres'}`);
      const words = ['--data', dataDir, ...(database === undefined ? [] : ['--database-url-file', urlFile('clean', database)])];
      const restored = await entrepot('restore', backup, ...words, '--passphrase-file', passphrase);
      expect([restored.code, restored.out, restored.err]).toEqual([0, expect.stringMatching(/0 errors|all is well/), '']);
      const again = await startServer({ dataDir, ...(database === undefined ? {} : { databaseUrl: database }) });
      await use.check(again.url);
      await new Client(again.url).pushImage('demo/app', 'afterwards');
      expect(await again.command('audit', 'verify')).toContain('are as they were written');
      expect(await again.stop()).toBe(0);
    }

    // What is not empty is not touched, and what was altered is not restored.
    const refused = async (...words: string[]) => (await entrepot('restore', backup, ...words, '--passphrase-file', passphrase)).err;
    const other = ['--data', join(folder, 'other'), '--database-url-file', join(folder, 'clean')];
    expect(await refused(...other)).toContain('the PostgreSQL database is not empty');
    const [snapshot = ''] = JSON.parse((await entrepot('backup', 'list', backup, '--json')).out) as { id: string }[];
    const file = join(backup, 'snapshots', (snapshot as { id: string }).id, 'entrepot.db');
    const bytes = readFileSync(file);
    writeFileSync(file, bytes.subarray(0, -1));
    expect(await refused('--data', join(folder, 'cut'), '--database-url-file', urlFile('empty', await freshDatabase(cluster)))).toContain(
      'entrepot.db is not what was written',
    );
  });
});
