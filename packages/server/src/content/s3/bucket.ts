import { readFileSync } from 'node:fs';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { Readable } from 'node:stream';
import { rootCertificates } from 'node:tls';
import type { CompletedPart, HeadObjectCommandOutput, ListMultipartUploadsCommandOutput, S3ClientConfig } from '@aws-sdk/client-s3';
import { isBeingRestored, isMissing, isNotImplemented, isPresent, toFailure } from './failures.ts';

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

export interface BucketObject {
  readonly key: string;
  readonly size: number;
  /** Milliseconds since 1970. */
  readonly modified: number;
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
  put(key: string, bytes: Uint8Array): Promise<void>;
  remove(key: string): Promise<void>;
  list(prefix: string): AsyncIterable<BucketObject>;
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

const CONNECT_MS = 3000;
const ATTEMPTS = 3;
/** Longest that a connection may be silent while an answer is due. */
const SILENT_MS = 130_000;
const SOCKETS = 512;
/** How long what was restored from an archive can be read. */
const RESTORED_DAYS = 7;
/** Classes of S3 whose bytes have to be restored first; Glacier Instant Retrieval is none. */
const ARCHIVES = new Set<string>(['GLACIER', 'DEEP_ARCHIVE']);

/** Time for one attempt, and for all of them together. */
interface Deadline {
  readonly attempt: number;
  readonly total: number;
}
const QUICK: Deadline = { attempt: 8000, total: 20_000 };
const DATA: Deadline = { attempt: 30_000, total: 60_000 };
/** The server has to move the bytes before it answers. */
const COPY: Deadline = { attempt: 120_000, total: 240_000 };
const CHECK: Deadline = { attempt: 3000, total: 5000 };

/** The client is loaded here and nowhere else, so that a registry on files does without. All times count `patience` fold. */
export async function openBucket(settings: BucketSettings, { patience = 1 }: { patience?: number } = {}): Promise<Bucket> {
  const { S3Client, ...s3 } = await import('@aws-sdk/client-s3');
  const { getSignedUrl } = await import('@aws-sdk/s3-request-presigner');
  const { bucket: Bucket, keys, checksums } = settings;
  const agent = { keepAlive: true, maxSockets: SOCKETS };
  const ca = settings.caFile === '' ? undefined : [...rootCertificates, readFileSync(settings.caFile, 'utf8')];
  const quiet = () => undefined;
  const logger = { trace: quiet, debug: quiet, info: quiet, warn: quiet, error: quiet };
  const common: S3ClientConfig = {
    region: settings.region,
    ...(settings.endpoint === '' ? {} : { endpoint: settings.endpoint }),
    forcePathStyle: settings.pathStyle,
    ...(keys ? { credentials: { accessKeyId: keys.id, secretAccessKey: keys.secret } } : {}),
    // Digests are verified by whoever pulls; ranges have no checksum, and those of several parts none of the whole.
    responseChecksumValidation: 'WHEN_REQUIRED',
    followRegionRedirects: false,
    expectContinueHeader: false,
    retryMode: 'standard',
    maxAttempts: ATTEMPTS,
    logger,
    requestHandler: {
      connectionTimeout: CONNECT_MS,
      socketTimeout: SILENT_MS,
      throwOnRequestTimeout: true,
      logger,
      httpAgent: new HttpAgent(agent),
      httpsAgent: new HttpsAgent({ ...agent, ...(ca ? { ca } : {}) }),
    },
  };
  const client = new S3Client({ ...common, requestChecksumCalculation: checksums ? 'WHEN_SUPPORTED' : 'WHEN_REQUIRED' });
  // It would sign a checksum of the body that a download does not have.
  const signer = new S3Client({ ...common, requestChecksumCalculation: 'WHEN_REQUIRED' });
  const algorithm = checksums ? ({ ChecksumAlgorithm: 'CRC32' } as const) : {};
  const within = ({ attempt, total }: Deadline) => ({
    requestTimeout: attempt * patience,
    abortSignal: AbortSignal.timeout(total * patience),
  });
  /** Whether the server does conditional writes; believed until it says no. */
  let conditional = true;

  /** Runs a write that may be conditional; says whether it wrote. */
  async function write(ifAbsent: boolean, send: (condition: { IfNoneMatch?: '*' }) => Promise<unknown>): Promise<boolean> {
    try {
      if (!ifAbsent || !conditional) await send({});
      else {
        await send({ IfNoneMatch: '*' }).catch(async (error: unknown) => {
          if (!isNotImplemented(error)) throw error;
          await send({});
          conditional = false;
        });
      }
      return true;
    } catch (error) {
      if (ifAbsent && isPresent(error)) return false;
      throw toFailure(error);
    }
  }

  /** What was asked for, or the failure to tell. */
  async function tried<T>(work: Promise<T>): Promise<T> {
    return await work.catch((error: unknown) => {
      throw toFailure(error);
    });
  }

  async function head(Key: string): Promise<HeadObjectCommandOutput | undefined> {
    const found = client.send(new s3.HeadObjectCommand({ Bucket, Key }), within(QUICK)).catch((error: unknown) => {
      if (isMissing(error)) return undefined;
      throw error;
    });
    return await tried(found);
  }

  const size: Bucket['size'] = async (key) => (await head(key))?.ContentLength;

  return {
    size,

    async facts(key) {
      const found = await head(key);
      if (found?.ContentLength === undefined) return undefined;
      const archived = archivedBy(found);
      return { size: found.ContentLength, ...(archived ? { archived } : {}) };
    },

    async restore(Key) {
      const found = await head(Key);
      // What S3 archives by itself is restored for good, and takes no number of days.
      const days = found?.ArchiveStatus === undefined ? { Days: RESTORED_DAYS } : {};
      const RestoreRequest = { ...days, GlacierJobParameters: { Tier: 'Standard' } } as const;
      await client.send(new s3.RestoreObjectCommand({ Bucket, Key, RestoreRequest }), within(QUICK)).catch((error: unknown) => {
        if (!isBeingRestored(error)) throw toFailure(error);
      });
    },

    async get({ key: Key, start, end }, signal) {
      const Range = `bytes=${start}-${end}`;
      const command = new s3.GetObjectCommand({ Bucket, Key, Range });
      const { Body, ContentRange, ContentLength } = await tried(
        client.send(command, { requestTimeout: QUICK.attempt * patience, abortSignal: signal }),
      );
      const stream = Body as Readable;
      const length = end - start + 1;
      if (ContentLength === length && (start === 0 || ContentRange?.startsWith(`bytes ${start}-${end}/`))) return stream;
      stream.on('error', quiet).destroy();
      throw toFailure(new Error(`${ContentRange ?? 'no range'} of ${ContentLength} bytes for ${Range} of ${Key}`));
    },

    async put(Key, Body) {
      const command = new s3.PutObjectCommand({ Bucket, Key, Body, ...algorithm });
      const { ETag } = await tried(client.send(command, within(DATA)));
      if (ETag === undefined) throw toFailure(new Error(`${Key} was stored, says an answer without an ETag`));
    },

    async remove(Key) {
      await client.send(new s3.DeleteObjectCommand({ Bucket, Key }), within(QUICK)).catch((error: unknown) => {
        if (!isMissing(error)) throw toFailure(error);
      });
    },

    async *list(Prefix) {
      for (let ContinuationToken: string | undefined, more = true; more; ) {
        const command = new s3.ListObjectsV2Command({ Bucket, Prefix, ...(ContinuationToken ? { ContinuationToken } : {}) });
        const { Contents = [], IsTruncated, NextContinuationToken } = await tried(client.send(command, within(QUICK)));
        for (const { Key, Size, LastModified } of Contents) {
          if (Key !== undefined && Size !== undefined) yield { key: Key, size: Size, modified: LastModified?.getTime() ?? 0 };
        }
        more = IsTruncated === true;
        if (more && NextContinuationToken === undefined) throw toFailure(new Error(`a listing of ${Prefix} breaks off`));
        ContinuationToken = NextContinuationToken;
      }
    },

    copy: (from, Key, { ifAbsent }) =>
      write(ifAbsent, async (condition) => {
        const command = new s3.CopyObjectCommand({ Bucket, Key, CopySource: sourceOf(Bucket, from), ...condition });
        const { CopyObjectResult } = await client.send(command, within(COPY));
        if (CopyObjectResult?.ETag === undefined) throw new Error(`${from} was copied, says an answer without an ETag`);
      }),

    async beginParts(Key, { copied }) {
      const command = new s3.CreateMultipartUploadCommand({ Bucket, Key, ...(copied ? {} : algorithm) });
      const { UploadId } = await tried(client.send(command, within(QUICK)));
      if (UploadId === undefined) throw toFailure(new Error('a multipart upload began without an id'));
      return UploadId;
    },

    async putPart(Key, UploadId, PartNumber, Body) {
      const command = new s3.UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body, ...algorithm });
      return partOf(PartNumber, await tried(client.send(command, within(DATA))));
    },

