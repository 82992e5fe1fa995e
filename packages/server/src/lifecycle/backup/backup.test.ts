import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { digestOf } from '@entrepot/oci';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { holdsInForce } from '../../catalog/index.ts';
import { openFileCompanions } from '../../content/commands.ts';
import { type BlobStore, openFileStore } from '../../content/index.ts';
import { type AuditActor, copySqlite } from '../../platform/index.ts';
import { type TestStorage, testStorage } from '../scrub/testing-storage.ts';
import { type BackupParts, createBackup } from './create.ts';
import { blobsFolder, chooseSnapshot, listSnapshots, snapshotFile, snapshotPath } from './format.ts';
import { HOLD_MS, whileHeld } from './hold.ts';
import { pruneSnapshots } from './prune.ts';
import { placeFile, type RestoreParts, restoreSnapshot } from './restore.ts';
import { openSealedKeys, sealKeys } from './sealed-keys.ts';
import { verifySnapshot } from './verify.ts';

const actor: AuditActor = { kind: 'command-line', id: null, name: 'test', credential: null };
const pair = generateKeyPairSync('ed25519');
const publicKey = pair.publicKey.export({ type: 'spki', format: 'pem' }).toString();
const PASSPHRASE = 'a passphrase of some length';
const live = new AbortController().signal;

let at: TestStorage;
let folder: string;
beforeEach(async () => {
  at = await testStorage();
  folder = mkdtempSync(join(tmpdir(), 'entrepot-backup-'));
});
afterEach(async () => {
  await at.remove();
  rmSync(folder, { recursive: true, force: true });
});

const backupDir = () => join(folder, 'backup');
/** The database file of the test storage, as SQLite itself names it. */
function backup(over: Partial<BackupParts> = {}) {
  return createBackup(backupDir(), {
    ...{ database: at.database, blobs: at.blobs, clock: at.clock, actor, keep: undefined, signal: live },
    copyDatabase: (target) => copySqlite(at.file, target),
    checkpoints: join(folder, 'no-checkpoints'),
    keys: { kept: 'none' },
    sign: (text) => sign(null, Buffer.from(text), pair.privateKey).toString('base64'),
    progress: () => undefined,
    ...over,
  });
}
const verify = async (over: object = {}) =>
  await verifySnapshot(backupDir(), chooseSnapshot(backupDir(), undefined), {
    ...{ deep: true, publicKey, discard: false, signal: live, progress: () => undefined },
    ...over,
  });

function target(name = 'new'): RestoreParts {
  const root = join(folder, name);
  const paths = {
    root,
    database: join(root, 'entrepot.db'),
    keys: join(root, 'keys'),
    checkpoints: join(root, 'audit/c'),
    restoring: join(root, 'restoring'),
  };
  return {
    paths,
    requireEmpty: async () => undefined,
    openBlobs: async () => ({
      base: openFileStore(join(root, 'storage')),
      companions: openFileCompanions(join(root, 'storage/encryption')),
    }),
    passphrase: PASSPHRASE,
    signal: live,
    placeDatabase: async (file) => placeFile(file, paths.database),
    progress: () => undefined,
  };
}
const restore = (parts: RestoreParts) => restoreSnapshot(backupDir(), chooseSnapshot(backupDir(), undefined), parts);

