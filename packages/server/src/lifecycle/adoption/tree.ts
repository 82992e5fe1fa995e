import type { MaybePromise } from '../../platform/index.ts';

/** A file of a tree. Times are milliseconds since 1970. */
export interface TreeFile {
  /** From the folder that was listed. */
  readonly path: string;
  readonly size: number;
  readonly modifiedAt: number;
  /** An ordinary file; all else (links, devices, folders too deep) is never opened. */
  readonly isFile: boolean;
}

/**
 * Storage of another registry, read and never written: a folder, or the keys of a bucket below a prefix. Paths have no
 * leading slash; they are made of parts that were checked against their grammar, or that a listing gave.
 */
export interface TreeReader {
  /** What a person knows the storage by. */
  readonly name: string;
  /** Names of the folders directly in a folder, in byte order, and of what else lies there; none where there is no such folder. */
  folders(path: string): MaybePromise<{ readonly folders: readonly string[]; readonly others: readonly string[] }>;
  /** All files below a folder, those of one subfolder together; none where there is no such folder. */
  files(path: string): Iterable<TreeFile> | AsyncIterable<TreeFile>;
  /** Undefined where there is no such file. */
  stat(path: string): MaybePromise<TreeFile | undefined>;
  /** Bytes of a file; undefined where there is none, or where it has more than `most`. */
  read(path: string, most: number): MaybePromise<Uint8Array | undefined>;
  /** Bytes of a file that exists, in order, to be hashed. */
  stream(path: string): AsyncIterable<Uint8Array>;
}

/** The same storage, written so that another registry may read it. All writes are durable when they resolve. */
export interface TreeWriter {
  /** Puts a small file into place, whole or not at all. */
  write(path: string, bytes: Uint8Array): Promise<void>;
  /** Removes a file; nothing happens where there is none. */
  remove(path: string): Promise<void>;
  /** Removes a folder with all that is in it. */
  removeFolder(path: string): Promise<void>;
}
