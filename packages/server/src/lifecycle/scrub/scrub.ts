import { blobScope, claimBlob, findStored, pageOfLinkedBlobs, pageOfManifests, pageOfTrashedManifests } from '../../catalog/index.ts';
import { ArchivedBlob, ClosedBlob, type StoredBlob } from '../../content/index.ts';
import { AppError } from '../../platform/index.ts';
import { examine, type Fault } from './examine.ts';
import { type Checked, checkManifest, checkTrashed } from './manifests.ts';
import type { Pace } from './pace.ts';
import { quarantine, type Verdict } from './quarantine.ts';
import type { RepairParts } from './repair.ts';
import type { Pass } from './store.ts';

const PAGE = 100;
/** How far a pass has come is kept at least so often, by time and by what was read. */
const SAVE_MS = 5000;
const SAVE_BLOBS = 500;
/** So many blobs missing one after the other look like a store that is not there at all. */
const MANY_MISSING = 20;
const SAMPLES = 16;
/** So many that nothing can be said of, one after the other, end the pass. */
const MANY_UNSURE = 5;
/** Objects of the store that are looked up at once. */
const LOOK_UPS = 32;

export interface ScrubParts extends RepairParts {
  readonly pace: Pace;
  readonly signal: AbortSignal;
  /** Keeps how far the pass has come; throws where this run has lost the right to go on. */
  save(pass: Pass, options: { durable: boolean }): Promise<void>;
  progress(pass: Pass): Promise<void>;
  /** How long an object without a row stays; undefined: for good. */
  readonly orphanGraceMs: number | undefined;
  readonly retryMs?: number;
  /** Told of each damaged blob and what became of it. */
  found?(blob: StoredBlob, fault: Fault, verdict: Verdict): void;
}

/** Reads everything from where a pass has come to, and gives the pass as it ended. Damage is no error; a store that is out of reach is. */
export async function scrub(parts: ScrubParts, begun: Pass): Promise<Pass> {
  let pass = begun;
  if (pass.phase === 'blobs') pass = await scrubBlobs(parts, pass);
  if (pass.phase === 'manifests') pass = await scrubManifests(parts, pass);
  if (pass.phase === 'trash') pass = await scrubTrash(parts, pass);
  if (pass.phase === 'store') pass = await findOrphans(parts, pass);
  return pass;
}

/** Keeps a pass as it is, from time to time or at once. */
function keeper({ save, progress, clock }: ScrubParts, first: Pass) {
  let saved = { at: performance.now(), items: first.blobs + first.manifests };
  return async (pass: Pass, atOnce = false): Promise<Pass> => {
    const items = pass.blobs + pass.manifests;
    if (!atOnce && performance.now() - saved.at < SAVE_MS && items - saved.items < SAVE_BLOBS) return pass;
    saved = { at: performance.now(), items };
    const now = { ...pass, updatedAt: clock.now() };
    await save(now, { durable: atOnce });
    await progress(now);
    return now;
  };
}

async function scrubBlobs(parts: ScrubParts, begun: Pass): Promise<Pass> {
  const { database, blobs, signal, log } = parts;
  const keep = keeper(parts, begun);
  let pass = begun;
  let unsure = 0;
  /** Missing ones that no sound one has followed yet. */
  const missing: { blob: StoredBlob; fault: Fault }[] = [];
  const settle = async (blob: StoredBlob, fault: Fault) => {
    const verdict = await quarantine(parts, blob, fault, signal, parts.retryMs);
    parts.found?.(blob, fault, verdict);
    if (verdict !== 'gone') pass = { ...pass, damaged: pass.damaged + 1 };
  };
  const settleMissing = async () => {
    for (const { blob, fault } of missing.splice(0)) await settle(blob, fault);
  };
  for (let last = pass.position; ; ) {
    const page = await pageOfLinkedBlobs(database, last, PAGE);
    for (const blob of page) {
      signal.throwIfAborted();
      const fault = await examine(blobs, blob, parts).catch((error: unknown) => {
        // In an archive, or closed by a project that took its key away, as it may.
        if (error instanceof ArchivedBlob || error instanceof ClosedBlob) return 'unread' as const;
        if (!(error instanceof AppError)) throw error;
        // One alone has lost its key; several in a row mean that the keys, or the store, are out of reach.
        if (++unsure === MANY_UNSURE) throw error;
        log.error({ err: error, digest: blob.digest }, 'scrub cannot tell whether a blob is sound; it is passed over');
        return 'unsure' as const;
      });
      if (fault === 'unsure') {
        pass = { ...pass, blobs: pass.blobs + 1 };
        continue;
      }
      unsure = 0;
      if (fault === 'unread') {
        pass = await keep({ ...pass, blobs: pass.blobs + 1 }); // what is archived is not restored to be looked at
        continue;
      }
      if (fault?.problem === 'missing') {
        missing.push({ blob, fault });
        if (missing.length === MANY_MISSING) await requireStore(parts);
      } else {
        await settleMissing(); // the store is there, so what is missing in it really is
        if (fault) await settle(blob, fault);
      }
      pass = { ...pass, blobs: pass.blobs + 1, bytes: pass.bytes + blob.size };
      // What is missing and not yet settled is read again after a restart.
      if (missing.length === 0) pass = await keep({ ...pass, position: blob.digest });
      else if (missing.length >= MANY_MISSING) await settleMissing();
    }
    last = page.at(-1)?.digest ?? last;
    if (page.length < PAGE) break;
  }
  if (missing.length > 0) await requireStore(parts);
  await settleMissing();
  return await keep({ ...pass, phase: 'manifests', position: '0' }, true);
}