describe('a backup', () => {
  it('has all that is stored, signed, and may be used by its owner only', async () => {
    const digests = [await at.push(), await at.push(randomBytes(600_000)), await at.push(Buffer.alloc(0))];
    const { snapshot, copied } = await backup({ keys: { kept: 'plain', files: new Map([['master.key', Buffer.from('secret')]]) } });
    expect(snapshot.blobs).toEqual({ count: 3, bytes: 601_000, missing: [] });
    expect(copied).toBe(3);
    expect(await verify()).toEqual({ blobs: 3, problems: [] });
    expect(listSnapshots(backupDir())).toEqual([snapshot.id]);
    const store = openFileStore(blobsFolder(backupDir()));
    for (const digest of digests) expect((await store.open(digest))?.size).toBe(statSync(at.pathOf(digest)).size);
    for (const entry of readdirSync(snapshotPath(backupDir(), snapshot.id), { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      expect([path, statSync(path).mode & 0o077]).toEqual([path, 0]);
    }
  });

  it('copies only what it does not have, and says what it has', async () => {
    await at.push();
    await backup();
    await at.push();
    const { snapshot, copied } = await backup();
    expect({ copied, count: snapshot.blobs.count }).toEqual({ copied: 1, count: 2 });
    expect(listSnapshots(backupDir())).toHaveLength(2);
  });

  it('names what was damaged, has the rest, and has what is damaged looked at', async () => {
    await at.push();
    const bad = await at.push();
    const lost = await at.push();
    await at.overwrite(bad, randomBytes(1000));
    await at.lose(lost);
    const { snapshot } = await backup();
    expect(snapshot.blobs.missing).toEqual([bad, lost].sort());
    expect((await verify()).problems).toEqual([]);
    const rows = new DatabaseSync(at.file).prepare("SELECT kind FROM job WHERE kind = 'scrub.check'").all();
    expect(rows).toHaveLength(2);
  });

  it('holds collection while it copies, and no longer', async () => {
    await at.push();
    let held = 0;
    const blobs: BlobStore = {
      ...at.blobs,
      async open(digest) {
        held = (await holdsInForce(at.database, at.clock.now())).length;
        return await at.blobs.open(digest);
      },
    };
    await backup({ blobs });
    expect(held).toBe(1);
    expect(await holdsInForce(at.database, at.clock.now())).toEqual([]);
  });

  it('that died is no backup; the next goes on with its blobs and takes its rest away', async () => {
    await at.push();
    await at.push();
    const stop = new AbortController();
    await expect(
      backup({
        signal: stop.signal,
        progress: () => stop.abort(new Error('killed')),
      }),
    ).rejects.toThrow('killed');
    expect(listSnapshots(backupDir())).toEqual([]);
    expect(() => chooseSnapshot(backupDir(), undefined)).toThrow('no snapshot');
    expect(await holdsInForce(at.database, at.clock.now())).toEqual([]);
    const { snapshot } = await backup();
    expect(readdirSync(join(backupDir(), 'snapshots'))).toEqual([snapshot.id]);
    expect(await verify()).toEqual({ blobs: 2, problems: [] });
  });

  it('is made by one at a time', async () => {
    await at.push();
    const blobs: BlobStore = {
      ...at.blobs,
      async open(digest) {
        await expect(backup()).rejects.toThrow('another');
        return await at.blobs.open(digest);
      },
    };
    await backup({ blobs });
  });

  it('keeps as many snapshots as it is told, and no blob that none of them has', async () => {
    const old = await at.push();
    await backup();
    const database = new DatabaseSync(at.file);
    database.exec(`DELETE FROM repository_blob WHERE digest = '${old}'; DELETE FROM stored_blob WHERE digest = '${old}'`);
    database.close();
    const kept = await at.push();
    at.clock.set(at.clock.now() + 5000);
    const { pruned, snapshot } = await backup({ keep: 1 });
    expect(pruned).toHaveLength(1);
    expect(listSnapshots(backupDir())).toEqual([snapshot.id]);
    const store = openFileStore(blobsFolder(backupDir()));
    expect(await store.open(old)).toBeUndefined();
    expect(await store.open(kept)).toBeDefined();
    await expect(pruneSnapshots(backupDir(), 0)).rejects.toThrow('at least one');
  });
});

describe('a hold', () => {
  it('that was lost ends the work that relied on it', async () => {
    const parts = { database: at.database, clock: at.clock, holdMs: 50 };
    const work = whileHeld(parts, 'test', async (signal) => {
      at.clock.set(at.clock.now() + HOLD_MS); // the machine slept
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      signal.throwIfAborted();
    });
    await expect(work).rejects.toThrow('lapsed');
  });

  it('that was lost unseen is seen at the end', async () => {
    const work = whileHeld({ database: at.database, clock: at.clock }, 'test', async () => {
      at.clock.set(at.clock.now() + HOLD_MS);
    });
    await expect(work).rejects.toThrow('lapsed');
  });
});

describe('verifying', () => {
  it('finds every file that was changed, cut or taken away', async () => {
    const digest = await at.push();
    const { snapshot } = await backup();
    const inSnapshot = (name: string) => join(snapshotPath(backupDir(), snapshot.id), name);
    const blob = join(blobsFolder(backupDir()), 'blobs/sha256', digest.slice(7, 9), digest.slice(7), 'data');
    for (const path of [inSnapshot('entrepot.db'), inSnapshot('blobs.txt'), blob]) {
      const bytes = readFileSync(path);
      const flipped = Buffer.from(bytes);
      flipped[bytes.length >> 1] = (flipped[bytes.length >> 1] ?? 0) ^ 1;
      for (const other of [flipped, bytes.subarray(0, -1)]) {
        writeFileSync(path, other);
        expect([path, (await verify()).problems.length]).toEqual([path, 1]);
      }
      rmSync(path);
      expect([path, (await verify()).problems.length]).toEqual([path, 1]);
      writeFileSync(path, bytes);
      expect((await verify()).problems).toEqual([]);
    }
  });

  it('knows whose snapshot it is, and that its description was changed', async () => {
    await at.push();
    const { snapshot } = await backup();
    const other = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }).toString();
    expect((await verify({ publicKey: other })).problems).toEqual(['the signature is not of that key']);
    const path = snapshotFile(backupDir(), snapshot.id);
    writeFileSync(path, readFileSync(path, 'utf8').replace('"count": 1', '"count": 2'));
    expect((await verify()).problems).toEqual(['the signature is not of that key']);
    writeFileSync(path, readFileSync(path, 'utf8').replace('"entrepot.db"', '"../../entrepot.db"'));
    await expect(verify()).rejects.toThrow('names the file');
  });

  it('takes damaged blobs out if it is told to, so that the next backup has them again', async () => {
    const digest = await at.push();
    await backup();
    writeFileSync(join(blobsFolder(backupDir()), 'blobs/sha256', digest.slice(7, 9), digest.slice(7), 'data'), randomBytes(1000));
    expect((await backup()).copied).toBe(0);
    expect((await verify({ discard: true })).problems).toHaveLength(1);
    expect((await backup()).copied).toBe(1);
    expect((await verify()).problems).toEqual([]);
  });
});

