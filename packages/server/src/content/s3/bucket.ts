import { readFileSync } from 'node:fs';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { Readable } from 'node:stream';
import { rootCertificates } from 'node:tls';
import type { HeadObjectCommandOutput, ListMultipartUploadsCommandOutput, S3ClientConfig } from '@aws-sdk/client-s3';
import { isBeingRestored, isMissing, isNotImplemented, isPresent, toFailure } from './failures.ts';
import { toPage } from './pages.ts';
import type { Bucket, BucketSettings, ObjectFacts, Part } from './port.ts';

export type { Bucket, BucketSettings, OpenParts, Part, Span } from './port.ts';

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

  const stat: Bucket['stat'] = async (key) => {
    const found = await head(key);
    return found && { key, size: found.ContentLength ?? 0, modified: found.LastModified?.getTime() ?? 0 };
  };

  const page: Bucket['page'] = async (Prefix, { byFolder = false, after }) => {
    const more = { ...(byFolder ? { Delimiter: '/' } : {}), ...(after === undefined ? {} : { ContinuationToken: after }) };
    const command = new s3.ListObjectsV2Command({ Bucket, Prefix, EncodingType: 'url', ...more });
    return toPage(Prefix, await tried(client.send(command, within(QUICK))));
  };

  return {
    size,
    stat,
    page,

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

    async read(Key, most) {
      const late = AbortSignal.timeout(QUICK.total * patience);
      const got = client
        .send(new s3.GetObjectCommand({ Bucket, Key }), { requestTimeout: QUICK.attempt * patience, abortSignal: late })
        .catch((error: unknown) => {
          if (isMissing(error)) return undefined;
          throw error;
        });
      const found = await tried(got);
      if (!found) return undefined;
      const { Body, ContentLength = 0, LastModified } = found;
      const stream = Body as Readable;
      stream.on('error', quiet); // heard by whoever reads it
      const about = { key: Key, size: ContentLength, modified: LastModified?.getTime() ?? 0 };
      if (ContentLength <= most) return { ...about, bytes: await tried(readWhole(stream, ContentLength, late)) };
      stream.destroy();
      return about;
    },

    async *list(prefix) {
      for (let after: string | undefined, more = true; more; ) {
        const { objects, next } = await page(prefix, { after });
        yield* objects;
        after = next;
        more = next !== undefined;
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

/** All bytes of an answer, exactly so many, before it is late. */
async function readWhole(stream: Readable, length: number, late: AbortSignal): Promise<Buffer> {
  const stop = () => stream.destroy(new Error('the bucket stopped in the midst of an answer'));
  late.addEventListener('abort', stop);
  try {
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    const bytes = Buffer.concat(chunks);
    if (bytes.length !== length) throw new Error(`an answer of the bucket ended after ${bytes.length} of ${length} bytes`);
    return bytes;
  } finally {
    late.removeEventListener('abort', stop);
  }
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
