import type { IncomingMessage } from 'node:http';
import { type DigestAlgorithm, digestOf, isDigestAlgorithm, isRepositoryName, parseDigest } from '@entrepot/oci';
import { LRUCache } from 'lru-cache';
import {
  ensureRepository,
  findBlob,
  findRepository,
  findUpload,
  insertUpload,
  leaseUpload,
  linkBlob,
  releaseUpload,
  removeUpload,
  repositoriesWithBlob,
  type UploadSession,
  uploadLease,
} from '../catalog/index.ts';
import { createStreamHash, hashReader, receive, SLAB_BYTES, type StreamHash } from '../content/index.ts';
import { AppError, brokenOff, chunksOf, contentLength, hasBody, newId, wantBody } from '../platform/index.ts';
import { answer, type Call } from './http.ts';
import type { RegistryParts } from './parts.ts';

const UPLOAD_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const LEASE_MS = 30_000;
const RENEW_MS = 10_000;
/** Sessions whose running hash is kept; the others are hashed again at their end. */
const KEPT_HASHES = 2000;
/** Uploads in one request up to this size are gathered, checked and stored in one go. */
const SMALL_BYTES = SLAB_BYTES;
const MOUNT_CANDIDATES = 200;

interface RunningHash {
  readonly hash: StreamHash;
  readonly bytes: number;
}

/** The right to write to one session, held for one request. */
interface Hold {
  readonly session: UploadSession;
  readonly lease: string;
  /** Another instance may still have it open. */
  readonly fence: boolean;
  release(): void;
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
  const { database, blobs, access, slabs, hashThreads, clock, metrics, options, holder } = parts;
  const hashes = new LRUCache<string, RunningHash>({
    max: KEPT_HASHES,
    ttl: 3_600_000,
    dispose: ({ hash }, _, why) => why !== 'set' && why !== 'delete' && hash.dispose(),
  });
  /** Requests of this process that write at the moment; a client that comes again takes over from its cut connection. */
  const writing = new Map<string, { request: IncomingMessage; done: Promise<void> }>();
  /** What this process held last on a session; still in the database where it could not be given back. */
  const lastLease = new LRUCache<string, string>({ max: KEPT_HASHES, ttl: LEASE_MS });
  const commitTime = metrics.store('commit');

  const tooLarge = () => new AppError('upload_too_large', `a blob may have at most ${options.blobMaxBytes} bytes`);

  async function begin(call: Call): Promise<void> {
    const { query, name } = call;
    const mount = query.get('mount');
    if (mount !== null) {
      if (!parseDigest(mount)) throw new AppError('digest_invalid', 'the digest to mount is not a sha256 or sha512 digest');
      if (await tryMount(call, mount)) return;
    } else {
      const digest = query.get('digest');
      if (digest !== null) return await single(call, digest);
    }
    const algorithm = query.get('digest-algorithm') ?? 'sha256';
    if (!isDigestAlgorithm(algorithm)) throw new AppError('digest_invalid', 'digest-algorithm must be sha256 or sha512');
    const id = newId();
    await database.write((tx) => insertUpload(tx, { id, repository: name, owner: ownerOf(call), algorithm, now: clock.now() }), {
      durable: false,
    });
    answer(call.response, 202, sessionHeaders(name, id, 0));
  }

  /** POST with `digest`: the whole blob in one request. */
  async function single(call: Call, digest: string): Promise<void> {
    const parsed = parseDigest(digest);
    if (!parsed) throw new AppError('digest_invalid', 'the digest is not a sha256 or sha512 digest');
    await storeWhole(call, newId(), digest, parsed.algorithm, undefined);
  }

