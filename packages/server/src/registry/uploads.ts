import { createHash, type Hash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { type DigestAlgorithm, digestOf, isDigestAlgorithm, parseDigest } from '@entrepot/oci';
import { LRUCache } from 'lru-cache';
import {
  blobScope,
  dropReservation,
  findBlob,
  liftQuarantine,
  linkBlob,
  repositoryScope,
  type UploadSession,
  uploadScope,
} from '../catalog/index.ts';
import { createStreamHash, hashReader, receive, type StreamHash } from '../content/index.ts';
import { AppError, brokenOff, chunksOf, contentLength, hasBody, newId, type Session, wantBody } from '../platform/index.ts';
import { answer, type Call } from './http.ts';
import { createMountFinder } from './mounts.ts';
import type { RegistryParts } from './parts.ts';
import { BlobClosed, type Check, createProjectKeys } from './project-keys.ts';
import { createQuotas, type Hold } from './quotas.ts';
import { createRepositoryMaker } from './repositories.ts';
import { createStoring, keep, type Stored } from './storing.ts';
import { createUploadSessions } from './upload-sessions.ts';

/** Sessions whose running hash is kept; the others are hashed again at their end. */
const KEPT_HASHES = 2000;
/** Uploads in one request up to this size are gathered, checked and stored in one go, so many bytes of them at once at most. */
const SMALL_BYTES = 2 << 20;
const GATHERED_BYTES = 32 << 20;

interface RunningHash {
  readonly hash: StreamHash;
  readonly bytes: number;
}

/** A blob that comes in one request through a file. */
interface Stream {
  readonly id: string;
  readonly digest: string;
  readonly algorithm: DigestAlgorithm;
  readonly fence: boolean;
  /** The session it ends. */
  readonly session: string | undefined;
  readonly room: Hold;
}

export interface UploadHandlers {
  begin(call: Call): Promise<void>;
  append(call: Call): Promise<void>;
  finish(call: Call): Promise<void>;
  status(call: Call): Promise<void>;
  cancel(call: Call): Promise<void>;
}

/** end-4, 5, 6, 11, 13 and 14 of distribution-spec. */
export function createUploadHandlers(parts: RegistryParts): UploadHandlers {
  const { database, blobs, slabs, hashThreads, clock, metrics, options } = parts;
  const repositories = createRepositoryMaker(parts);
  const sessions = createUploadSessions(parts);
  const findMount = createMountFinder(parts);
  const quotas = createQuotas(parts);
  const keys = createProjectKeys(parts);
  const hashes = new LRUCache<string, RunningHash>({
    max: KEPT_HASHES,
    ttl: 3_600_000,
    dispose: ({ hash }, _, why) => why !== 'set' && why !== 'delete' && hash.dispose(),
  });
  const storing = createStoring({ database, blobs, clock, commitTime: metrics.store('commit') });
  /** Bytes of small blobs in memory, or promised to be. */
  let gathered = 0;

  const tooLarge = () => new AppError('upload_too_large', `a blob may have at most ${options.blobMaxBytes} bytes`);

  async function begin(call: Call): Promise<void> {
    const { query, name } = call;
    await keys.require(call);
    const mount = query.get('mount');
    if (mount !== null) {
      if (!parseDigest(mount)) throw new AppError('digest_invalid', 'the digest to mount is not a sha256 or sha512 digest');
      // What was found may be deleted before it is linked: then another place will do, or none.
      for (let source = await findMount(call, mount); source; source = await findMount(call, mount)) {
        const room = await quotas.forBlob(call, mount, source.size);
        const from = { source: source.repositoryId, session: undefined, room };
        const linked = await link(call, { digest: mount, size: source.size }, from)
          .catch((error: unknown) => {
            if (error instanceof BlobClosed) return undefined; // its bytes have to come again
            throw error;
          })
          .finally(() => room.release());
        if (linked === undefined) break;
        if (!linked) continue;
        metrics.countStatus('mount', 201);
        return;
      }
    } else {
      const digest = query.get('digest');
      if (digest !== null) return await single(call, digest);
    }
    const algorithm = query.get('digest-algorithm') ?? 'sha256';
    if (!isDigestAlgorithm(algorithm)) throw new AppError('digest_invalid', 'digest-algorithm must be sha256 or sha512');
    await quotas.requireSome(call);
    answer(call.response, 202, sessionHeaders(name, sessions.begin(call, algorithm), 0));
  }

  /** POST with `digest`: the whole blob in one request. */
  async function single(call: Call, digest: string): Promise<void> {
    const parsed = parseDigest(digest);
    if (!parsed) throw new AppError('digest_invalid', 'the digest is not a sha256 or sha512 digest');
    if (isSmall(call.request)) return await storeSmall(call, digest, parsed.algorithm, undefined);
    const id = newId();
    const room = await quotas.forBlob(call, digest, contentLength(call.request));
    try {
      await storeStream(call, { id, digest, algorithm: parsed.algorithm, fence: false, session: undefined, room });
    } catch (error) {
      await blobs.removeUpload(id);
      throw error;
    } finally {
      await room.release();
    }
  }

  function isSmall(request: IncomingMessage): boolean {
    const length = contentLength(request);
    return length !== undefined && length <= SMALL_BYTES && gathered + length <= GATHERED_BYTES;
  }

  /** A whole blob that fits into memory. */
  async function storeSmall(call: Call, digest: string, algorithm: DigestAlgorithm, session: string | undefined): Promise<void> {
    const { request, response } = call;
    const length = contentLength(request) ?? 0;
    if (length > options.blobMaxBytes) throw tooLarge();
    await keys.require(call);
    const room = await quotas.forBlob(call, digest, length);
    gathered += length;
    metrics.transfers.start('upload');
    try {
      wantBody(request, response);
      const hash = createHash(algorithm);
      const bytes = await gather(request, length, hash);
      metrics.bytesIn(bytes.length);
      requireDigest(`${algorithm}:${hash.digest('hex')}`, digest);
      await storing.put(digest, bytes, (stored) => link(call, stored, { stored, session, room }));
    } finally {
      metrics.transfers.end('upload');
      gathered -= length;
      await room.release();
    }
  }

  /** A whole blob from its first byte to its last, through a file. */
  async function storeStream(call: Call, { id, digest, algorithm, fence, session, room }: Stream): Promise<void> {
    const expected = contentLength(call.request);
    const hash = createStreamHash(algorithm, expected, hashThreads);
    try {
      const bytes = await take(call, { id, position: 0, hash, fence, expected, room });
      requireDigest(await hash.digest(), digest);
      await storing.commit(id, digest, bytes, (stored) => link(call, stored, { stored, session, room }));
    } finally {
      hash.dispose();
    }
  }

  async function append(call: Call): Promise<void> {
    const { request, response, name, reference } = call;
    const hold = await sessions.acquire(call);
    const { id } = hold.session;
    let bytes = 0;
    let digest: string | null = null;
    let room: Hold | undefined;
    let isRefused = false;
    try {
      if (!hold.session.isNew) bytes = await blobs.uploadSize(id);
      requireOffset(call, bytes);
      room = await quotas.forSession(call, { id, received: bytes }, contentLength(request));
      const hash = hashFor(hold.session, bytes, contentLength(request));
      try {
        bytes += await take(call, { id, position: bytes, hash, fence: hold.fence, expected: contentLength(request), room });
      } catch (error) {
        bytes = await blobs.uploadSize(id).catch(() => bytes);
        if (!(error instanceof AppError) || error.code !== 'upload_invalid') hash?.dispose();
        else if (hash) hashes.set(id, { hash, bytes });
        throw error;
      }
      if (hash) {
        digest = await hash.digest();
        hashes.set(id, { hash, bytes });
      }
    } catch (error) {
      isRefused = isOverQuota(error);
      throw error;
    } finally {
      // What has no room must not take any either.
      if (isRefused) await discard(id).finally(() => hold.release());
      else await sessions.settle(hold, bytes, digest);
      await room?.release(bytes);
    }
    answer(response, 202, sessionHeaders(name, reference, bytes));
  }

  async function finish(call: Call): Promise<void> {
    const { request, query } = call;
    const digest = query.get('digest');
    const parsed = digest === null ? undefined : parseDigest(digest);
    if (!parsed || digest === null) throw new AppError('digest_invalid', 'the digest is missing or not a sha256 or sha512 digest');
    const { algorithm } = parsed;
    const { id, isNew } = await sessions.require(call);
    if (isNew && isSmall(request) && hasBody(request)) return await finishSmall(call, id, digest, algorithm);
    const hold = await sessions.acquire(call);
    let bytes = 0;
    let keep = false;
    let room: Hold | undefined;
    try {
      if (!hold.session.isNew) bytes = await blobs.uploadSize(id);
      if (hasBody(request)) requireOffset(call, bytes);
      const more = hasBody(request) ? contentLength(request) : 0;
      const held = await quotas.forSession(call, { id, received: bytes }, more, digest);
      room = held;
      if (bytes === 0 && hasBody(request)) {
        return await storeStream(call, { id, digest, algorithm, fence: hold.fence, session: id, room });
      }
      const running = hashes.get(id);
      const usable = running?.bytes === bytes && running.hash.algorithm === algorithm ? running.hash : undefined;
      hashes.delete(id);
      if (running && !usable) running.hash.dispose();
      try {
        if (hasBody(request)) bytes += await take(call, { id, position: bytes, hash: usable, fence: hold.fence, expected: more, room });
        requireDigest(await digestOfUpload(hold.session, bytes, algorithm, usable, hasBody(request)), digest);
      } finally {
        usable?.dispose();
      }
      await storing.commit(id, digest, bytes, (stored) => link(call, stored, { stored, session: id, room: held }));
    } catch (error) {
      if (endsSession(error)) await discard(id);
      else keep = true;
      throw error;
    } finally {
      if (keep) {
        bytes = await blobs.uploadSize(id).catch(() => bytes);
        await sessions.settle(hold, bytes, null);
      } else hold.release();
      await room?.release(keep ? bytes : 0);
    }
  }

  /** A new session whose blob comes whole and small needs neither a row nor a file. */
  async function finishSmall(call: Call, id: string, digest: string, algorithm: DigestAlgorithm): Promise<void> {
    try {
      requireOffset(call, 0);
      await storeSmall(call, digest, algorithm, id);
    } catch (error) {
      if (endsSession(error)) await discard(id);
      throw error;
    }
  }

  async function status(call: Call): Promise<void> {
    const { name, reference } = call;
    const { id, isNew } = await sessions.require(call);
    answer(call.response, 204, sessionHeaders(name, reference, isNew ? 0 : await blobs.uploadSize(id)));
  }

  async function cancel(call: Call): Promise<void> {
    const hold = await sessions.acquire(call);
    try {
      await discard(hold.session.id);
    } finally {
      hold.release();
    }
    answer(call.response, 204);
  }

  async function discard(id: string): Promise<void> {
    hashes.get(id)?.hash.dispose();
    hashes.delete(id);
    await database.write(
      async (tx) => {
        await sessions.end(tx, id);
        await dropReservation(tx, id);
      },
      { durable: false, scope: [uploadScope(id), `reservation:${id}`] },
    );
    await blobs.removeUpload(id);
  }

  /** The hash of what came so far, taken out of memory; undefined where the bytes have to be read again in the end. */
  function hashFor(session: UploadSession, bytes: number, expected: number | undefined): StreamHash | undefined {
    const running = hashes.get(session.id);
    hashes.delete(session.id);
    if (running?.bytes === bytes) return running.hash;
    running?.hash.dispose(); // another process went on meanwhile
    return bytes > 0 ? undefined : createStreamHash(session.algorithm as DigestAlgorithm, expected, hashThreads);
  }

  async function digestOfUpload(
    session: UploadSession,
    bytes: number,
    algorithm: DigestAlgorithm,
    running: StreamHash | undefined,
    extended: boolean,
  ): Promise<string> {
    if (running) return await running.digest();
    if (!extended && session.bytes === bytes && session.digest?.startsWith(`${algorithm}:`)) return session.digest;
    if (bytes === 0) return digestOf('', algorithm);
    const hash = createStreamHash(algorithm, bytes, hashThreads);
    const reader = await blobs.openUploadForReading(session.id);
    try {
      await hashReader(reader, hash, slabs);
      return await hash.digest();
    } finally {
      hash.dispose();
      await reader.close();
    }
  }

  interface Take {
    readonly id: string;
    readonly position: number;
    readonly hash: StreamHash | undefined;
    readonly fence: boolean;
    readonly expected: number | undefined;
    readonly room: Hold;
  }

  /** Takes the body of the request into an upload; a connection that breaks off leaves what arrived. */
  async function take(call: Call, { id, position, hash, fence, expected, room }: Take): Promise<number> {
    const { request, response } = call;
    await keys.require(call);
    const limit = options.blobMaxBytes - position;
    if (expected !== undefined && expected > limit) throw tooLarge();
    wantBody(request, response);
    const writer = await blobs.openUpload(id, { fence });
    metrics.transfers.start('upload');
    try {
      const { bytes, interrupted } = await receive({
        source: expected === undefined ? room.guard(chunksOf(request)) : chunksOf(request),
        writer,
        position,
        hash,
        pool: slabs,
        limit,
        onTooMany: tooLarge,
      });
      metrics.bytesIn(bytes);
      if (interrupted !== undefined) throw brokenOff(interrupted);
      return bytes;
    } catch (error) {
      // What storage failed to take must not keep the disk full, nor be taken for stored.
      if (!(error instanceof AppError)) await writer.rewind(position).catch(() => undefined);
      throw error;
    } finally {
      metrics.transfers.end('upload');
      await writer.close();
    }
  }

  /**
   * Makes a blob visible and answers so. False, without a trace, where it is not there to be seen: the repository it was to come
   * from has it no more, or collection may have hit the bytes that were stored.
   */
  async function link(
    call: Call,
    { digest, size }: { readonly digest: string; readonly size: number },
    { session, room: hold, ...from }: { session: string | undefined; room: Hold } & ({ source: number } | { stored: Stored }),
  ): Promise<boolean> {
    const { name } = call;
    const makeRepository = await repositories.prepare(call);
    const change = async (tx: Session, check: Check) => {
      const now = clock.now();
      const isThere = 'stored' in from ? await keep(tx, from.stored, now) : await findBlob(tx, from.source, digest);
      if (!isThere) return false;
      const room = await hold.take(tx);
      const repository = await makeRepository(tx, room);
      await check(tx, repository);
      await linkBlob(tx, repository.id, { digest, size }, now, room);
      if ('stored' in from) await liftQuarantine(tx, digest, 'push', call.actor, now); // its bytes were stored just now
      await call.record(tx, { resource: { type: 'blob', digest }, after: { size } });
      if (session !== undefined) await sessions.end(tx, session);
      return true;
    };
    const scope = [repositoryScope(name), blobScope(digest), ...(session === undefined ? [] : [uploadScope(session)])];
    const linked = await keys.around(call, digest, (check) =>
      hold.change({ bytes: size, repositories: 1 }, () => database.write((tx) => change(tx, check), { scope })),
    );
    if (linked) answer(call.response, 201, ['Location', `/v2/${name}/blobs/${digest}`, 'Docker-Content-Digest', digest]);
    return linked;
  }

  return { begin, append, finish, status, cancel };
}

/** Storage trouble, a cut connection or a chunk out of order leave a session for another try; a wrong digest ends it, and a full quota. */
function endsSession(error: unknown): boolean {
  return error instanceof AppError && (error.code === 'digest_invalid' || error.code === 'upload_too_large' || isOverQuota(error));
}

function isOverQuota(error: unknown): boolean {
  return error instanceof AppError && error.code === 'quota_exceeded';
}

function sessionHeaders(name: string, id: string, bytes: number): string[] {
  const plain = id.slice(0, id.indexOf('.'));
  return ['Location', `/v2/${name}/blobs/uploads/${id}`, 'Range', `0-${Math.max(0, bytes - 1)}`, 'Docker-Upload-UUID', plain];
}

function requireDigest(found: string, wanted: string): void {
  if (found !== wanted) throw new AppError('digest_invalid', `the content's digest is ${found}`);
}

/** A chunk must begin where the last one ended; `Content-Range` is `<start>-<end>`, some clients write `bytes` before. */
function requireOffset({ request, name, reference: id }: Call, bytes: number): void {
  const header = request.headers['content-range'];
  if (header === undefined) return;
  const match = /^(?:bytes[ =])?([0-9]{1,15})-([0-9]{1,15})(?:\/(?:[0-9]+|\*))?$/.exec(header);
  if (!match) throw new AppError('upload_invalid', 'Content-Range must be <start>-<end>');
  const start = Number(match[1]);
  const length = Number(match[2]) - start + 1;
  if (start !== bytes) {
    const pairs = sessionHeaders(name, id, bytes);
    const headers = { Location: pairs[1] ?? '', Range: pairs[3] ?? '' };
    throw new AppError('upload_range', `the next byte of this upload is ${bytes}`, { headers });
  }
  const announced = contentLength(request);
  if (length < 1 || (announced !== undefined && announced !== length)) {
    throw new AppError('upload_invalid', 'Content-Range and Content-Length disagree');
  }
}

async function gather(request: IncomingMessage, length: number, hash: Hash): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafe(length);
  let at = 0;
  try {
    for await (const chunk of chunksOf(request)) {
      hash.update(chunk);
      bytes.set(chunk, at);
      at += chunk.length;
    }
  } catch (error) {
    throw brokenOff(error);
  }
  if (at !== length) throw brokenOff(undefined);
  return bytes;
}
