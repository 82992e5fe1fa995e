import { endAllUploads, pageOfLinkedBlobs } from '../../catalog/index.ts';
import { forgetCopies, keyIdIn } from '../../content/commands.ts';
import type { BlobStore, StoredBlob } from '../../content/index.ts';
import { type Clock, type Database, forgetShared, type Session, settleShared } from '../../platform/index.ts';
import { type Copied, copyBlob, copyBytes, forEachOf, headerOf, unlessOutage, whileHeld } from '../backup/index.ts';
import { examine, UNPACED } from '../scrub/index.ts';
import { openMoved } from './moved.ts';

const PAGE = 500;
/** How many blobs that could not be copied are named. */
const NAMED = 10_000;

export interface MoveParts {
  readonly database: Database;
  readonly clock: Clock;
  /** The store as the server sees it, and as its bytes lie. */
  readonly blobs: BlobStore;
  readonly bare: BlobStore;
  readonly target: BlobStore;
  /** Names the target. */
  readonly place: string;
  /** File that remembers what was copied. */
  readonly memory: string;
  readonly signal: AbortSignal;
  progress(done: { blobs: number; copied: number; bytes: number }): void;
  readonly holdMs?: number;
}

export interface MovedBlobs {
  readonly blobs: number;
  /** Copied by this run, and bytes of them. */
  readonly copied: number;
  readonly bytes: number;
  /** Damaged or missing where they were; not copied. */
  readonly missing: readonly string[];
}

/**
 * Copies all blobs that a repository holds to another store, as they lie: encrypted ones stay sealed under their keys. Each is
 * hashed on its way. Beside running servers too; a later run copies what came since, and what was replaced.
 */
export async function moveBlobs(parts: MoveParts): Promise<MovedBlobs> {
  const { database, clock, holdMs } = parts;
  const memory = openMoved(parts.memory, parts.place);
  try {
    return await whileHeld({ database, clock, ...(holdMs === undefined ? {} : { holdMs }) }, 'moving blobs', async (lost) => {
      const signal = AbortSignal.any([lost, parts.signal]);
      const counts = { blobs: 0, copied: 0, bytes: 0 };
      const missing: string[] = [];
      await forEachOf(linkedBlobs(database), async (blob) => {
        signal.throwIfAborted();
        const how = await moveBlob(parts, memory, blob, signal);
        counts.blobs++;
        if (how === 'copied') {
          counts.copied++;
          counts.bytes += blob.size;
        }
        if (how === 'damaged' && missing.length < NAMED) missing.push(blob.digest);
        parts.progress(counts);
      });
      return { ...counts, missing: missing.sort() };
    });
  } finally {
    memory.close();
  }
}

async function* linkedBlobs(database: Database): AsyncGenerator<StoredBlob> {
  for (let last = ''; ; ) {
    const page = await pageOfLinkedBlobs(database, last, PAGE);
    yield* page;
    last = page.at(-1)?.digest ?? last;
    if (page.length < PAGE) return;
  }
}

async function moveBlob(
  { blobs, bare, target }: MoveParts,
  memory: ReturnType<typeof openMoved>,
  blob: StoredBlob,
  signal: AbortSignal,
): Promise<Copied> {
  const known = memory.headerOf(blob.digest);
  if (known === '' && blobs === bare) return 'there'; // nothing replaces a plain blob but itself
  const reader = await bare.open(blob.digest).catch(unlessOutage);
  if (!reader) return 'damaged';
  try {
    const header = await headerOf(reader);
    const isSealed = keyIdIn(header) !== undefined;
    const told = isSealed ? header.toString('hex') : '';
    if (known === told) return 'there';
    let how: Copied = 'copied';
    if (isSealed) {
      if (await examine(blobs, blob, { pace: UNPACED, signal })) return 'damaged';
      await copyBytes(reader, target, blob.digest, signal);
    } else how = await copyBlob(bare, target, blob, signal);
    if (how !== 'damaged') memory.add(blob.digest, told);
    return how;
  } finally {
    await reader.close();
  }
}

/**
 * What changes in the database once all blobs are in another store: uploads under way end, as their bytes stay behind; copies
 * of wrapped keys are written anew; and only servers that know of the store start from now on.
 */
export async function settleMoved(tx: Session, storage: string): Promise<void> {
  await endAllUploads(tx);
  await forgetCopies(tx);
  for (const name of ['files', 'storage']) await forgetShared(tx, name);
  await settleShared(tx, { name: 'storage', value: storage });
}