  /** Takes a blob that arrives in one request from its first byte to its last, session or not. */
  async function storeWhole(call: Call, id: string, digest: string, algorithm: DigestAlgorithm, session: Hold | undefined): Promise<void> {
    const { request, response } = call;
    const length = contentLength(request);
    if (length !== undefined && length <= SMALL_BYTES) {
      if (length > options.blobMaxBytes) throw tooLarge();
      wantBody(request, response);
      const bytes = await gather(request, length);
      metrics.bytesIn(bytes.length);
      requireDigest(digestOf(bytes, algorithm), digest);
      const started = performance.now();
      await blobs.put(digest, bytes);
      commitTime((performance.now() - started) / 1000);
      return await link(call, digest, bytes.length, session?.session.id);
    }
    const hash = createStreamHash(algorithm, length, hashThreads);
    try {
      const bytes = await take(call, { id, position: 0, hash, fence: session?.fence ?? false, expected: length });
      requireDigest(await hash.digest(), digest);
      await commit(call, id, digest, bytes, session?.session.id);
    } catch (error) {
      if (!session) await blobs.removeUpload(id);
      throw error;
    } finally {
      hash.dispose();
    }
  }

  async function append(call: Call): Promise<void> {
    const { request, response, name, reference: id } = call;
    const hold = await acquire(call);
    let bytes = 0;
    let digest: string | null = null;
    try {
      bytes = await blobs.uploadSize(id);
      requireOffset(call, bytes);
      const { hash, resumed } = hashFor(hold.session, bytes, contentLength(request));
      try {
        bytes += await take(call, { id, position: bytes, hash, fence: hold.fence, expected: contentLength(request) });
      } catch (error) {
        bytes = await blobs.uploadSize(id).catch(() => bytes);
        if (!(error instanceof AppError) || error.code !== 'upload_invalid') hash?.dispose();
        else if (hash) hashes.set(id, { hash, bytes });
        throw error;
      }
      if (hash) {
        digest = await hash.digest();
        hashes.set(id, { hash, bytes });
      } else if (resumed) hashes.delete(id);
    } finally {
      await settle(hold, bytes, digest);
    }
    answer(response, 202, sessionHeaders(name, id, bytes));
  }

  async function finish(call: Call): Promise<void> {
    const { request, reference: id, query } = call;
    const digest = query.get('digest');
    const parsed = digest === null ? undefined : parseDigest(digest);
    if (!parsed || digest === null) throw new AppError('digest_invalid', 'the digest is missing or not a sha256 or sha512 digest');
    const hold = await acquire(call);
    let bytes = 0;
    let keep = false;
    try {
      bytes = await blobs.uploadSize(id);
      if (hasBody(request)) requireOffset(call, bytes, () => (keep = true));
      if (bytes === 0 && hasBody(request)) return await storeWhole(call, id, digest, parsed.algorithm, hold);
      const running = hashes.get(id);
      const usable = running?.bytes === bytes && running.hash.algorithm === parsed.algorithm ? running.hash : undefined;
      hashes.delete(id);
      if (running && !usable) running.hash.dispose();
      try {
        if (hasBody(request))
          bytes += await take(call, { id, position: bytes, hash: usable, fence: hold.fence, expected: contentLength(request) });
        requireDigest(await digestOfUpload(hold.session, bytes, parsed.algorithm, usable, hasBody(request)), digest);
      } finally {
        usable?.dispose();
      }
      await commit(call, id, digest, bytes, id);
    } catch (error) {
      // Storage trouble, a cut connection or a chunk out of order leave the session for another try; a wrong digest ends it.
      if (error instanceof AppError && (error.code === 'digest_invalid' || error.code === 'upload_too_large')) await discard(id);
      else keep = true;
      throw error;
    } finally {
      if (keep) await settle(hold, await blobs.uploadSize(id).catch(() => bytes), null);
      else hold.release();
    }
  }

  async function status(call: Call): Promise<void> {
    const { name, reference: id } = call;
    await requireSession(call);
    answer(call.response, 204, sessionHeaders(name, id, await blobs.uploadSize(id)));
  }

  async function cancel(call: Call): Promise<void> {
    const hold = await acquire(call);
    try {
      await discard(call.reference);
    } finally {
      hold.release();
    }
    answer(call.response, 204);
  }

