import { randomBytes } from 'node:crypto';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOf } from '@entrepot/oci';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openDatabase } from './app.ts';
import { createProject, ensureRepository, keepStored, linkBlob } from './catalog/index.ts';
import { openFileStore } from './content/index.ts';
import { openAuditKeys } from './evidence/index.ts';
import { moveBlobs, moveDatabase } from './move.ts';
import { newDatabase, sharedCluster } from './platform/database/testing-postgres.ts';
import { audit, type Config, dataPaths, loadConfig, lockData, openSecrets } from './platform/index.ts';

const options = { signal: new AbortController().signal, progress: () => undefined };
let folder: string;
let postgres: Awaited<ReturnType<typeof newDatabase>>;
let cluster: Awaited<ReturnType<typeof sharedCluster>>;
let one: Config;
let many: Config;

function configOf(options: Record<string, string>): Config {
  return loadConfig({ env: {}, flags: { dataDir: join(folder, 'data'), ...options } });
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'entrepot-move-'));
  cluster = await sharedCluster();
  postgres = await newDatabase(cluster);
  one = configOf({});
  many = configOf({ databaseUrl: postgres.url });
  await makeRegistry(one);
});
afterEach(async () => {
  await postgres.drop();
  rmSync(folder, { recursive: true, force: true });
});

/** An installation as a server leaves it when it ends, with a project and some records. */
async function makeRegistry(config: Config): Promise<void> {
  const paths = dataPaths(config);
  openSecrets(paths.keys);
  openAuditKeys(paths.keys);
  const database = await openDatabase(config, { checkpoint: true });
  for (const name of ['one', 'two']) {
    await database.write(async (tx) => {
      await createProject(tx, { name, public: false, by: 'ann', now: 1 });
      const entry = { action: 'project.create', resource: { type: 'project', project: name }, outcome: 'success', origin: null } as const;
      await audit(tx, { actor: { kind: 'user', id: 1, name: 'ann', credential: null }, ...entry }, { now: () => 1 });
    });
  }
  await database.close();
}

async function storeBlob(config: Config, bytes: Buffer): Promise<string> {
  const digest = digestOf(bytes);
  await openFileStore(dataPaths(config).blobs).put(digest, bytes);
  const database = await openDatabase(config, { checkpoint: false });
  await database.write(async (tx) => {
    const { id } = await ensureRepository(tx, 'one/app', 'ann', 1);
    await keepStored(tx, { digest, size: bytes.length }, 1);
    await linkBlob(tx, id, { digest, size: bytes.length }, 1);
  });
  await database.close();
  return digest;
}

const projects = async (config: Config) => {
  if (config.databaseUrl !== '')
    return (await cluster.sql('SELECT name FROM project ORDER BY name', postgres.name)).map(({ name }) => name);
  const { DatabaseSync } = await import('node:sqlite');
  const raw = new DatabaseSync(dataPaths(config).database, { readOnly: true });
  const rows = raw.prepare('SELECT name FROM project ORDER BY name').all();
  raw.close();
  return rows.map(({ name }) => name);
};
const isEmpty = async () => (await cluster.sql("SELECT 1 FROM pg_class WHERE relname = 'project'", postgres.name)).length === 0;
const opened = async (config: Config) => await (await openDatabase(config, { checkpoint: false })).close();

