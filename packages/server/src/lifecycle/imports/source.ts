import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { posix } from 'node:path';
import { readTar, type TarEntry, TarError } from '@entrepot/oci';
import type { BlobReader } from '../../content/index.ts';

/** Files of an image layout: of a folder, or of an archive, which is never unpacked. */
export interface ImageSource {
  readonly name: string;
  /** Opens a file by its path; undefined where there is none, or no ordinary one. */
  open(path: string): Promise<BlobReader | undefined>;
  close(): Promise<void>;
}

/** Most entries of an archive, and longest name. */
const LIMITS = { entries: 200_000, name: 1024 };
const COMPRESSED: readonly (readonly [string, string])[] = [
  ['1f8b', 'gzip'],
  ['28b52ffd', 'zstd'],
  ['fd377a58', 'xz'],
  ['425a68', 'bzip2'],
];

/** Relative, in its plain form, and inside of where it begins. */
function isPlain(path: string): boolean {
  return path !== '' && !path.includes('\0') && !path.startsWith('/') && posix.normalize(path) === path && path.split('/')[0] !== '..';
}

/** A folder. Symbolic links in the place of files are not followed. */
export function folderSource(root: string): ImageSource {
  return {
    name: root,
    async open(path) {
      if (!isPlain(path)) return undefined;
      const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
      const file = await open(posix.join(root, path), flags).catch((error: unknown) => {
        if (!['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
        return undefined;
      });
      const info = await file?.stat();
      if (file && info?.isFile()) return partOf(file, 0, info.size, () => file.close());
      await file?.close();
      return undefined;
    },
    close: async () => undefined,
  };
}

/** A tar archive. Throws TarError for one that is malformed, or compressed. */
export async function archiveSource(path: string): Promise<ImageSource> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const read = async (position: number, length: number) => {
      const { bytesRead, buffer } = await file.read({ buffer: Buffer.alloc(length), position, length });
      return buffer.subarray(0, bytesRead);
    };
    const start = Buffer.from(await read(0, 8)).toString('hex');
    const packed = COMPRESSED.find(([magic]) => start.startsWith(magic))?.[1];
    if (packed !== undefined) throw new TarError(`${path} is compressed with ${packed}; decompress it first`);
    const entries = new Map<string, TarEntry>();
    for await (const entry of readTar(read, size, LIMITS)) {
      // Of two files of one name different readers take different ones.
      const name = posix.normalize(entry.name).replace(/^\.\//, '').replace(/\/$/, '');
      if (entry.type === 'folder') continue;
      if (entries.has(name)) throw new TarError(`the archive has ${JSON.stringify(name)} twice`);
      entries.set(name, entry);
    }
    return {
      name: path,
      async open(wanted) {
        if (!isPlain(wanted)) return undefined;
        const entry = fileOf(entries, wanted);
        return entry && partOf(file, entry.offset, entry.size, async () => undefined);
      },
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** A file, or the file that a link leads to: one step, inside the archive, as docker save writes layers that images share. */
function fileOf(entries: ReadonlyMap<string, TarEntry>, name: string): TarEntry | undefined {
  const entry = entries.get(name);
  if (entry === undefined || entry.type === 'file') return entry;
  if (entry.type !== 'symlink' && entry.type !== 'hardlink') return undefined;
  const target = entry.type === 'symlink' ? posix.join(posix.dirname(name), entry.link) : posix.normalize(entry.link);
  const found = isPlain(target) && !entry.link.startsWith('/') ? entries.get(target) : undefined;
  return found?.type === 'file' ? found : undefined;
}

function partOf(file: FileHandle, offset: number, size: number, close: () => Promise<void>): BlobReader {
  return {
    size,
    async read(buffer, length, position) {
      const most = Math.min(length, size - position);
      return most <= 0 ? 0 : (await file.read(buffer, 0, most, offset + position)).bytesRead;
    },
    close,
  };
}