  async function discard(id: string): Promise<void> {
    hashes.get(id)?.hash.dispose();
    hashes.delete(id);
    await database.write((tx) => removeUpload(tx, id), { durable: false });
    await blobs.removeUpload(id);
  }

  /** Links a blob that the caller may pull elsewhere; false where there is none, which looks the same whatever the reason. */
  async function tryMount(call: Call, digest: string): Promise<boolean> {
    const { query, name } = call;
    const from = query.get('from');
    const size = from === null ? await findAnywhere(call, digest) : await findIn(call, digest, from);
    if (size === undefined) return false;
    await link(call, digest, size, undefined);
    metrics.countStatus('mount', 201);
    return name !== '';
  }

  async function findIn(call: Call, digest: string, from: string): Promise<number | undefined> {
    if (!isRepositoryName(from)) return undefined;
    const decision = await access.decide(call.identity, 'pull', from);
    if (decision === 'challenge' && !wasRefused(call, from)) throw insufficient(call, from);
    if (decision !== 'allowed') return undefined;
    const repository = await findRepository(database, from);
    return repository && (await findBlob(database, repository.id, digest))?.size;
  }

  /** Mount without `from`: any repository that the caller may pull will do. */
  async function findAnywhere(call: Call, digest: string): Promise<number | undefined> {
    const { token } = call.identity;
    if (token && !token.access.some((grant) => grant.name === '*') && !wasRefused(call, '*')) throw insufficient(call, '*');
    for (const repository of await repositoriesWithBlob(database, digest, 0, MOUNT_CANDIDATES)) {
      if ((await access.decide(call.identity, 'pull', repository.name)) === 'allowed') return repository.size;
    }
    return undefined;
  }

  /** What was asked for and refused is not asked for again: the client goes on with an ordinary upload. */
  function wasRefused({ identity }: Call, repository: string): boolean {
    return identity.token?.refused.some((grant) => grant.type === 'repository' && grant.name === repository) ?? true;
  }

  /** Decided from the token alone, never from what exists. */
  function insufficient({ name }: Call, source: string): AppError {
    const scope = `repository:${name}:pull,push repository:${source}:pull`;
    return new AppError('unauthorized', 'the token does not cover the source of the mount', { detail: { scope } });
  }

  async function requireSession(call: Call): Promise<UploadSession> {
    const { name, reference: id } = call;
    const session = UPLOAD_ID.test(id) ? await findUpload(database, id) : undefined;
    if (!session || session.repository !== name || session.owner !== ownerOf(call)) {
      throw new AppError('upload_unknown', 'upload unknown to the repository');
    }
    return session;
  }

