import { setTimeout as delay } from 'node:timers/promises';
import { blobScope, claimBlob, FIRST_GENERATION, findStored, isQuarantined, keepStored, STORE_LIMIT_MS } from '../catalog/index.ts';
import type { BlobStore } from '../content/index.ts';
import { AppError, type Clock, type Database, type Observe, type Session } from '../platform/index.ts';

/** How long a push waits for the end of a deletion of what it brings, and how often a small one stores its bytes. */
const WAIT_MS = 10_000;
const MOST_TRIES = 3;

/** A blob whose bytes were stored, by the process that did it. */
export interface Stored {
  readonly digest: string;
  readonly size: number;
  /** When storing began, by `performance.now()`. */
  readonly begun: number;
  /** Of the blob, before that. */
  readonly generation: number;
}

/** Links what was stored, in a transaction that asks `keep` first; false, without a change, where that says so. */
type Link = (stored: Stored) => Promise<boolean>;

export interface Storing {
  /** Stores a small blob and links it. */
  put(digest: string, bytes: Uint8Array, link: Link): Promise<void>;
  /** Turns an upload into a blob and links it. */
  commit(id: string, digest: string, size: number, link: Link): Promise<void>;
}

interface Parts {
  readonly database: Database;
  readonly blobs: Pick<BlobStore, 'put' | 'commit'>;
  readonly clock: Clock;
  /** Time that the store took, in seconds. */
  readonly commitTime: Observe;
  readonly pause?: (ms: number) => Promise<unknown>;
}

/** Whether bytes that were just stored are there to stay; in the transaction that links them. */
export async function keep(tx: Session, stored: Stored, now: number): Promise<boolean> {
  return performance.now() - stored.begun < STORE_LIMIT_MS && (await keepStored(tx, stored, now, stored.generation));
}

/** Stores the bytes of pushes so that no garbage collection takes them away before they are linked (decision 0013). */
export function createStoring({ database, blobs, clock, commitTime, pause = delay }: Parts): Storing {
  const collected = () =>
    new AppError('unavailable', 'the blob was being deleted while it was pushed; push it again', { headers: { 'Retry-After': '1' } });

  async function timed(blob: Omit<Stored, 'begun'>, store: () => Promise<void>): Promise<Stored> {
    const begun = performance.now();
    await store();
    commitTime((performance.now() - begun) / 1000);
    return { ...blob, begun };
  }

  /** Holds collection off a blob that is about to be stored; waits where its deletion is under way. Gives its generation. */
  async function claim(digest: string, size: number): Promise<number> {
    const until = performance.now() + WAIT_MS;
    const scope = [blobScope(digest)];
    for (let wait = 10; ; wait = Math.min(2 * wait, 500)) {
      const generation = await database.write((tx) => claimBlob(tx, { digest, size }, clock.now()), { durable: false, scope });
      if (generation !== undefined) return generation;
      if (performance.now() > until) throw collected();
      await pause(wait);
    }
  }

  return {
    async put(digest, bytes, link) {
      const size = bytes.length;
      // Nearly all that is pushed was never deleted: to look first would cost each push a query, this costs the others a try.
      let generation = FIRST_GENERATION;
      for (let tries = 1; ; tries++) {
        if (await link(await timed({ digest, size, generation }, () => blobs.put(digest, bytes)))) return;
        if (tries === MOST_TRIES) throw collected();
        generation = await claim(digest, size);
      }
    },

    async commit(id, digest, size, link) {
      // The bytes can be stored but once, so nobody may be about to remove what has their digest.
      const generation = (await findStored(database, digest)) ? await claim(digest, size) : FIRST_GENERATION;
      const replace = await isQuarantined(database, digest);
      const stored = await timed({ digest, size, generation }, () => blobs.commit(id, digest, size, { replace }));
      if (!(await link(stored))) throw collected();
    },
  };
}