describe('moving a database', () => {
  it('to PostgreSQL and back keeps everything, and the old one is not used again', async () => {
    expect((await moveDatabase(one, many, options)).trail).toEqual({ sound: true, told: expect.stringContaining('3 records') });
    expect(await projects(many)).toEqual(['one', 'two']);
    await expect(opened(one)).rejects.toThrow('was moved to PostgreSQL');
    await expect(moveDatabase(one, many, options)).rejects.toThrow('was moved already');
    await cluster.sql("UPDATE project SET name = 'three' WHERE name = 'two'", postgres.name);
    expect((await moveDatabase(many, one, options)).trail.sound).toBe(true);
    expect(await projects(one)).toEqual(['one', 'three']);
    await opened(one);
    await expect(moveDatabase(many, one, options)).rejects.toThrow('there is a registry in');
    await expect(
      moveDatabase(
        many,
        configOf({ dataDir: join(folder, 'x'), keysDir: dataPaths(one).keys, storageDir: join(folder, 'data/storage') }),
        options,
      ),
    ).rejects.toThrow('was moved to');
    expect(readdirSync(dataPaths(one).root).filter((name) => /moving|moved/.test(name))).toEqual([]);
  });

  it('refuses what could lose something, and changes nothing then', async () => {
    const refusal = async (to: Config, from = one) => await moveDatabase(from, to, options).then(() => '', String);
    expect(await refusal(one)).toContain('one of the configurations must name a PostgreSQL database');
    const elsewhere = configOf({ dataDir: join(folder, 'other'), databaseUrl: postgres.url });
    expect(await refusal(elsewhere)).toContain('copy the folder');
    cpSync(dataPaths(one).keys, dataPaths(elsewhere).keys, { recursive: true });
    expect(await refusal(elsewhere)).toContain('give storageDir');
    writeFileSync(join(dataPaths(elsewhere).keys, 'master.key'), randomBytes(32), { mode: 0o600 });
    expect(await refusal(elsewhere)).toContain('is another key');
    expect(await refusal(configOf({ databaseUrl: postgres.url, storage: 's3', s3Bucket: 'bucket' }))).toContain(
      'entrepot move blobs moves',
    );
    expect(await refusal(configOf({ databaseUrl: 'postgresql://nobody:secret@127.0.0.1:1/none' }))).toMatch(/cannot be used: (?!.*secret)/);
    const release = lockData(dataPaths(one).lock);
    expect(await refusal(many)).toContain('another server uses');
    release();
    await cluster.sql('CREATE TABLE other (id int)', postgres.name);
    expect(await refusal(many)).toContain('is not empty: it has other');
    expect(existsSync(join(dataPaths(one).root, 'moving'))).toBe(false);
    await opened(one);
  });

  it('that was cut off anywhere is begun again', async () => {
    const journal = join(dataPaths(one).root, 'moving');
    const stop = () => {
      const stopped = new AbortController();
      return { signal: stopped.signal, progress: (table: string) => void (table === 'project' && stopped.abort(new Error('ended'))) };
    };
    await expect(moveDatabase(one, many, stop())).rejects.toThrow('ended');
    expect([await isEmpty(), existsSync(journal)]).toEqual([true, true]);
    await opened(one); // nothing has moved yet
    await moveDatabase(one, many, options);
    // After PostgreSQL had it all, and before this was written down here.
    rmSync(dataPaths(one).moved);
    writeFileSync(journal, 'id\n');
    await moveDatabase(one, many, options);
    expect(existsSync(dataPaths(one).moved)).toBe(true);
    // The same, but changed in between: nobody can say which of them counts.
    rmSync(dataPaths(one).moved);
    writeFileSync(journal, 'id\n');
    await cluster.sql("UPDATE project SET name = 'other' WHERE name = 'two'", postgres.name);
    await expect(moveDatabase(one, many, options)).rejects.toThrow('holds something else: table project has other values');
    rmSync(journal);
    writeFileSync(dataPaths(one).moved, 'moved');

    await expect(moveDatabase(many, one, stop())).rejects.toThrow('ended');
    await expect(opened(one)).rejects.toThrow('was moved to PostgreSQL');
    expect(await cluster.sql("SELECT 1 FROM installation WHERE name = 'moved'", postgres.name)).toEqual([]);
    await moveDatabase(many, one, options);
    expect(await projects(one)).toEqual(['one', 'other']);
    // After the file was in its place.
    writeFileSync(
      journal,
      (await cluster.sql("SELECT value FROM installation WHERE name = 'moved'", postgres.name))
        .map(({ value }) => String(value).split(', ').at(-1))
        .join(''),
    );
    await moveDatabase(many, one, options);
    await opened(one);
    expect(existsSync(journal)).toBe(false);
  });

  it('waits for nobody: a server on PostgreSQL has to be stopped', async () => {
    await moveDatabase(one, many, options);
    const server = await openDatabase(many, { checkpoint: false });
    await expect(moveDatabase(many, one, options)).rejects.toThrow('servers or commands are connected');
    await server.close();
    await moveDatabase(many, one, options);
  });
});

describe('moving blobs', () => {
  const blobOptions = (final: boolean) => ({ ...options, final });
  const other = () => configOf({ storageDir: join(folder, 'elsewhere') });
  const pathIn = (config: Config, digest: string) =>
    join(dataPaths(config).blobs, 'blobs/sha256', digest.slice(7, 9), digest.slice(7), 'data');

  it('copies what is new each time, names what is damaged, and copies it once it is sound', async () => {
    const bytes = randomBytes(100_000);
    const [first, second] = [await storeBlob(one, bytes), await storeBlob(one, randomBytes(2000))];
    writeFileSync(pathIn(one, second), randomBytes(2000));
    expect(await moveBlobs(one, other(), blobOptions(false))).toEqual({ blobs: 2, copied: 1, bytes: 100_000, missing: [second] });
    expect(readFileSync(pathIn(other(), first)).equals(bytes)).toBe(true);
    expect(existsSync(pathIn(other(), second))).toBe(false);
    await storeBlob(one, randomBytes(10));
    expect(await moveBlobs(one, other(), blobOptions(false))).toMatchObject({ blobs: 3, copied: 1, missing: [second] });
    rmSync(pathIn(one, second));
    expect(await moveBlobs(one, other(), blobOptions(true))).toMatchObject({ blobs: 3, copied: 0, missing: [second] });
  });

  it('remembers what it copied only for the place it was copied to', async () => {
    const digest = await storeBlob(one, randomBytes(1000));
    await moveBlobs(one, other(), blobOptions(false));
    const third = configOf({ storageDir: join(folder, 'third') });
    expect(await moveBlobs(one, third, blobOptions(false))).toMatchObject({ copied: 1 });
    expect(existsSync(pathIn(third, digest))).toBe(true);
    writeFileSync(join(dataPaths(one).root, 'moved-blobs.db'), 'rubbish');
    expect(await moveBlobs(one, third, blobOptions(false))).toMatchObject({ copied: 0, missing: [] });
  });

  it('refuses the same place, other encryption, a server that runs at the end, and a store that cannot be written to', async () => {
    await expect(moveBlobs(one, one, blobOptions(false))).rejects.toThrow('the same storage');
    await expect(moveBlobs(one, { ...other(), encryption: 'file' }, blobOptions(false))).rejects.toThrow('agree on encryption');
    const release = lockData(dataPaths(one).lock);
    await expect(moveBlobs(one, other(), blobOptions(true))).rejects.toThrow('another server uses');
    release();
    const away = configOf({
      storage: 's3',
      s3Bucket: 'bucket',
      s3Endpoint: 'http://127.0.0.1:1',
      s3AccessKeyId: 'k',
      s3SecretKeyFile: join(folder, 'secret'),
    });
    writeFileSync(join(folder, 'secret'), 'secret', { mode: 0o600 });
    await expect(moveBlobs(one, away, blobOptions(false))).rejects.toThrow();
  });
});