    async copyPart(Key, UploadId, PartNumber, { key, start, end }) {
      const source = { CopySource: sourceOf(Bucket, key), CopySourceRange: `bytes=${start}-${end}` };
      const command = new s3.UploadPartCopyCommand({ Bucket, Key, UploadId, PartNumber, ...source });
      const { CopyPartResult } = await tried(client.send(command, within(COPY)));
      return partOf(PartNumber, { ETag: CopyPartResult?.ETag });
    },

    completeParts: (Key, UploadId, parts, { ifAbsent }) =>
      write(ifAbsent, async (condition) => {
        const command = new s3.CompleteMultipartUploadCommand({
          ...{ Bucket, Key, UploadId, ...condition },
          MultipartUpload: { Parts: [...parts] },
        });
        try {
          const { ETag } = await client.send(command, within(COPY));
          if (ETag === undefined) throw new Error(`${Key} is complete, says an answer without an ETag`);
        } catch (error) {
          // Asked again after an answer that was lost, the server knows it no more: then the object is there.
          if (!isMissing(error) || (await size(Key)) === undefined) throw error;
        }
      }),

    async abortParts(Key, UploadId) {
      await client.send(new s3.AbortMultipartUploadCommand({ Bucket, Key, UploadId }), within(QUICK)).catch((error: unknown) => {
        if (!isMissing(error)) throw toFailure(error);
      });
    },

