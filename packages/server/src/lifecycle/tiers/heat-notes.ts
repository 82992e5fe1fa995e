import { setImmediate as turn } from 'node:timers/promises';
import { findManifest } from '../../catalog/index.ts';
import type { Clock, Database, Log, Session } from '../../platform/index.ts';
import { boundOf, dayOf, dropUnsampled, halveIfFull, halvingsOf, isSampled, RECORD_BLOBS } from './access-record.ts';
import { addReads, type HeatClock, ticksAt } from './heat.ts';
import {
  addBlobAccess,
  findBlobHeat,
  findImageHeat,
  HEAT_SCOPE,
  saveBlobReads,
  saveImageHeat,
  setHalfLife,
  warmBlobsOf,
} from './heat-store.ts';

const FLUSH_MS = 30_000;
/** So many things that were read are written before the time is up. */
const SOON = 5000;
/** What is remembered between two writes at most; what comes beyond it is not counted. */
const MOST = 20_000;
/** Things of one transaction: short, as others wait behind it. */
const BATCH = 50;
const DROP = 2000;
/** The record of a day is counted with every tenth write. */
const LOOK_EVERY = 10;

/** Where reads are told, without delay; nobody waits for them to be written. */
export interface HeatNotes {
  /** So many bytes of a blob of that size were sent to a client. */
  read(digest: string, size: number, bytes: number): void;
  /** A client was given an image's manifest. */
  pulled(repositoryId: number, digest: string): void;
  /** Writes what is remembered. */
  flush(): Promise<void>;
}

interface Parts {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Log;
  readonly halfLifeMs: number;
  /** Smaller blobs are never moved, and so not recorded. */
  readonly minBytes: number;
  /** Blobs in the record of a day. */
  readonly mostBlobs?: number;
}

interface Reads {
  readonly digest: string;
  reads: number;
  bytes: number;
}
interface Pulls {
  readonly repositoryId: number;
  readonly digest: string;
  pulls: number;
}

/** Remembers what is read and writes it together every half minute. What a crash loses are the reads of that time. */
export function createHeatNotes({ database, clock, log, halfLifeMs, minBytes, mostBlobs = RECORD_BLOBS }: Parts): HeatNotes {
  let blobs = new Map<string, Reads>();
  let images = new Map<string, Pulls>();
  let timer: NodeJS.Timeout | undefined;
  let writing: Promise<void> = Promise.resolve();
  let flushes = 0;

  function noted(size: number): void {
    if (size === SOON) void flush();
    else timer ??= setTimeout(() => void flush(), FLUSH_MS).unref();
  }

  async function inBatches<T>(
    items: readonly T[],
    work: (tx: Session, item: T, heat: HeatClock, now: number) => Promise<void>,
  ): Promise<void> {
    for (let from = 0; from < items.length; from += BATCH) {
      await database.write(
        async (tx) => {
          const now = clock.now();
          const heat = await setHalfLife(tx, halfLifeMs, now);
          for (const item of items.slice(from, from + BATCH)) await work(tx, item, heat, now);
        },
        { durable: false, scope: HEAT_SCOPE },
      );
      await turn(); // a database in this process answers at once, and others have their turn
    }
  }

  async function noteReads(tx: Session, { digest, reads, bytes }: Reads, heat: HeatClock, now: number): Promise<void> {
    const ticks = ticksAt(heat, now);
    const known = await findBlobHeat(tx, digest);
    const readScore = addReads(known?.readScore ?? null, reads, ticks);
    const score = Math.max(readScore, known?.score ?? readScore);
    const id = await saveBlobReads(tx, { digest, score, readScore, at: now });
    const day = dayOf(now);
    if (!isSampled(digest, boundOf(await halvingsOf(tx, day)))) return;
    await addBlobAccess(tx, { day, id, reads, bytes });
  }

  async function notePulls(tx: Session, { repositoryId, digest, pulls }: Pulls, heat: HeatClock, now: number): Promise<void> {
    const manifest = await findManifest(tx, repositoryId, digest);
    if (!manifest) return; // deleted since
    const day = dayOf(now);
    const known = await findImageHeat(tx, repositoryId, digest);
    const score = addReads(known?.score ?? null, pulls, ticksAt(heat, now));
    const ofDay = pulls + (known?.day === day ? known.dayPulls : 0);
    await saveImageHeat(tx, { repositoryId, digest, score, at: now, day, pulls: ofDay });
    await warmBlobsOf(tx, { manifestId: manifest.id, score, minBytes, day, pulls: ofDay, bound: boundOf(await halvingsOf(tx, day)) });
  }

  async function keepBounded(): Promise<void> {
    if (flushes++ % LOOK_EVERY !== 0) return;
    const day = dayOf(clock.now());
    const options = { durable: false, scope: HEAT_SCOPE };
    for (;;) {
      const bound = await database.write((tx) => halveIfFull(tx, day, mostBlobs), options);
      if (bound === undefined) return;
      let dropped = DROP;
      let all = 0;
      for (; dropped === DROP; all += dropped) dropped = await database.write((tx) => dropUnsampled(tx, day, bound, DROP), options);
      if (all === 0) return;
    }
  }

  async function write(): Promise<void> {
    // In one order, so that changes of several processes do not wait for each other in a circle.
    const ofBlobs = [...blobs.values()].sort((a, b) => (a.digest < b.digest ? -1 : 1));
    const ofImages = [...images.values()].sort((a, b) => a.repositoryId - b.repositoryId || (a.digest < b.digest ? -1 : 1));
    blobs = new Map();
    images = new Map();
    await inBatches(ofImages, notePulls);
    await inBatches(ofBlobs, noteReads);
    await keepBounded();
  }

  function flush(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    // Statistics: what cannot be written is not worth a failure.
    writing = writing.then(write).catch((error: unknown) => log.warn({ err: error }, 'what was read could not be recorded'));
    return writing;
  }

  return {
    read(digest, size, bytes) {
      if (size < minBytes || bytes <= 0) return;
      const reads = Math.min(1, bytes / size);
      const known = blobs.get(digest);
      if (known) {
        known.reads += reads;
        known.bytes += bytes;
      } else if (blobs.size < MOST) {
        blobs.set(digest, { digest, reads, bytes });
        noted(blobs.size);
      }
    },
    pulled(repositoryId, digest) {
      const key = `${repositoryId} ${digest}`;
      const known = images.get(key);
      if (known) known.pulls++;
      else if (images.size < MOST) {
        images.set(key, { repositoryId, digest, pulls: 1 });
        noted(images.size);
      }
    },
    flush,
  };
}