  async function acquire(call: Call): Promise<Hold> {
    const { reference: id, request } = call;
    await requireSession(call);
    for (let other = writing.get(id); other !== undefined; other = writing.get(id)) {
      other.request.destroy();
      await other.done;
    }
    let finished = () => {};
    writing.set(id, { request, done: new Promise<void>((resolve) => (finished = resolve)) });
    const lease = lastLease.get(id) ?? uploadLease(holder);
    const renew = () =>
      database.write((tx) => leaseUpload(tx, id, lease, clock.now(), clock.now() + LEASE_MS), { durable: false }).catch(() => false);
    const release = () => {
      clearInterval(timer);
      writing.delete(id);
      lastLease.set(id, lease);
      finished();
    };
    const timer = setInterval(() => {
      void renew().then((held) => held || request.destroy());
    }, RENEW_MS);
    timer.unref();
    try {
      const session = await requireSession(call);
      const now = clock.now();
      if (!(await database.write((tx) => leaseUpload(tx, id, lease, now, now + LEASE_MS), { durable: false }))) {
        throw new AppError('upload_busy', 'another request writes to this upload', { headers: { 'Retry-After': '5' } });
      }
      return { session, lease, fence: session.lease !== null && session.lease !== lease, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Gives the session back, recording how far it came. */
  async function settle(hold: Hold, bytes: number, digest: string | null): Promise<void> {
    const { session, lease } = hold;
    let released = false;
    try {
      await database.write((tx) => releaseUpload(tx, { id: session.id, lease, bytes, digest, now: clock.now() }), { durable: false });
      released = true;
    } finally {
      hold.release();
      if (released) lastLease.delete(session.id);
    }
  }

  function hashFor(
    session: UploadSession,
    bytes: number,
    expected: number | undefined,
  ): { hash: StreamHash | undefined; resumed: boolean } {
    const running = hashes.get(session.id);
    if (running?.bytes === bytes) {
      hashes.delete(session.id);
      return { hash: running.hash, resumed: true };
    }
    if (bytes > 0) return { hash: undefined, resumed: running !== undefined };
    // A first chunk of known, small size may be followed by others: only a thread can go on with it.
    const algorithm = session.algorithm as DigestAlgorithm;
    return { hash: createStreamHash(algorithm, expected, hashThreads), resumed: false };
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
  }

  /** Takes the body of the request into an upload; a connection that breaks off leaves what arrived. */
  async function take({ request, response }: Call, { id, position, hash, fence, expected }: Take): Promise<number> {
    const limit = options.blobMaxBytes - position;
    if (expected !== undefined && expected > limit) throw tooLarge();
    wantBody(request, response);
    const writer = await blobs.openUpload(id, { fence });
    metrics.transfers.start('upload');
    try {
      const { bytes, interrupted } = await receive({
        source: chunksOf(request),
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

  async function commit(call: Call, id: string, digest: string, bytes: number, sessionId: string | undefined): Promise<void> {
    const started = performance.now();
    await blobs.commit(id, digest);
    commitTime((performance.now() - started) / 1000);
    await link(call, digest, bytes, sessionId);
  }

  async function link(call: Call, digest: string, size: number, sessionId: string | undefined): Promise<void> {
    const { name, actor, identity } = call;
    await database.write(async (tx) => {
      const now = clock.now();
      const repository = await ensureRepository(tx, name, { by: actor, now, mayCreateProject: access.mayCreateProject(identity.user) });
      await linkBlob(tx, repository.id, { digest, size }, now);
      if (sessionId !== undefined) await removeUpload(tx, sessionId);
    });
    answer(call.response, 201, ['Location', `/v2/${name}/blobs/${digest}`, 'Docker-Content-Digest', digest]);
  }

  return { begin, append, finish, status, cancel };
}

function ownerOf({ identity }: Call): string {
  return `user:${identity.user?.id ?? 0}`;
}

function sessionHeaders(name: string, id: string, bytes: number): string[] {
  return ['Location', `/v2/${name}/blobs/uploads/${id}`, 'Range', `0-${Math.max(0, bytes - 1)}`, 'Docker-Upload-UUID', id];
}

function requireDigest(found: string, wanted: string): void {
  if (found !== wanted) throw new AppError('digest_invalid', `the content's digest is ${found}`);
}

/** A chunk must begin where the last one ended; `Content-Range` is `<start>-<end>`, some clients write `bytes` before. */
function requireOffset({ request, name, reference: id }: Call, bytes: number, beforeRefusal?: () => void): void {
  const header = request.headers['content-range'];
  if (header === undefined) return;
  const match = /^(?:bytes[ =])?([0-9]{1,15})-([0-9]{1,15})(?:\/(?:[0-9]+|\*))?$/.exec(header);
  beforeRefusal?.();
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

async function gather(request: IncomingMessage, length: number): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafe(length);
  let at = 0;
  try {
    for await (const chunk of chunksOf(request)) {
      bytes.set(chunk, at);
      at += chunk.length;
    }
  } catch (error) {
    throw brokenOff(error);
  }
  if (at !== length) throw brokenOff(undefined);
  return bytes;
}