    async *openParts(Prefix) {
      for (let from: { KeyMarker?: string; UploadIdMarker?: string } | undefined = {}; from; ) {
        const page: Partial<ListMultipartUploadsCommandOutput> = await client
          .send(new s3.ListMultipartUploadsCommand({ Bucket, Prefix, ...from }), within(QUICK))
          .catch((error: unknown) => {
            if (isNotImplemented(error)) return {}; // such a server ends them itself
            throw toFailure(error);
          });
        for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
          if (Key !== undefined && UploadId !== undefined) yield { key: Key, uploadId: UploadId, begun: Initiated?.getTime() ?? 0 };
        }
        const { IsTruncated, NextKeyMarker: KeyMarker, NextUploadIdMarker: UploadIdMarker } = page;
        from = IsTruncated && KeyMarker ? { KeyMarker, ...(UploadIdMarker ? { UploadIdMarker } : {}) } : undefined;
      }
    },

    async addressOf(Key, expiresIn) {
      const command = new s3.GetObjectCommand({
        ...{ Bucket, Key },
        ResponseContentType: 'application/octet-stream',
        ResponseContentDisposition: 'attachment',
      });
      return await tried(getSignedUrl(signer, command, { expiresIn }));
    },

    async check(Key) {
      await tried(client.send(new s3.PutObjectCommand({ Bucket, Key, Body: 'ping', ...algorithm }), within(CHECK)));
    },

    close: () => client.destroy(),
  };
}

/** The bucket and key as a header names them: each component of the path encoded. */
function sourceOf(bucket: string, key: string): string {
  return [bucket, ...key.split('/')].map(encodeURIComponent).join('/');
}

/** Whether an object has to be restored before it can be read, by what S3 says of its class, and of a restoration (`x-amz-restore`). */
function archivedBy({ StorageClass, ArchiveStatus, Restore = '' }: Partial<HeadObjectCommandOutput>): ObjectFacts['archived'] {
  if (!ARCHIVES.has(StorageClass ?? '') && ArchiveStatus === undefined) return undefined;
  if (Restore.includes('ongoing-request="true"')) return 'restoring';
  return Restore.includes('ongoing-request="false"') ? undefined : 'archived';
}

interface Sums {
  readonly ETag?: string | undefined;
  readonly ChecksumCRC32?: string | undefined;
}

function partOf(PartNumber: number, { ETag, ChecksumCRC32 }: Sums): Part {
  if (ETag === undefined) throw toFailure(new Error('a part was stored, says an answer without an ETag'));
  return { PartNumber, ETag, ...(ChecksumCRC32 === undefined ? {} : { ChecksumCRC32 }) };
}
