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

/** A small file with its bytes; without them where it has more than was asked for. */
export interface TreeContent extends TreeFile {
  readonly bytes?: Uint8Array;
}

/** A file that is there, and that the storage does not give back: a bad disk, an object in an archive. */
export class Unreadable extends Error {
  override name = 'Unreadable';
}

/**
 * Storage of another registry, read and never written: a folder, or the keys of a bucket below a prefix. Paths have no
 * leading slash; they are made of parts that were checked against their grammar, or that a listing gave.
 */
export interface TreeReader {
  /** What a person knows the storage by. */
  readonly name: string;
  /**
   * A bucket: to list all below a folder costs no more than to list the folder, and whatever is asked for takes its time, so
   * that many are to be asked for at once. Else each folder is a look of its own, and nothing is waited for.
   */
  readonly isFlat: boolean;
  /**
   * What lies directly in a folder, in no order; nothing where there is no such folder. `few`: no more are expected than memory
   * has room for.
   */
  entries(path: string, options?: { readonly few?: boolean }): Iterable<TreeEntry> | AsyncIterable<TreeEntry>;
  /** All files below a folder, those of one subfolder together; none where there is no such folder. */
  files(path: string): Iterable<TreeFile> | AsyncIterable<TreeFile>;
  /** Undefined where there is no such file. */
  stat(path: string): MaybePromise<TreeFile | undefined>;
  /** A file of at most `most` bytes; undefined where there is none. Throws Unreadable. */
  read(path: string, most: number): MaybePromise<TreeContent | undefined>;
  /** Bytes of a file that exists and has so many, in order, to be hashed. Throws Unreadable. */
  stream(path: string, size: number): AsyncIterable<Uint8Array>;
  /** Ends connections that are kept. */
  close?(): void;
}

export interface TreeEntry {
  readonly name: string;
  readonly isFolder: boolean;
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