/** Throws where none of some blobs from all over is there: then the folder is not mounted, or the bucket is another. */
async function requireStore({ database, blobs }: ScrubParts): Promise<void> {
  let asked = 0;
  for (let at = 0; at < SAMPLES; at++) {
    const from = `sha256:${Math.floor((at * 256) / SAMPLES)
      .toString(16)
      .padStart(2, '0')}`;
    const [sample] = await pageOfLinkedBlobs(database, from, 1);
    if (!sample) continue;
    asked++;
    const reader = await blobs.open(sample.digest).catch(() => undefined);
    if (!reader) continue;
    await reader.close();
    return;
  }
  if (asked > 1) throw new Error('blobs from all over are missing: is the storage mounted, and the right one?');
}

/** Manifests are hashed by number, those in the trash by that of their item. */
async function scrubManifests(parts: ScrubParts, begun: Pass): Promise<Pass> {
  const { database } = parts;
  const page = (last: number) => pageOfManifests(database, last, PAGE);
  const pass = await eachManifest(parts, begun, page, ({ id }) => id, checkManifest);
  return await keeper(parts, pass)({ ...pass, phase: 'trash', position: '0' }, true);
}

async function scrubTrash(parts: ScrubParts, begun: Pass): Promise<Pass> {
  const { database } = parts;
  const page = (last: number) => pageOfTrashedManifests(database, last, PAGE);
  const pass = await eachManifest(parts, begun, page, ({ itemId }) => itemId, checkTrashed);
  return await keeper(parts, pass)({ ...pass, phase: 'store', position: '' }, true);
}

async function eachManifest<T>(
  parts: ScrubParts,
  begun: Pass,
  pageAfter: (last: number) => Promise<readonly T[]>,
  numberOf: (manifest: T) => number,
  check: (parts: ScrubParts, manifest: T) => Promise<Checked>,
): Promise<Pass> {
  const { signal, pace } = parts;
  const keep = keeper(parts, begun);
  let pass = begun;
  for (let last = Number(pass.position); ; ) {
    const page = await pageAfter(last);
    for (const manifest of page) {
      signal.throwIfAborted();
      const started = performance.now();
      const { problem, bytes } = await check(parts, manifest);
      pass = { ...pass, manifests: pass.manifests + 1, bytes: pass.bytes + bytes, damaged: pass.damaged + (problem ? 1 : 0) };
      last = numberOf(manifest);
      pass = await keep({ ...pass, position: String(last) });
      await pace.after(bytes, performance.now() - started);
    }
    if (page.length < PAGE) return pass;
  }
}

/**
 * Lists the store and gives each object that no row knows of a row that is up for collection after the grace time: only
 * collection removes anything, by its own rule, and a push of the same bytes keeps them. Listing begins anew after a restart.
 */
async function findOrphans(parts: ScrubParts, begun: Pass): Promise<Pass> {
  const { database, blobs, clock, signal, log, orphanGraceMs } = parts;
  const keep = keeper(parts, begun);
  let orphans = 0;
  const look = async (blob: StoredBlob): Promise<void> => {
    const row = await findStored(database, blob.digest);
    if (row !== undefined && row.state !== 'gone') return;
    orphans++;
    if (orphanGraceMs === undefined) return;
    const now = clock.now();
    await database.write((tx) => claimBlob(tx, blob, now, now + orphanGraceMs), { scope: [blobScope(blob.digest)] });
    log.warn({ digest: blob.digest, size: blob.size }, 'an object that nothing knows of was found in the store; it is up for collection');
  };
  if (orphanGraceMs !== undefined) {
    let batch: StoredBlob[] = [];
    const flush = async () => {
      await Promise.all(batch.map(look));
      batch = [];
      await keep({ ...begun, orphans });
    };
    for await (const blob of blobs.blobs()) {
      signal.throwIfAborted();
      if (batch.push(blob) === LOOK_UPS) await flush();
    }
    await flush();
  }
  return await keep({ ...begun, orphans, phase: 'done', position: '', finishedAt: clock.now(), scrubbedAt: clock.now() }, true);
}
