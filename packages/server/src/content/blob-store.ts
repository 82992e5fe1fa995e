/** A blob opened for reading. */
export interface BlobReader {
  readonly size: number;
  /** Where the bytes are those of an open file as they are: its descriptor. */
  readonly descriptor?: number;
  /** Where the bytes are in an archive: reading fails with ArchivedBlob before they were restored. */
  readonly archived?: 'archived' | 'restoring';
  /** Says that bytes `start` to `end` (inclusive) are read next, in order: a store far away then asks for them once. */
  announce?(start: number, end: number): void;
  /** Fills at most `length` bytes of `buffer` from `position`; gives how many were read, 0 at the end. */
  read(buffer: Uint8Array, length: number, position: number): Promise<number>;
  close(): Promise<void>;
}

/** A blob as it lies in storage. */
export interface StoredBlob {
  readonly digest: string;
  /** Bytes of its content. */
  readonly size: number;
}

/**
 * Bytes of an upload on their way in. One writer at a time; writes are strictly in order. What was written is there once the
 * writer is closed, and a beginning of it before.
 */
export interface UploadWriter {
  write(buffer: Uint8Array, length: number, position: number): Promise<void>;
  /** Starts moving what was written to disk, so that the last sync is short. */
  flush(): Promise<void>;
  /** After a failure: takes back what was written from `length` on, or all of it where nobody knows what reached the disk. */
  rewind(length: number): Promise<void>;
  /** Rejects where something that was written is not there. */
  close(): Promise<void>;
}

/**
 * Where bytes live. Knows digests and upload ids, no names and no permissions.
 * Ids and digests were checked against their grammar before they come here.
 */
export interface BlobStore {
  /**
   * Opens a blob; undefined where the store has none of that digest. `pulled`: for a client that pulls it, which a store of two
   * tiers takes for a reason to have it in the hot one. `key`: name of the key of a project, on whose behalf it is opened, and
   * without which it stays closed where the store encrypts.
   */
  open(digest: string, options?: { readonly pulled?: boolean; readonly key?: string | undefined }): Promise<BlobReader | undefined>;
  /** Bytes that an upload has so far, 0 if none arrived. */
  uploadSize(id: string): Promise<number>;
  /**
   * Opens an upload to be continued at its end. `fence`: another writer may still hold it open, so its later writes
   * must not reach these bytes.
   */
  openUpload(id: string, options: { fence: boolean }): Promise<UploadWriter>;
  /** Gives an upload's bytes in order, to hash them again. */
  openUploadForReading(id: string): Promise<BlobReader>;
  /**
   * Turns an upload of so many bytes, verified by the caller, into a blob: durable when it resolves. Throws where the
   * upload has another size by now. `replace`: what is stored under the digest is damaged, and not to be kept whatever it
   * looks like.
   */
  commit(id: string, digest: string, size: number, options?: { readonly replace?: boolean }): Promise<void>;
  /** Stores a small blob, verified by the caller, in one go: durable when it resolves. */
  put(digest: string, bytes: Uint8Array): Promise<void>;
  removeUpload(id: string): Promise<void>;
  /** Uploads whose last byte came before a time (milliseconds since 1970). */
  staleUploads(before: number): AsyncIterable<string>;
  /** Takes a blob away for good; nothing happens where it is not there. */
  remove(digest: string): Promise<void>;
  /** Every stored blob, in no order, some that come or go meanwhile left out or not. */
  blobs(): AsyncIterable<StoredBlob>;
  /** An address that gives the blob to whoever has it, for a few minutes; undefined where the bytes have to pass through here. */
  addressOf?(digest: string): Promise<string | undefined>;
  /** Asks for an archived blob to be readable for some days, which takes hours; nothing happens where that was asked for before. */
  restore?(digest: string): Promise<void>;
  /** Whether `openUploadForReading` gives what a writer wrote that is still open. */
  readonly readsOpenUploads?: boolean;
  /** Throws unless the store can be written to. */
  ping(): Promise<void>;
  /** Ends connections that are kept. */
  close?(): Promise<void>;
}

/** Small objects that are kept beside the blobs and may be replaced; names are paths of [a-z0-9] and hyphens. */
export interface Companions {
  read(name: string): Promise<Uint8Array | undefined>;
  /** Durable when it resolves; whoever reads meanwhile finds the old bytes or the new ones. */
  write(name: string, bytes: Uint8Array): Promise<void>;
  /** Nothing happens where it is not there. */
  remove(name: string): Promise<void>;
}
