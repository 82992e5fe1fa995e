import { randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { digestOf, parseDigest } from '@entrepot/oci';
import { LRUCache } from 'lru-cache';
import {
  blobScope,
  findBlob,
  findRepository,
  isDamagedIn,
  projectKeyOf,
  renewBlob,
  repositoryScope,
  unlinkBlob,
} from '../catalog/index.ts';
import { type BlobReader, sendRange } from '../content/index.ts';
import { AppError, endTogether } from '../platform/index.ts';
import { API_VERSION, answer, type Call, NOSNIFF, namesEtag } from './http.ts';
import type { RegistryParts } from './parts.ts';
import { type ByteRange, parseRanges } from './ranges.ts';

/** Blobs up to this size, configs above all, are kept in memory once read. */
const SMALL_BYTES = 64 * 1024;
const CACHE_BYTES = 24 << 20;
const PULLED = { pulled: true } as const;

/** A blob is data, whatever its bytes say: browsers neither guess its type nor run it. */
const BLOB_HEADERS = [
  ...API_VERSION,
  ...['Content-Type', 'application/octet-stream'],
  ...NOSNIFF,
  ...['Content-Disposition', 'attachment'],
  ...['Content-Security-Policy', "sandbox; default-src 'none'"],
  ...['Accept-Ranges', 'bytes'],
];

export interface BlobHandlers {
  get(call: Call): Promise<void>;
  remove(call: Call): Promise<void>;
}

/** end-2 and end-10 of distribution-spec. */
export function createBlobHandlers(parts: RegistryParts): BlobHandlers {
  const { database, blobs, projectKeys, slabs, metrics, log, clock, options, suspect, onBlobRead } = parts;
  const small = new LRUCache<string, Uint8Array>({ maxSize: CACHE_BYTES, sizeCalculation: (bytes) => bytes.length + 200 });
  const openTime = metrics.store('open');
  const renewMs = (options.collectionGraceSeconds * 1000) / 2;

  async function get(call: Call): Promise<void> {
    const { request, response, name, reference: digest } = call;
    if (!parseDigest(digest)) throw new AppError('digest_invalid', 'the digest is not a sha256 or sha512 digest');
    const repository = await findRepository(database, name);
    if (!repository) throw new AppError('name_unknown', 'repository name not known to the registry');
    const blob = await findBlob(database, repository.id, digest);
    if (!blob) throw await unknown(repository.id, digest);
    if (blob.unneededSince !== null) await promise(call, repository.id, blob.unneededSince);
    const { size } = blob;
    const etag = `"${digest}"`;
    const { range, 'if-range': ifRange, 'if-none-match': ifNoneMatch } = request.headers;
    if (ifNoneMatch !== undefined && namesEtag(ifNoneMatch, etag)) return answer(response, 304, ['ETag', etag]);
    const headers = [...BLOB_HEADERS, 'Docker-Content-Digest', digest, 'ETag', etag];
    if (request.method === 'HEAD') {
      response.writeHead(200, [...headers, 'Content-Length', String(size)]);
      endTogether(response);
      return;
    }
    const ranges = ifRange === undefined || ifRange === etag ? parseRanges(range, size) : undefined;
    const key = projectKeys ? ((await projectKeyOf(database, repository.projectId)) ?? undefined) : undefined;
    if (size <= SMALL_BYTES && ranges === undefined) {
      // What one key opened is not there for whoever comes by another.
      const bytes = key === undefined ? (small.get(digest) ?? (await readSmall(digest, size))) : await readSmall(digest, size, key);
      response.writeHead(200, [...headers, 'Content-Length', String(size)]);
      endTogether(response, bytes);
      metrics.bytesOut(size);
      onBlobRead?.(digest, size, size);
      return;
    }
    // An object store knows no more than one range.
    const address = ranges === undefined || ranges.length === 1 ? await blobs.addressOf?.(digest) : undefined;
    if (address !== undefined) {
      const [part] = ranges ?? [];
      onBlobRead?.(digest, size, part ? part.end - part.start + 1 : size);
      // It is the caller's, and soon over.
      return answer(response, 307, ['Location', address, 'Docker-Content-Digest', digest, 'Cache-Control', 'no-store']);
    }
    const started = performance.now();
    const reader = await openBlob(digest, size, key);
    openTime((performance.now() - started) / 1000);
    metrics.transfers.start('download');
    try {
      const sent =
        ranges && ranges.length > 1
          ? await sendParts(response, reader, headers, ranges)
          : await sendOne(response, reader, headers, ranges?.[0]);
      metrics.bytesOut(sent);
      onBlobRead?.(digest, size, sent);
    } catch (error) {
      if (!request.socket.destroyed) log.error({ err: error, digest }, 'a blob could not be sent whole');
      response.destroy();
    } finally {
      metrics.transfers.end('download');
      await reader.close();
    }
  }

  /** A damaged blob is told to be unknown, so that whoever has it pushes it again. */
  async function unknown(repositoryId: number, digest: string): Promise<AppError> {
    const isDamaged = await isDamagedIn(database, repositoryId, digest);
    return new AppError('blob_unknown', isDamaged ? 'the stored blob is damaged; push it again' : 'blob unknown to the repository');
  }

  /**
   * Whoever is told that a blob is there can name it in a manifest for half the grace time at least, and most who ask need no
   * write for that. Throws `blob_unknown` where collection was quicker.
   */
  async function promise({ request, name, reference: digest }: Call, repositoryId: number, unneededSince: number): Promise<void> {
    const now = clock.now();
    if (now - unneededSince < renewMs) return;
    const scope = [repositoryScope(name)];
    const renewed = database.write((tx) => renewBlob(tx, repositoryId, digest, now), { scope });
    // A download needs no promise: where nothing can be written it goes on, as downloads do.
    const isThere = await (request.method === 'HEAD' ? renewed : renewed.catch(() => true));
    if (!isThere) throw await unknown(repositoryId, digest);
  }

  async function sendOne(
    response: ServerResponse,
    reader: BlobReader,
    headers: readonly string[],
    range: ByteRange | undefined,
  ): Promise<number> {
    const { start, end } = range ?? { start: 0, end: reader.size - 1 };
    const length = end - start + 1;
    const partial = range ? ['Content-Range', `bytes ${start}-${end}/${reader.size}`] : [];
    response.writeHead(range ? 206 : 200, [...headers, ...partial, 'Content-Length', String(length)]);
    await sendRange(reader, start, end, response, slabs);
    response.end();
    return length;
  }

  /** Several ranges as `multipart/byteranges` (RFC 9110 section 14.6); podman asks so for zstd:chunked layers. */
  async function sendParts(
    response: ServerResponse,
    reader: BlobReader,
    headers: readonly string[],
    ranges: readonly ByteRange[],
  ): Promise<number> {
    const boundary = randomBytes(16).toString('hex');
    const heads = ranges.map(
      ({ start, end }) =>
        `\r\n--${boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes ${start}-${end}/${reader.size}\r\n\r\n`,
    );
    const tail = `\r\n--${boundary}--\r\n`;
    const content = ranges.reduce((sum, { start, end }) => sum + end - start + 1, 0);
    const length = content + heads.join('').length + tail.length;
    const plain = headers.map((value) => (value === 'application/octet-stream' ? `multipart/byteranges; boundary=${boundary}` : value));
    response.writeHead(206, [...plain, 'Content-Length', String(length)]);
    for (const [index, { start, end }] of ranges.entries()) {
      response.write(heads[index]);
      await sendRange(reader, start, end, response, slabs);
    }
    response.end(tail);
    return content;
  }

  async function readSmall(digest: string, size: number, key?: string): Promise<Uint8Array> {
    const reader = await openBlob(digest, size, key);
    try {
      const bytes = Buffer.allocUnsafeSlow(size);
      for (let at = 0; at < size; ) {
        const length = await reader.read(bytes.subarray(at), size - at, at);
        if (length === 0) throw new Error(`the blob ends at ${at}, before ${size}`);
        at += length;
      }
      // Cheap for so few bytes; larger blobs are hashed by scrub.
      if (digestOf(bytes, parseDigest(digest)?.algorithm) !== digest) throw damaged(digest, 'other bytes than its digest says');
      if (key === undefined) small.set(digest, bytes);
      return bytes;
    } finally {
      await reader.close();
    }
  }

  async function openBlob(digest: string, size: number, key: string | undefined): Promise<BlobReader> {
    const reader = await blobs.open(digest, { ...PULLED, key });
    if (reader?.size === size) return reader;
    await reader?.close();
    throw damaged(digest, reader ? `${reader.size} bytes, not ${size}` : 'no bytes at all');
  }

  /** What a request met is looked at in the background; until then, as nobody knows whether it stays so, it is to be asked for again. */
  function damaged(digest: string, found: string): AppError {
    log.error({ digest, found }, 'a stored blob is not what it should be');
    suspect(digest);
    return new AppError('unavailable', 'the blob cannot be read at the moment', { headers: { 'Retry-After': '2' } });
  }

  async function remove(call: Call): Promise<void> {
    const { response, name, reference: digest } = call;
    if (!parseDigest(digest)) throw new AppError('digest_invalid', 'the digest is not a sha256 or sha512 digest');
    await database.write(
      async (tx) => {
        const repository = await findRepository(tx, name);
        if (!repository) throw new AppError('name_unknown', 'repository name not known to the registry');
        await unlinkBlob(tx, repository.id, digest, clock.now());
        await call.record(tx, { resource: { type: 'blob', digest } });
      },
      { scope: [repositoryScope(name), blobScope(digest)] },
    );
    answer(response, 202);
  }

  return { get, remove };
}
