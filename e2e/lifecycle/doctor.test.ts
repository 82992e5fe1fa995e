import { randomBytes } from 'node:crypto';
import { chmodSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Client } from '../harness/client.ts';
import { done } from '../harness/rest.ts';
import { entrepot, startServer } from '../harness/server.ts';

describe('doctor', () => {
  test('says what is wrong, mends what is safe, and records it', async () => {
    const server = await startServer();
    const client = new Client(server.url);
    await client.pushImage('demo/app', 'v1');
    const sound = await entrepot('doctor', '--data', server.dataDir, '--deep', '--json');
    expect([sound.code, JSON.parse(sound.out)]).toEqual([0, expect.objectContaining({ errors: 0, warnings: 0 })]);
    chmodSync(join(server.dataDir, 'keys/master.key'), 0o644);
    const found = await entrepot('doctor', '--data', server.dataDir);
    expect([found.code, found.out]).toEqual([2, expect.stringContaining('master.key may be used by others (mode 644)')]);
    expect((await entrepot('doctor', '--data', server.dataDir, '--mend')).code).toBe(0);
    expect(statSync(join(server.dataDir, 'keys/master.key')).mode & 0o777).toBe(0o600);
    const trail = await done<{ items: object[] }>(200, client, 'GET', '/audit?action=file.protect');
    expect(trail.items).toHaveLength(1);
    expect(await server.stop()).toBe(0);
    writeFileSync(join(server.dataDir, 'entrepot.db'), randomBytes(10_000));
    for (const end of ['-wal', '-shm']) rmSync(join(server.dataDir, `entrepot.db${end}`), { force: true });
    const broken = await entrepot('doctor', '--data', server.dataDir);
    expect([broken.code, broken.out]).toEqual([2, expect.stringContaining('file is not a database')]);
    expect((await entrepot('doctor', '--data', join(server.dataDir, 'nowhere'))).code).toBe(1);
  });
});
