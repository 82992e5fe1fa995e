import { randomUUID } from 'node:crypto';
import {
  closeSync,
  createReadStream,
  type Dirent,
  fstatSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  opendirSync,
  openSync,
  readSync,
} from 'node:fs';
import { open, rename, rm, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { TreeFile, TreeReader, TreeWriter } from './tree.ts';

/** Deeper than any file of the layouts that are read: `tags/<tag>/index/<algorithm>/<hex>/link` and some room. */
const DEPTH = 8;
const CHUNK = 1 << 20;
/** Entries that one look into a folder fetches. */
const ENTRIES = 512;

/**
 * A folder. Everything is synchronous: a command that reads millions of small files waits for nothing else, and asking a
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
    folders(path) {
      const folders: string[] = [];
      const others: string[] = [];
      for (const entry of entries(at(path))) (entry.isDirectory() ? folders : others).push(entry.name);
      return { folders: folders.sort(), others: others.sort() };
    },
    files: (path) => filesBelow(path, '', DEPTH),
    stat,
    read(path, most) {
      const fd = orNothing(() => openSync(at(path), 'r'), 'ENOENT', 'ENOTDIR');
      if (fd === undefined) return undefined;
      try {
        const { size } = fstatSync(fd);
        if (size > most) return undefined;
        const bytes = new Uint8Array(size);
        let length = 0;
        for (let read = -1; length < size && read !== 0; length += read) read = readSync(fd, bytes, length, size - length, length);
        return bytes.subarray(0, length);
      } finally {
        closeSync(fd);
      }
    },
    stream: (path) => createReadStream(at(path), { highWaterMark: CHUNK }),
  };
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
    if (!codes.includes(error.code ?? '')) throw error;
    return undefined;
  };
}
