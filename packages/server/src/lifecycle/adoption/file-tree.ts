import { randomUUID } from 'node:crypto';
import {
  closeSync,
  constants,
  createReadStream,
  type Dirent,
  fstatSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  opendirSync,
  openSync,
  readdirSync,
  readSync,
} from 'node:fs';
import { open, rename, rm, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type TreeFile, type TreeReader, type TreeWriter, Unreadable } from './tree.ts';

/** Deeper than any file of the layouts that are read: `tags/<tag>/index/<algorithm>/<hex>/link` and some room. */
const DEPTH = 8;
const CHUNK = 1 << 20;
/** Entries that one look into a folder fetches. */
const ENTRIES = 512;
/** A link in place of a file is none of a registry's. */
const READ = constants.O_RDONLY | constants.O_NOFOLLOW;

/**
 * A folder of files. Everything is synchronous: a command that reads millions of small files waits for nothing else, and asking a
 * thread for each costs more than the file. Symbolic links below the root are not followed.
 */
export function openFileTree(root: string): TreeReader {
  const at = (path: string) => join(root, path);

  function* entries(path: string): Iterable<Dirent> {
    const folder = orNothing(() => opendirSync(path, { bufferSize: ENTRIES }), 'ENOENT', 'ENOTDIR');
    if (folder === undefined) return;
    try {
      for (let entry = folder.readSync(); entry; entry = folder.readSync()) yield entry;
    } finally {
      folder.closeSync();
    }
  }

  /** At once, which takes half the time. */
  function allEntries(path: string): readonly Dirent[] {
    return orNothing(() => readdirSync(path, { withFileTypes: true }), 'ENOENT', 'ENOTDIR') ?? [];
  }

  function stat(path: string): TreeFile | undefined {
    const info = orNothing(() => lstatSync(at(path), { throwIfNoEntry: false }), 'ENOTDIR');
    return info && { path, size: info.size, modifiedAt: Math.floor(info.mtimeMs), isFile: info.isFile() };
  }

  function* filesBelow(folder: string, prefix: string, depth: number): Iterable<TreeFile> {
    for (const entry of entries(at(`${folder}/${prefix}`))) {
      const path = prefix === '' ? entry.name : `${prefix}/${entry.name}`;
      if (entry.isDirectory() && depth > 1) {
        yield* filesBelow(folder, path, depth - 1);
        continue;
      }
      const found = stat(`${folder}/${path}`);
      if (found) yield { ...found, path };
    }
  }

  return {
    name: root,
    isFlat: false,
    *entries(path, { few = false } = {}) {
      for (const entry of few ? allEntries(at(path)) : entries(at(path))) yield { name: entry.name, isFolder: entry.isDirectory() };
    },
    files: (path) => filesBelow(path, '', DEPTH),
    stat,
    read(path, most) {
      try {
        const fd = orNothing(() => openSync(at(path), READ), 'ENOENT', 'ENOTDIR');
        if (fd === undefined) return undefined;
        try {
          const info = fstatSync(fd);
          const file = { path, size: info.size, modifiedAt: Math.floor(info.mtimeMs), isFile: info.isFile() };
          if (!file.isFile || file.size > most) return file;
          const bytes = Buffer.allocUnsafe(file.size);
          let length = 0;
          for (let read = -1; length < file.size && read !== 0; length += read)
            read = readSync(fd, bytes, length, file.size - length, length);
          return { ...file, bytes: bytes.subarray(0, length) };
        } finally {
          closeSync(fd);
        }
      } catch (error) {
        if (isCode(error, 'ELOOP')) return stat(path);
        throw unreadable(error);
      }
    },
    async *stream(path) {
      try {
        yield* createReadStream(at(path), { highWaterMark: CHUNK }) as AsyncIterable<Uint8Array>;
      } catch (error) {
        throw unreadable(error);
      }
    },
  };
}

/** What a bad disk says, as everybody is told it. */
function unreadable(error: unknown): unknown {
  return isCode(error, 'EIO') ? new Unreadable((error as Error).message, { cause: error }) : error;
}

/** A folder that is written; `scratch` is a folder of the same file system where nobody looks for files. */
export function openFileTreeWriter(root: string, scratch: string): TreeWriter {
  const at = (path: string) => join(root, path);

  /** Makes a folder and all above it durable. */
  function ensure(folder: string): void {
    const made = mkdirSync(folder, { recursive: true });
    if (made === undefined) return;
    for (let path = folder; path.length >= made.length; path = dirname(path)) syncFolder(dirname(path));
  }

  return {
    async write(path, bytes) {
      const temporary = join(scratch, `link-${randomUUID()}`);
      const target = at(path);
      try {
        const file = await open(temporary, 'wx', 0o600);
        try {
          await file.writeFile(bytes);
          await file.datasync();
        } finally {
          await file.close();
        }
        ensure(dirname(target));
        await rename(temporary, target);
        syncFolder(dirname(target));
      } catch (error) {
        await rm(temporary, { force: true });
        throw error;
      }
    },
    async remove(path) {
      const removed = await unlink(at(path)).then(() => true, ignore('ENOENT', 'ENOTDIR'));
      if (removed) syncFolder(dirname(at(path)));
    },
    async removeFolder(path) {
      await rm(at(path), { recursive: true, force: true });
      orNothing(() => syncFolder(dirname(at(path))), 'ENOENT');
    },
  };
}

function syncFolder(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function orNothing<T>(work: () => T, ...codes: string[]): T | undefined {
  try {
    return work();
  } catch (error) {
    return ignore(...codes)(error as NodeJS.ErrnoException);
  }
}

function ignore(...codes: string[]): (error: NodeJS.ErrnoException) => undefined {
  return (error) => {
    if (!isCode(error, ...codes)) throw error;
    return undefined;
  };
}

function isCode(error: unknown, ...codes: string[]): boolean {
  return codes.includes((error as NodeJS.ErrnoException).code ?? '');
}
