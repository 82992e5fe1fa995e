import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOf } from '@entrepot/oci';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type Config,
  createLog,
  createOutbound,
  type Database,
  installationMigrations,
  jobMigrations,
  loadConfig,
  openSqlite,
} from '../../platform/index.ts';
import { readContent } from '../encryption/testing.ts';
import { type ContentStore, openBareStore, openStore } from '../open-store.ts';
import { contentMigrations } from '../schema.ts';

const none = new AbortController().signal;
const log = createLog('silent');

describe('an installation with a cold tier', () => {
  let root: string;
  let database: Database;
  let opened: { close?: () => Promise<void> }[];
  const bytes = randomBytes(100_000);
  const digest = digestOf(bytes);

  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), 'entrepot-cold-'));
    opened = [];
    database = await databaseAt('one.db');
  });
  afterEach(async () => {
    for (const each of opened.reverse()) await each.close?.();
    rmSync(root, { recursive: true, force: true });
  });

  async function databaseAt(name: string): Promise<Database> {
    const made = openSqlite(join(root, name), { checkpoint: false });
    opened.push(made);
    await made.migrate([...contentMigrations, ...jobMigrations, ...installationMigrations]);
    return made;
  }

  function configOf(flags: Partial<Record<keyof Config, string>> = {}): Config {
    const common = { dataDir: join(root, 'data'), coldStorage: 'files', coldDirectory: join(root, 'cold') };
    return loadConfig({ env: {}, flags: { ...common, ...flags } });
  }

  async function open(flags?: Parameters<typeof configOf>[0], on = database): Promise<ContentStore> {
    const config = configOf(flags);
    const outbound = createOutbound(config);
    const store = await openStore(config, { database: on, outbound, clock: on.clock, log });
    opened.push(outbound, store);
    return store;
  }

  it('takes what is there for hot, and has the face of tiers', async () => {
    const before = await open({ coldStorage: 'off' });
    expect(before.tiers).toBeUndefined();
    await before.put(digest, bytes);
    const { tiers, open: openBlob, spare } = await open();
    expect(await tiers?.demote(digest, none)).toBe('moved');
    expect(await readContent(await openBlob(digest))).toEqual(bytes);
    expect(await readContent(await spare?.open(digest))).toEqual(bytes);
    expect((await tiers?.room())?.total).toBeGreaterThan(0);
  });

  it('is not opened without its cold tier while anything lies there, and is again when nothing does', async () => {
    const { tiers, put } = await open();
    await put(digest, bytes);
    await open({ coldStorage: 'off' });
    await tiers?.demote(digest, none);
    await expect(open({ coldStorage: 'off' })).rejects.toThrow('cannot be off before all are hot again');
    await tiers?.promote(digest, none);
    expect(await readContent(await (await open({ coldStorage: 'off' })).open(digest))).toEqual(bytes);
  });

  it('is not opened with another cold tier: a disk that is not mounted, an empty folder, that of another registry', async () => {
    const { tiers, put } = await open();
    await put(digest, bytes);
    await tiers?.demote(digest, none);
    renameSync(join(root, 'cold'), join(root, 'away'));
    await expect(open()).rejects.toThrow('is it mounted, and the right one?');
    expect(existsSync(join(root, 'cold'))).toBe(false); // nothing is made below a disk that is not mounted
    mkdirSync(join(root, 'cold'));
    await expect(open()).rejects.toThrow('is it mounted, and the right one?');
    await expect(tiers?.demote(digest, none)).resolves.toBe('there');
    const other = await databaseAt('two.db');
    await expect(open({ coldDirectory: join(root, 'away'), dataDir: join(root, 'other') }, other)).rejects.toThrow(
      'cold tier of another registry',
    );
    // Moved to another folder with all that is in it, it is the same.
    expect(await readContent(await (await open({ coldDirectory: join(root, 'away') })).open(digest))).toEqual(bytes);
  });

  it('tells that the cold tier is away while it runs, and takes nothing that is cold for lost', async () => {
    const { tiers, put, open: openBlob } = await open();
    await put(digest, bytes);
    await tiers?.demote(digest, none);
    rmSync(join(root, 'data', 'storage', 'docker', 'registry', 'v2', 'blobs'), { recursive: true, force: true });
    renameSync(join(root, 'cold'), join(root, 'away'));
    await expect.poll(() => openBlob(digest).catch((error: unknown) => error), { timeout: 20_000 }).toMatchObject({ status: 503 });
    renameSync(join(root, 'away'), join(root, 'cold'));
    expect(await readContent(await openBlob(digest))).toEqual(bytes);
  });

  it('keeps the copies of encryption keys beside both tiers, and spares are opened with them', async () => {
    const store = await open({ encryption: 'file' });
    await store.put(digest, bytes);
    expect(await store.tiers?.demote(digest, none)).toBe('moved');
    expect(await readContent(await store.spare?.open(digest))).toEqual(bytes);
    const config = configOf({ encryption: 'file' });
    const { companions } = await openBareStore(config, log);
    await companions.write('keys/a/b', Buffer.from('wrapped'));
    for (const tier of ['data/storage', 'cold'])
      expect(readFileSync(join(root, tier, 'docker/registry/v2/encryption/keys/a/b'), 'utf8')).toBe('wrapped');
    rmSync(join(root, 'data/storage/docker/registry/v2/encryption'), { recursive: true });
    expect(Buffer.from((await companions.read('keys/a/b')) ?? []).toString()).toBe('wrapped');
  });

  it('is read as it lies, sealed, from both tiers by whoever copies it, and written anew by a restore', async () => {
    const { tiers, put } = await open();
    await put(digest, bytes);
    await tiers?.demote(digest, none);
    const { base } = await openBareStore(configOf(), log);
    const second = Buffer.from('second');
    await base.put(digestOf(second), second);
    const listed = async () => (await Array.fromAsync(base.blobs())).map((blob) => blob.digest).sort();
    expect(await listed()).toEqual([digest, digestOf(second)].sort());
    expect(await readContent(await base.open(digest))).toEqual(bytes);
    await base.remove(digest);
    expect(await base.open(digest)).toBeUndefined();
  });
});
