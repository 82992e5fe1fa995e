import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { BUCKET, describeOnS3, KEYS, startS3, type TestS3 } from '../../packages/server/src/content/s3/testing-server.ts';
import { Client } from '../harness/client.ts';
import { freshDatabase, ownPostgres } from '../harness/postgres.ts';
import { done } from '../harness/rest.ts';
import { entrepot, startServer, temporaryFolder } from '../harness/server.ts';
import { useRegistry } from './registry-in-use.ts';

/** Writes a configuration file. */
function configIn(folder: string, name: string, config: object): string {
  const file = join(folder, `${name}.yaml`);
  writeFileSync(file, stringify({ listen: '127.0.0.1:0', ...config }), { mode: 0o600 });
  return file;
}

describeOnS3('a registry', () => {
  let s3: TestS3;
  beforeAll(async () => {
    s3 = await startS3();
  });
  afterAll(() => s3.close());

  test('moves from one disk to PostgreSQL and a bucket, and back, its blobs encrypted all the way', { timeout: 240_000 }, async () => {
    const encryption = 'file';
    const folder = temporaryFolder();
    const dataDir = join(folder, 'data');
    writeFileSync(join(folder, 'secret'), KEYS.secret, { mode: 0o600 });
    const databaseUrl = await freshDatabase(await ownPostgres({ durable: true }));
    const one = configIn(folder, 'one', { dataDir, encryption });
    const bucket = { storage: 's3', s3Bucket: BUCKET, s3Endpoint: s3.endpoint, s3AccessKeyId: KEYS.id };
    const many = configIn(folder, 'many', {
      ...{ dataDir, databaseUrl, encryption },
      ...{ ...bucket, s3SecretKeyFile: join(folder, 'secret') },
    });
    const start = async (config: string) => await startServer({ dataDir, options: { config } });
    const run = async (...words: string[]) => {
      const { code, out, err } = await entrepot(...words);
      expect([words.join(' '), code, err]).toEqual([words.join(' '), 0, '']);
      return out;
    };
    const refused = async (...words: string[]) => (await entrepot(...words)).err;

    let server = await start(one);
    const use = await useRegistry(server.url);
    expect(await run('move', 'blobs', '--config', one, '--to', many)).toMatch(/^9 blobs, 9 copied now/);
    await use.push(new Client(server.url), 'late');
    expect(await refused('move', 'blobs', '--config', one, '--to', many, '--final')).toContain('another server uses');
    expect(await refused('move', 'database', '--config', one, '--to', many)).toContain('another server uses');
    expect(await server.stop()).toBe(0);
    expect(await run('move', 'blobs', '--config', one, '--to', many, '--final')).toMatch(/^12 blobs, 3 copied now/);
    await expect(start(one)).rejects.toThrow('entrepot move blobs');
    expect(await run('move', 'database', '--config', one, '--to', many)).toMatch(
      /in PostgreSQL now.*\naudit trail: [0-9]+ records .* as they were written/,
    );
    await expect(start(one)).rejects.toThrow('was moved to PostgreSQL');
    expect(await refused('admin', 'user', 'create', 'eve', '--config', one)).toContain('was moved to PostgreSQL');
    expect(await run('doctor', '--config', many, '--deep')).not.toContain('ERROR');

    server = await start(many);
    await use.check(server.url);
    await use.push(new Client(server.url), 'on-many');
    const trail = await done<{ items: { action: string }[] }>(200, new Client(server.url), 'GET', '/audit?action=database.move');
    expect(trail.items).toHaveLength(1);
    expect(await refused('move', 'database', '--config', many, '--to', one)).toContain('servers or commands are connected');
    expect(await server.stop()).toBe(0);

    await run('move', 'blobs', '--config', many, '--to', configIn(folder, 'back', { dataDir, databaseUrl, encryption }), '--final');
    expect(await run('move', 'database', '--config', many, '--to', one)).toContain('in SQLite now');
    await expect(start(many)).rejects.toThrow('is used no more');
    expect(await run('doctor', '--config', one, '--deep')).not.toContain('ERROR');
    server = await start(one);
    await use.check(server.url);
    await use.push(new Client(server.url), 'back-on-one');
    await use.check(server.url);
    expect(await server.command('audit', 'verify')).toContain('are as they were written');
    expect(await server.stop()).toBe(0);
    expect(existsSync(join(dataDir, 'moving'))).toBe(false);
  });
});