describe('restoring', () => {
  const keys = new Map([
    ['master.key', randomBytes(32)],
    ['audit.key', randomBytes(100)],
  ]);

  it('makes a folder with everything in it, and keys that only their owner may read', async () => {
    const bytes = randomBytes(700_000);
    const digest = await at.push(bytes);
    await backup({ keys: { kept: 'sealed', files: keys, passphrase: PASSPHRASE, cost: 10 } });
    const parts = target();
    expect(await restore(parts)).toEqual({ blobs: 1, missing: [] });
    const { paths } = parts;
    expect(readFileSync(join(paths.root, 'storage/blobs/sha256', digest.slice(7, 9), digest.slice(7), 'data')).equals(bytes)).toBe(true);
    for (const [name, key] of keys) {
      expect(readFileSync(join(paths.keys, name)).equals(key)).toBe(true);
      expect(statSync(join(paths.keys, name)).mode & 0o777).toBe(0o600);
    }
    expect(existsSync(paths.restoring)).toBe(false);
    const database = new DatabaseSync(paths.database);
    expect(database.prepare('SELECT digest FROM repository_blob').all()).toEqual([{ digest }]);
    database.close();
  });

  it('never overwrites', async () => {
    await at.push();
    await backup();
    const parts = target();
    await restore(parts);
    await expect(restore(parts)).rejects.toThrow('never overwrites');
    const other = target('other');
    rmSync(other.paths.root, { recursive: true, force: true });
    writeFileSync(join(folder, 'file'), '');
    await expect(restore(target('file'))).rejects.toThrow();
  });

  it('wants the passphrase before it writes anything', async () => {
    await at.push();
    await backup({ keys: { kept: 'sealed', files: keys, passphrase: PASSPHRASE, cost: 10 } });
    for (const passphrase of [undefined, 'another passphrase'])
      await expect(restore({ ...target(), passphrase })).rejects.toThrow(/passphrase/);
    expect(existsSync(target().paths.root)).toBe(false);
  });

  it('refuses a snapshot whose database was changed', async () => {
    await at.push();
    const { snapshot } = await backup();
    writeFileSync(join(snapshotPath(backupDir(), snapshot.id), 'entrepot.db'), 'not a database');
    await expect(restore(target())).rejects.toThrow('cannot be restored');
    expect(existsSync(target().paths.root)).toBe(false);
  });

  it('goes on with a restore of the same snapshot that was cut off, and with no other', async () => {
    for (let i = 0; i < 5; i++) await at.push();
    const first = await backup();
    const parts = target();
    const stop = new AbortController();
    await expect(restore({ ...parts, signal: stop.signal, progress: () => stop.abort(new Error('killed')) })).rejects.toThrow('killed');
    expect(readFileSync(parts.paths.restoring, 'utf8').trim()).toBe(first.snapshot.id);
    expect(existsSync(parts.paths.database)).toBe(false);
    at.clock.set(at.clock.now() + 5000);
    await backup();
    await expect(restore(parts)).rejects.toThrow('is being restored from');
    expect(await restoreSnapshot(backupDir(), chooseSnapshot(backupDir(), first.snapshot.id), parts)).toEqual({ blobs: 5, missing: [] });
  });

  it('says which blobs it could not restore', async () => {
    await at.push();
    const digest = await at.push();
    await backup();
    const path = join(blobsFolder(backupDir()), 'blobs/sha256', digest.slice(7, 9), digest.slice(7), 'data');
    writeFileSync(path, randomBytes(1000));
    expect(await restore(target())).toEqual({ blobs: 2, missing: [digest] });
  });
});

describe('sealed keys', () => {
  const files = new Map([['a', Buffer.from('secret one')]]);

  it('open with their passphrase and no other, whole or not at all', () => {
    const sealed = sealKeys(files, PASSPHRASE, 10);
    expect([...openSealedKeys(sealed, PASSPHRASE)]).toEqual([...files]);
    expect(Buffer.from(sealed).includes('secret one')).toBe(false);
    expect(() => openSealedKeys(sealed, `${PASSPHRASE}.`)).toThrow('passphrase');
    for (const at of [0, 20, 40, sealed.length - 1]) {
      const changed = Buffer.from(sealed);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(() => openSealedKeys(changed, PASSPHRASE)).toThrow();
    }
    expect(() => openSealedKeys(sealed.subarray(0, 30), PASSPHRASE)).toThrow('damaged');
    expect(() => sealKeys(files, 'short')).toThrow('at least');
  });

  it('of the same files are never the same bytes', () => {
    expect(digestOf(sealKeys(files, PASSPHRASE, 10))).not.toBe(digestOf(sealKeys(files, PASSPHRASE, 10)));
  });
});
