import { type Bucket, s3Layout } from '../../content/index.ts';
import type { Config } from '../../platform/index.ts';
import { ahead } from './ahead.ts';
import { type TreeFile, type TreeReader, type TreeWriter, Unreadable } from './tree.ts';

const CHUNK = 1 << 20;
/** Objects removed at once. */
const REMOVED_AT_ONCE = 8;

interface Options {
  /** What all keys begin with, ending with a slash. */
  readonly root: string;
  readonly name: string;
  /** Milliseconds between tries. */
  readonly pauses?: readonly number[] | undefined;
}

/** The storage in the bucket that the configuration names; `pauses` between tries in milliseconds, else for some minutes. */
export async function openBucketTree(config: Config, pauses?: readonly number[]): Promise<TreeReader & TreeWriter> {
  const { openS3Layout } = await s3Layout();
  const { bucket, root, name } = await openS3Layout(config);
  return { ...(await createBucketTree(bucket, { root, name, pauses })), close: () => bucket.close() };
}

/**
 * What distribution's s3 driver keeps: each path is a key below its `rootdirectory`, and there are no folders. A server that is
 * throttled, away, or answers by halves is asked again for some minutes; no such answer is ever taken for what is there.
 */
export async function createBucketTree(bucket: Bucket, { root, name, pauses }: Options): Promise<TreeReader & TreeWriter> {
  const { Archived, createPieceReader, patiently } = await s3Layout();
  const ask = async <T>(path: string, work: () => Promise<T>): Promise<T> => {
    try {
      return await patiently(`${name}/${path}`, work, pauses);
    } catch (error) {
      throw error instanceof Archived ? new Unreadable(error.message, { cause: error }) : error;
    }
  };
  const folderKey = (path: string) => (path === '' ? root : `${root}${path}/`);

  /** Pages of a listing; while one is looked at, the next is on its way. */
  async function* pages(path: string, byFolder: boolean) {
    const prefix = folderKey(path);
    const get = (after: string | undefined) => {
      const page = ask(path, () => bucket.page(prefix, { byFolder, after }));
      page.catch(() => undefined); // heard when its turn comes
      return page;
    };
    for (let coming = get(undefined); ; ) {
      const page = await coming;
      if (page.next !== undefined) coming = get(page.next);
      yield { folders: page.folders.map((key) => key.slice(prefix.length, -1)), files: page.objects.map(fileBelow(prefix)) };
      if (page.next === undefined) return;
    }
  }

  async function* files(path: string): AsyncGenerator<TreeFile> {
    for await (const page of pages(path, false)) {
      for (const file of page.files) if (!isMarker(file)) yield file;
    }
  }

  return {
    name,
    isFlat: true,
    async *entries(path) {
      for await (const page of pages(path, true)) {
        for (const folder of page.folders) yield { name: folder, isFolder: true };
        for (const file of page.files) if (!isMarker(file)) yield { name: file.path, isFolder: false };
      }
    },
    files,
    async stat(path) {
      const found = await ask(path, () => bucket.stat(root + path));
      return found && { path, size: found.size, modifiedAt: found.modified, isFile: true };
    },
    async read(path, most) {
      const found = await ask(path, () => bucket.read(root + path, most));
      if (!found) return undefined;
      const { size, modified: modifiedAt, bytes } = found;
      return { path, size, modifiedAt, isFile: true, ...(bytes ? { bytes } : {}) };
    },
    async *stream(path, size) {
      const key = root + path;
      const reader = createPieceReader(bucket, [{ key, from: 0, start: 0, length: size, of: size }], size);
      reader.announce?.(0, size - 1);
      try {
        for (let position = 0; position < size; ) {
          const at = position;
          const chunk = Buffer.allocUnsafe(CHUNK);
          const length = await ask(path, () => reader.read(chunk, CHUNK, at));
          if (length === 0) throw new Error(`${path} ends at ${at}, before ${size}`);
          yield chunk.subarray(0, length);
          position += length;
        }
      } finally {
        await reader.close();
      }
    },
    write: (path, bytes) => ask(path, () => bucket.put(root + path, bytes)),
    remove: (path) => ask(path, () => bucket.remove(root + path)),
    async removeFolder(path) {
      const remove = ({ path: below }: TreeFile) => ask(path, () => bucket.remove(`${folderKey(path)}${below}`));
      for await (const _ of ahead(files(path), REMOVED_AT_ONCE, remove));
    },
  };
}

const fileBelow =
  (prefix: string) =>
  ({ key, size, modified }: { key: string; size: number; modified: number }): TreeFile => ({
    path: key.slice(prefix.length),
    size,
    modifiedAt: modified,
    isFile: true,
  });

/** An empty object by which some tools say that there is a folder. */
function isMarker({ path, size }: TreeFile): boolean {
  return size === 0 && (path === '' || path.endsWith('/'));
}
