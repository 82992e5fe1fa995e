import { randomUUID } from 'node:crypto';
import { closeSync, constants, fdatasync, fstatSync, fsync, ftruncate, mkdirSync, open, openSync, read, statSync, write } from 'node:fs';
import { copyFile, mkdir, opendir, rename, rm, rmdir, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { parseDigest } from '@entrepot/oci';
import type { BlobReader, BlobStore, UploadWriter } from './blob-store.ts';

type Io = (
  fd: number,
  buffer: Uint8Array,
  offset: number,
  length: number,
  position: number,
) => Promise<{ bytesRead?: number; bytesWritten?: number }>;

const openFile = promisify(open);
const syncFile = promisify(fsync);
const syncData = promisify(fdatasync);
const truncateFile = promisify(ftruncate);
const readFile = promisify(read) as unknown as Io;
const writeFile = promisify(write) as unknown as Io;

const OPEN_OR_MAKE = constants.O_RDWR | constants.O_CREAT;

// Handing work to a thread and hearing of its end costs ten times what closing a file or opening a known folder does:
// only what may wait for the disk goes there.

/**
 * Blobs as files at distribution's paths: `blobs/<algorithm>/<2 hex>/<hex>/data` under the root, uploads under
 * `uploads/<id>`. A commit is: sync the file, rename it into place, sync each directory that got an entry. Rename
 * replaces what is there, so the same blob from two clients is one file, and pushing again mends a damaged one.
 */
export function openFileStore(root: string): BlobStore {
  const uploads = join(root, 'uploads');
  mkdirSync(uploads, { recursive: true });
  const directories = new DirectorySync();
  const made = new Set<string>();
  const readable = openReadOnlyStore(root);

  const uploadPath = (id: string) => join(uploads, id);

  const blobPath = (digest: string) => blobPathIn(root, digest);

  /** Makes the parents that all blobs share, durable, once for each run. */
  async function ensureShared(folder: string): Promise<void> {
    if (made.has(folder) || folder === root) return;
    await ensureShared(dirname(folder));
    await mkdir(folder, { recursive: true });
    await directories.sync(dirname(folder));
    made.add(folder);
  }

  async function place(path: string, digest: string): Promise<void> {
    const target = blobPath(digest);
    const folder = dirname(target);
    await ensureShared(dirname(folder));
    await mkdir(folder).catch(ignore('EEXIST'));
    await rename(path, target).catch(async (error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      await mkdir(folder).catch(ignore('EEXIST')); // the blob was removed meanwhile, and its folder with it
      await rename(path, target);
    });
    await Promise.all([directories.sync(folder), directories.sync(dirname(folder))]);
  }

  return {
    open: readable.open,

    async uploadSize(id) {
      return statSync(uploadPath(id), { throwIfNoEntry: false })?.size ?? 0;
    },

    async openUpload(id, { fence }) {
      const path = uploadPath(id);
      if (fence) await replaceByCopy(path);
      // No O_APPEND: writes name their position. No O_TRUNC: an upload is continued.
      return createWriter(await openFile(path, OPEN_OR_MAKE, 0o600));
    },

    openUploadForReading: (id) => openReader(uploadPath(id)),

    readsOpenUploads: true,

    async commit(id, digest, size) {
      const path = uploadPath(id);
      const fd = await openFile(path, OPEN_OR_MAKE, 0o600); // an empty blob never had a byte to write
      try {
        // Verified were the bytes that came, not the file: one who was held up for long may find another's here, or none.
        const found = fstatSync(fd).size;
        if (found !== size) throw new Error(`upload ${id} has ${found} bytes, not the ${size} that were verified`);
        // After a failure the kernel may call the lost pages clean, so that another sync would succeed without them.
        await syncData(fd).catch(async (error: unknown) => {
          await truncateFile(fd, 0);
          throw error;
        });
      } finally {
        closeSync(fd);
      }
      await place(path, digest);
    },

    async put(digest, bytes) {
      const path = uploadPath(`put-${randomUUID()}`);
      try {
        const fd = await openFile(path, 'wx', 0o600);
        try {
          await writeAll(fd, bytes, bytes.length, 0);
          await syncData(fd);
        } finally {
          closeSync(fd);
        }
        await place(path, digest);
      } catch (error) {
        await rm(path, { force: true }).catch(() => undefined);
        throw error;
      }
    },

    async removeUpload(id) {
      await unlink(uploadPath(id)).catch(ignore('ENOENT'));
    },

    async *staleUploads(before) {
      for await (const entry of await opendir(uploads)) {
        const info = await stat(uploadPath(entry.name)).catch(ignore('ENOENT'));
        if (info && info.mtimeMs < before) yield entry.name;
      }
    },

    async remove(digest) {
      const path = blobPath(digest);
      await unlink(path).catch(ignore('ENOENT'));
      await rmdir(dirname(path)).catch(ignore('ENOENT', 'ENOTEMPTY'));
      await directories.sync(dirname(dirname(path))).catch(ignore('ENOENT'));
    },

    blobs: readable.blobs,

    async ping() {
      const path = uploadPath(`ping-${randomUUID()}`);
      try {
        const fd = await openFile(path, 'wx', 0o600);
        await writeAll(fd, Buffer.from('ping'), 4, 0).finally(() => closeSync(fd));
      } finally {
        await rm(path, { force: true });
      }
    },
  };
}

/** The reading half of a file store: writes nothing, and makes no folder. */
export function openReadOnlyStore(root: string): Pick<BlobStore, 'open' | 'blobs' | 'ping'> {
  return {
    async open(digest) {
      return await openReader(blobPathIn(root, digest)).catch(ignore('ENOENT'));
    },

    async *blobs() {
      for (const algorithm of ['sha256', 'sha512']) {
        const top = join(root, 'blobs', algorithm);
        for await (const prefix of entriesOf(top)) {
          for await (const hex of entriesOf(join(top, prefix))) {
            const digest = `${algorithm}:${hex}`;
            if (!parseDigest(digest)) continue;
            const info = await stat(join(top, prefix, hex, 'data')).catch(ignore('ENOENT', 'ENOTDIR'));
            if (info?.isFile()) yield { digest, size: info.size };
          }
        }
      }
    },

    async ping() {
      await stat(root);
    },
  };
}

function blobPathIn(root: string, digest: string): string {
  const parsed = parseDigest(digest);
  if (!parsed) throw new Error('a digest outside the grammar reached the store');
  return join(root, 'blobs', parsed.algorithm, parsed.hex.slice(0, 2), parsed.hex, 'data');
}

async function openReader(path: string): Promise<BlobReader> {
  const fd = await openFile(path, 'r');
  return {
    size: fstatSync(fd).size,
    descriptor: fd,
    read: async (buffer, length, position) => (await readFile(fd, buffer, 0, length, position)).bytesRead ?? 0,
    close: async () => closeSync(fd),
  };
}

function createWriter(fd: number): UploadWriter {
  let syncFailed = false;
  return {
    write: (buffer, length, position) => writeAll(fd, buffer, length, position),
    flush: () =>
      syncData(fd).catch((error: unknown) => {
        syncFailed = true;
        throw error;
      }),
    rewind: (length) => truncateFile(fd, syncFailed ? 0 : length),
    close: async () => closeSync(fd),
  };
}

async function writeAll(fd: number, buffer: Uint8Array, length: number, position: number): Promise<void> {
  for (let done = 0; done < length; ) {
    const { bytesWritten = 0 } = await writeFile(fd, buffer, done, length - done, position + done);
    done += bytesWritten;
  }
}

/** Leaves a former writer with a file that nobody reads any more. */
async function replaceByCopy(path: string): Promise<void> {
  const copy = `${path}.${randomUUID()}`;
  try {
    await copyFile(path, copy);
    await rename(copy, path);
  } catch (error) {
    await rm(copy, { force: true });
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

/** Syncs directories; calls that arrive while one sync runs share the next (it then covers them all). */
class DirectorySync {
  readonly #running = new Map<string, Promise<void>>();
  readonly #next = new Map<string, Promise<void>>();

  sync(path: string): Promise<void> {
    const running = this.#running.get(path);
    if (running === undefined) {
      const now = syncDirectory(path).finally(() => this.#running.delete(path));
      this.#running.set(path, now);
      return now;
    }
    let next = this.#next.get(path);
    if (next === undefined) {
      next = running
        .catch(() => undefined)
        .then(() => {
          this.#next.delete(path);
          return this.sync(path);
        });
      this.#next.set(path, next);
    }
    return next;
  }
}

async function syncDirectory(path: string): Promise<void> {
  const fd = openSync(path, 'r');
  try {
    await syncFile(fd);
  } finally {
    closeSync(fd);
  }
}

/** Names in a folder, none where there is no such folder. */
async function* entriesOf(folder: string): AsyncIterable<string> {
  const entries = await opendir(folder).catch(ignore('ENOENT', 'ENOTDIR'));
  if (entries) for await (const { name } of entries) yield name;
}

function ignore(...codes: string[]): (error: NodeJS.ErrnoException) => undefined {
  return (error) => {
    if (!codes.includes(error.code ?? '')) throw error;
    return undefined;
  };
}
