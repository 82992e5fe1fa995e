import { randomUUID } from 'node:crypto';
import { closeSync, fsync, fsyncSync, openSync } from 'node:fs';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { Companions } from './blob-store.ts';

const syncFile = promisify(fsync);

/** Companions as files under a folder. */
export function openFileCompanions(root: string): Companions {
  const made = new Set<string>();

  /** Makes a folder and its parents, durable, once for each run. */
  async function ensure(folder: string): Promise<void> {
    if (made.has(folder)) return;
    const first = await mkdir(folder, { recursive: true, mode: 0o700 });
    if (first !== undefined) for (let at = folder; at.length >= first.length; at = dirname(at)) syncFolder(dirname(at));
    made.add(folder);
  }

  return {
    read: (name) =>
      readFile(join(root, name)).catch((error: unknown) => {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
        return undefined;
      }),
    async write(name, bytes) {
      const path = join(root, name);
      await ensure(dirname(path));
      const temporary = `${path}.${randomUUID()}`;
      try {
        const file = await open(temporary, 'wx', 0o600);
        try {
          await file.writeFile(bytes);
          await file.sync();
        } finally {
          await file.close();
        }
        await rename(temporary, path);
      } catch (error) {
        await rm(temporary, { force: true });
        throw error;
      }
      const fd = openSync(dirname(path), 'r');
      await syncFile(fd).finally(() => closeSync(fd));
    },
    remove: (name) => rm(join(root, name), { force: true }),
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
