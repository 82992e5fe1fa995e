import { createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { DigestAlgorithm } from '@entrepot/oci';
import { LRUCache } from 'lru-cache';
import {
  endUpload,
  FRESH_UPLOAD_MS,
  findUpload,
  hasUploadEnded,
  insertUpload,
  leaseUpload,
  releaseUpload,
  type UploadSession,
  uploadLease,
  uploadScope,
} from '../catalog/index.ts';
import { AppError, newSortableId, type Session, timeOfId } from '../platform/index.ts';
import type { Call } from './http.ts';
import type { RegistryParts } from './parts.ts';

const LEASE_MS = 30_000;
const RENEW_MS = 10_000;
const KEPT_LEASES = 2000;

const SEALED = /^([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})\.([25])([A-Za-z0-9_-]{22})$/;
const ALGORITHMS: Readonly<Record<string, DigestAlgorithm>> = { '2': 'sha256', '5': 'sha512' };

type Sealed = Pick<UploadSession, 'id' | 'repository' | 'owner' | 'algorithm'>;

const unknown = () => new AppError('upload_unknown', 'upload unknown to the repository');

export interface Upload extends UploadSession {
  /** Nothing was written for it yet, not even a row. */
  readonly isNew: boolean;
}

/** The right to write to one session, held for one request. */
export interface Hold {
  readonly session: Upload;
  readonly lease: string;
  /** Another instance may still have it open. */
  readonly fence: boolean;
  release(): void;
}

export interface UploadSessions {
  /** The id of a new session, as clients see it. Writes nothing. */
  begin(call: Call, algorithm: DigestAlgorithm): string;
  /** The session that a request names. Throws `upload_unknown` for what is not the caller's, in this repository, and under way. */
  require(call: Call): Promise<Upload>;
  acquire(call: Call): Promise<Hold>;
  /** Gives the session back, recording how far it came. */
  settle(hold: Hold, bytes: number, digest: string | null): Promise<void>;
  /** Ends a session in the transaction that makes it a blob, or gives it up: nobody can go on with it. */
  end(tx: Session, id: string): Promise<void>;
}

/**
 * Upload sessions. A client carries all that a new session is in its id, sealed: repository, owner and hash, under a key of
 * this installation. A row comes with the first bytes that need one, so that a blob sent in one request costs a single
 * transaction. A session that ended is remembered for as long as its id would pass for a new one.
 */
export function createUploadSessions({ database, clock, holder, uploadKey }: RegistryParts): UploadSessions {
  /** Requests of this process that write at the moment; a client that comes again takes over from its cut connection. */
  const writing = new Map<string, { request: IncomingMessage; done: Promise<void> }>();
  /** What this process held last on a session; still in the database where it could not be given back. */
  const lastLease = new LRUCache<string, string>({ max: KEPT_LEASES, ttl: LEASE_MS });

  function sealOf(id: string, repository: string, owner: string, algorithm: string): Buffer {
    // No part can hold a line break, so the parts cannot be shifted against each other.
    return createHmac('sha256', uploadKey).update(`${id}\n${repository}\n${owner}\n${algorithm}`).digest().subarray(0, 16);
  }

  function begin(call: Call, algorithm: DigestAlgorithm): string {
    const id = newSortableId(clock.now());
    return `${id}.${algorithm === 'sha256' ? '2' : '5'}${sealOf(id, call.name, ownerOf(call), algorithm).toString('base64url')}`;
  }

  /** What a sealed id says, if it is the caller's and of this repository. */
  function unseal(call: Call): Sealed {
    const [, id, mark = '', seal = ''] = SEALED.exec(call.reference) ?? [];
    const algorithm = ALGORITHMS[mark];
    if (id === undefined || algorithm === undefined) throw unknown();
    const owner = ownerOf(call);
    if (!timingSafeEqual(sealOf(id, call.name, owner, algorithm), Buffer.from(seal, 'base64url'))) throw unknown();
    return { id, repository: call.name, owner, algorithm };
  }

  async function look(sealed: Sealed): Promise<Upload> {
    const { id } = sealed;
    const known = await findUpload(database, id);
    if (known) return { ...known, isNew: false };
    if (clock.now() - timeOfId(id) > FRESH_UPLOAD_MS || (await hasUploadEnded(database, id))) throw unknown();
    return { ...sealed, bytes: 0, digest: null, lease: null, leaseUntil: 0, isNew: true };
  }

  const require = async (call: Call) => await look(unseal(call));

  async function acquire(call: Call): Promise<Hold> {
    const { request } = call;
    const sealed = unseal(call);
    const { id } = await look(sealed);
    for (let other = writing.get(id); other !== undefined; other = writing.get(id)) {
      other.request.destroy();
      await other.done;
    }
    let finished = () => {};
    writing.set(id, { request, done: new Promise<void>((resolve) => (finished = resolve)) });
    const lease = lastLease.get(id) ?? uploadLease(holder);
    const hold = (tx: Session) => leaseUpload(tx, id, lease, clock.now(), clock.now() + LEASE_MS);
    const scope = [uploadScope(id)];
    let heldAt = performance.now();
    const release = () => {
      clearInterval(timer);
      writing.delete(id);
      lastLease.set(id, lease);
      finished();
    };
    const timer = setInterval(() => {
      const asked = performance.now();
      database.write(hold, { durable: false, scope }).then(
        (held) => {
          if (held) heldAt = asked;
          else request.destroy();
        },
        // While the database is away it is nobody else's, until it lapses.
        () => performance.now() - heldAt < LEASE_MS || request.destroy(),
      );
    }, RENEW_MS);
    timer.unref();
    try {
      const found = await look(sealed);
      const { held, isNew } = await database.write(
        async (tx) => {
          let { isNew } = found;
          // Another request may have been here since the look.
          if (isNew && !(await hasUploadEnded(tx, id))) isNew = await insertUpload(tx, { ...found, now: clock.now() });
          return { held: await hold(tx), isNew };
        },
        { durable: 'process', scope }, // lost, another would write beside this one, or begin anew where bytes were acknowledged
      );
      const session = { ...found, isNew };
      if (!held) throw new AppError('upload_busy', 'another request writes to this upload', { headers: { 'Retry-After': '5' } });
      return { session, lease, fence: session.lease !== null && session.lease !== lease, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  async function settle(hold: Hold, bytes: number, digest: string | null): Promise<void> {
    const { session, lease } = hold;
    let released = false;
    try {
      await database.write((tx) => releaseUpload(tx, { id: session.id, lease, bytes, digest, now: clock.now() }), {
        durable: 'process',
        scope: [uploadScope(session.id)],
      });
      released = true;
    } finally {
      hold.release();
      if (released) lastLease.delete(session.id);
    }
  }

  return { begin, require, acquire, settle, end: endUpload };
}

function ownerOf({ identity }: Call): string {
  const { subject } = identity;
  return subject ? `${subject.kind}:${subject.id}` : 'anonymous';
}
