import * as fs from 'node:fs';
import { mkdir, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { digestOf } from '@entrepot/oci';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { BlobStore } from './blob-store.ts';
import { blobStoreContract } from './contract.ts';
import { openFileStore } from './file-store.ts';

/** What the disk does. `writes` is the most that one write takes, `space` what it takes in all. */
const disk = vi.hoisted(() => ({ dataSyncFails: false, directorySyncFails: false, writes: Infinity, space: Infinity, directorySyncs: 0 }));

vi.mock('node:fs', async (original) => {
  const real = await original<typeof import('node:fs')>();
  const { promisify } = await import('node:util');
  const failure = (code: string) => Object.assign(new Error(`${code}: simulated`), { code });
  const realWrite = promisify(real.write);
  type Write = (fd: number, buffer: Uint8Array, offset: number, length: number, position: number) => Promise<{ bytesWritten: number }>;
  const write: Write = async (fd, buffer, offset, length, position) => {
    if (disk.space === 0) throw failure('ENOSPC');
    const taken = Math.min(length, disk.writes, disk.space);
    disk.space -= taken;
    return await realWrite(fd, buffer, offset, taken, position);
  };
  return {
    ...real,
    write: Object.assign(() => undefined, { [promisify.custom]: write }),
    fdatasync: (fd: number, done: (error: Error | null) => void) =>
      disk.dataSyncFails ? setImmediate(done, failure('EIO')) : real.fdatasync(fd, done),
    fsync: (fd: number, done: (error: Error | null) => void) => {
      disk.directorySyncs++;
      if (disk.directorySyncFails) setImmediate(done, failure('EIO'));
      else real.fsync(fd, done);
    },
  };
});

const folders: string[] = [];
function newFolder(): string {
  const folder = fs.mkdtempSync(join(tmpdir(), 'entrepot-store-'));
  folders.push(folder);
  return folder;
}
const removeFolders = () => folders.splice(0).forEach((folder) => void fs.rmSync(folder, { recursive: true, force: true }));

function pathOf(root: string, digest: string): string {
  const [algorithm = '', hex = ''] = digest.split(':');
  return join(root, 'blobs', algorithm, hex.slice(0, 2), hex, 'data');
}

blobStoreContract('files', () => {
  const root = newFolder();
  return {
    open: () => openFileStore(root),
    damage: (digest, bytes) => writeFile(pathOf(root, digest), bytes),
    age: (id, time) => utimes(join(root, 'uploads', id), time / 1000, time / 1000),
    remove: async () => removeFolders(),
  };
});

describe('file store', () => {
  let root: string;
  let store: BlobStore;
  const bytes = Buffer.from('some bytes');
  const digest = digestOf(bytes);

  beforeEach(() => {
    root = newFolder();
    store = openFileStore(root);
    Object.assign(disk, { dataSyncFails: false, directorySyncFails: false, writes: Infinity, space: Infinity, directorySyncs: 0 });
  });
  afterEach(removeFolders);

  const leftovers = () => fs.readdirSync(join(root, 'uploads'));

  async function upload(id: string): Promise<void> {
    const writer = await store.openUpload(id, { fence: false });
    await writer.write(bytes, bytes.length, 0);
    await writer.close();
  }

  it("keeps blobs at distribution's paths, for their owner alone", async () => {
    await store.put(digest, bytes);
    await upload('one');
    await store.commit('one', digestOf(bytes, 'sha512'), bytes.length);
    for (const each of [digest, digestOf(bytes, 'sha512')]) {
      expect(fs.readFileSync(pathOf(root, each))).toEqual(bytes);
      expect(fs.statSync(pathOf(root, each)).mode & 0o777).toBe(0o600);
    }
  });

  it('finds a blob that another program put at its path', async () => {
    await mkdir(dirname(pathOf(root, digest)), { recursive: true });
    await writeFile(pathOf(root, digest), bytes);
    expect((await store.open(digest))?.size).toBe(bytes.length);
    await store.put(digest, bytes);
    expect(fs.readFileSync(pathOf(root, digest))).toEqual(bytes);
  });

  it('writes on where the system took less than all', async () => {
    disk.writes = 3;
    await store.put(digest, bytes);
    await upload('one');
    expect(fs.readFileSync(pathOf(root, digest))).toEqual(bytes);
    expect(await store.uploadSize('one')).toBe(bytes.length);
  });

  it('keeps all that a writer wrote that never closed', async () => {
    const writer = await store.openUpload('one', { fence: false });
    await writer.write(bytes, bytes.length, 0);
    expect(await openFileStore(root).uploadSize('one')).toBe(bytes.length);
    await writer.close();
  });

  it('leaves no file open', async () => {
    const openFiles = () => fs.readdirSync('/proc/self/fd').length;
    await store.put(digest, bytes);
    const before = openFiles();
    for (let i = 0; i < 20; i++) {
      await store.put(digest, bytes);
      await upload(`upload-${i}`);
      await (await store.openUpload(`upload-${i}`, { fence: true })).close();
      await (await store.openUploadForReading(`upload-${i}`)).close();
      await store.commit(`upload-${i}`, digest, bytes.length);
      await (await store.open(digest))?.close();
      await store.ping();
      disk.dataSyncFails = true;
      await expect(store.put(digest, bytes)).rejects.toThrow();
      await expect(store.commit(`failing-${i}`, digestOf(''), 0)).rejects.toThrow();
      disk.dataSyncFails = false;
    }
    expect(openFiles()).toBeLessThan(before + 20);
  });

  it('syncs a directory once for all that wait for it', async () => {
    await store.put(digest, bytes);
    const before = disk.directorySyncs;
    await Promise.all(Array.from({ length: 64 }, () => store.put(digest, bytes)));
    expect(disk.directorySyncs - before).toBeLessThan(64); // two directories each
  });

  describe('where the disk fails', () => {
    it('a put is no blob and leaves nothing behind', async () => {
      disk.dataSyncFails = true;
      await expect(store.put(digest, bytes)).rejects.toMatchObject({ code: 'EIO' });
      expect(await store.open(digest)).toBeUndefined();
      expect(leftovers()).toEqual([]);
      disk.dataSyncFails = false;
      await store.put(digest, bytes);
      expect((await store.open(digest))?.size).toBe(bytes.length);
    });

    it('a commit is no blob, and bytes whose sync failed count no more', async () => {
      await upload('one');
      disk.dataSyncFails = true;
      await expect(store.commit('one', digest, bytes.length)).rejects.toMatchObject({ code: 'EIO' });
      disk.dataSyncFails = false;
      expect(await store.open(digest)).toBeUndefined();
      expect(await store.uploadSize('one')).toBe(0);
    });

    it('bytes whose flush failed count no more, wherever the writer is taken back to', async () => {
      const writer = await store.openUpload('one', { fence: false });
      await writer.write(bytes, 5, 0);
      disk.dataSyncFails = true;
      await expect(writer.flush()).rejects.toMatchObject({ code: 'EIO' });
      await writer.rewind(5);
      await writer.close();
      expect(await store.uploadSize('one')).toBe(0);
    });

    it.each(['put', 'commit'] as const)('a %s is not acknowledged while its directory is not synced', async (how) => {
      await upload('one');
      const keep = () => (how === 'put' ? store.put(digest, bytes) : store.commit('one', digest, bytes.length));
      disk.directorySyncFails = true;
      await expect(keep()).rejects.toMatchObject({ code: 'EIO' });
      disk.directorySyncFails = false;
      await upload('one');
      await keep();
      expect((await store.open(digest))?.size).toBe(bytes.length);
    });

    it('of many that wait for one failing directory none is acknowledged', async () => {
      await store.put(digest, bytes);
      disk.directorySyncFails = true;
      const ends = await Promise.allSettled(Array.from({ length: 16 }, () => store.put(digest, bytes)));
      expect(ends.map(({ status }) => status)).toEqual(Array(16).fill('rejected'));
      disk.directorySyncFails = false;
      await store.put(digest, bytes);
    });
  });

  describe('where the disk is full', () => {
    it('a put is no blob and leaves nothing behind, also where half of it went in', async () => {
      disk.writes = 4;
      disk.space = 8;
      await expect(store.put(digest, bytes)).rejects.toMatchObject({ code: 'ENOSPC' });
      expect(await store.open(digest)).toBeUndefined();
      expect(leftovers()).toEqual([]);
    });

    it('an upload can be taken back and goes on when there is space', async () => {
      await upload('one');
      const writer = await store.openUpload('one', { fence: false });
      disk.space = 3;
      await expect(writer.write(bytes, bytes.length, bytes.length)).rejects.toMatchObject({ code: 'ENOSPC' });
      await writer.rewind(bytes.length);
      expect(await store.uploadSize('one')).toBe(bytes.length);
      disk.space = Infinity;
      await writer.write(bytes, bytes.length, bytes.length);
      await writer.close();
      const twice = Buffer.concat([bytes, bytes]);
      await store.commit('one', digestOf(twice), twice.length);
      expect(fs.readFileSync(pathOf(root, digestOf(twice)))).toEqual(twice);
    });

    it('a ping fails and leaves nothing behind', async () => {
      disk.space = 0;
      await expect(store.ping()).rejects.toMatchObject({ code: 'ENOSPC' });
      expect(leftovers()).toEqual([]);
      disk.space = Infinity;
      await store.ping();
    });
  });
});
