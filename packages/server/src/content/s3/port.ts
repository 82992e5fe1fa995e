import type { Readable } from 'node:stream';
import type { CompletedPart } from '@aws-sdk/client-s3';
import type { BucketObject, BucketPage, PageOptions } from './pages.ts';

export interface BucketSettings {
  readonly bucket: string;
  readonly region: string;
  /** Empty: AWS. */
  readonly endpoint: string;
  readonly pathStyle: boolean;
  /** undefined: the usual chain of the client (variables, files, roles). */
  readonly keys: { readonly id: string; readonly secret: string } | undefined;
  /** CRC32 with all data, and not only where S3 asks for a checksum. */
  readonly checksums: boolean;
  /** PEM file of authorities trusted besides the usual ones; empty: none. */
  readonly caFile: string;
}

/** What is known of one object without its bytes. */
export interface ObjectFacts {
  readonly size: number;
  /** Where its bytes are in an archive class of S3, and not restored. */
  readonly archived?: 'archived' | 'restoring';
}

export interface OpenParts {
  readonly key: string;
  readonly uploadId: string;
  /** Milliseconds since 1970. */
  readonly begun: number;
}

/** A part of a multipart upload, as it has to be named in the end. */
export type Part = CompletedPart;

/** Bytes of an object, all at the same key. */
export interface Span {
  readonly key: string;
  readonly start: number;
  /** Last byte, inclusive. */
  readonly end: number;
}

/**
 * What this registry does with a bucket. Every call is tried three times and ends in bounded time; what fails is an AppError,
 * 503 or 507. `ifAbsent`: false, and nothing changed, where there is such an object already; servers that cannot do that
 * write all the same.
 */
export interface Bucket {
  /** Size of an object; undefined where there is none. */
  size(key: string): Promise<number | undefined>;
  /** More of an object; undefined where there is none. */
  facts(key: string): Promise<ObjectFacts | undefined>;
  /** Asks for an archived object to be readable for some days; nothing happens where that was asked for before. */
  restore(key: string): Promise<void>;
  /** Those bytes as a stream, which may end early: then its reader has to notice. */
  get(span: Span, signal: AbortSignal): Promise<Readable>;
  /** What is known of an object; undefined where there is none. */
  stat(key: string): Promise<BucketObject | undefined>;
  /** A small object, whole; without its bytes where it has more than `most`; undefined where there is none. */
  read(key: string, most: number): Promise<(BucketObject & { readonly bytes?: Buffer }) | undefined>;
  put(key: string, bytes: Uint8Array): Promise<void>;
  remove(key: string): Promise<void>;
  list(prefix: string): AsyncIterable<BucketObject>;
  /** The next of what `list` gives, of one request. */
  page(prefix: string, options: PageOptions): Promise<BucketPage>;
  copy(from: string, to: string, options: { ifAbsent: boolean }): Promise<boolean>;
  /** `copied`: parts are copies of others, whose checksums are the server's own business. */
  beginParts(key: string, options: { copied: boolean }): Promise<string>;
  putPart(key: string, uploadId: string, number: number, bytes: Uint8Array): Promise<Part>;
  copyPart(key: string, uploadId: string, number: number, from: Span): Promise<Part>;
  completeParts(key: string, uploadId: string, parts: readonly Part[], options: { ifAbsent: boolean }): Promise<boolean>;
  abortParts(key: string, uploadId: string): Promise<void>;
  /** Multipart uploads that are neither complete nor aborted, as far as the server tells. */
  openParts(prefix: string): AsyncIterable<OpenParts>;
  /** An address that gives an object to whoever has it, for some seconds. */
  addressOf(key: string, seconds: number): Promise<string>;
  /** Throws, in short time, unless an object can be written. */
  check(key: string): Promise<void>;
  close(): void;
}
