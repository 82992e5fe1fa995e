import { setTimeout as delay } from 'node:timers/promises';
import type { JobContext } from '../../platform/index.ts';
import { INVENTORY_SCOPE } from './format.ts';
import { noteLayer } from './image-store.ts';
import { findLayer, markAbsent, saveLayer } from './layer-store.ts';
import { DAMAGED } from './limits.ts';
import type { LayerInventory } from './model.ts';
import type { InventoryParts } from './parts.ts';
import { type LayerScanner, nothingOf } from './scanner.ts';

const CHUNK = 256 * 1024;
/** While requests press, a pause after each chunk. */
const BUSY_PAUSE_MS = 40;

class Absent extends Error {
  override name = 'Absent';
}

/** A blob as it is stored, in chunks. Throws Absent. */
async function* chunksOfBlob(
  { blobs, isBusy = () => false }: Pick<InventoryParts, 'blobs' | 'isBusy'>,
  digest: string,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const reader = await blobs.open(digest);
  if (!reader) throw new Absent(`${digest} is not in this registry`);
  try {
    if (reader.size > 0) reader.announce?.(0, reader.size - 1);
    for (let at = 0; at < reader.size; ) {
      signal.throwIfAborted();
      if (isBusy()) await delay(BUSY_PAUSE_MS, undefined, { signal });
      const chunk = new Uint8Array(Math.min(CHUNK, reader.size - at));
      const length = await reader.read(chunk, chunk.length, at);
      if (length === 0) throw new Error(`${digest} ends after ${at} of ${reader.size} bytes`);
      at += length;
      yield chunk.subarray(0, length);
    }
  } finally {
    await reader.close();
  }
}

/**
 * Reads a layer and keeps what it holds. What fails because of the storage is tried again, and said in the inventory by the last
 * try, so that no image waits for ever.
 */
export async function readLayer(
  parts: InventoryParts,
  scanner: LayerScanner,
  digest: string,
  { signal, isLast }: Pick<JobContext, 'signal'> & { readonly isLast: boolean },
): Promise<{ state: string }> {
  const { database, clock } = parts;
  const row = await findLayer(database, digest);
  if (!row) return { state: 'forgotten' };
  if (row.state === 'done') return { state: 'done' };
  const begun = performance.now();
  let inventory: LayerInventory;
  try {
    inventory = await scanner.scan({ digest, open: (inner) => chunksOfBlob(parts, digest, inner) }, signal);
    const { incomplete: why } = inventory;
    if (why?.reason === 'failed' && why.detail === DAMAGED.detail) {
      parts.suspect?.(digest);
      if (!isLast) throw new Error(why.detail); // it may be repaired
    }
  } catch (error) {
    if (error instanceof Absent) {
      await database.write(async (tx) => {
        await markAbsent(tx, row.id, clock.now());
        await noteLayer(tx, row);
      }, INVENTORY_SCOPE);
      return { state: 'absent' };
    }
    signal.throwIfAborted();
    if (!isLast) throw error;
    inventory = nothingOf(digest, { reason: 'failed', detail: 'the bytes of the layer could not be read from storage' });
  }
  const durationMs = Math.round(performance.now() - begun);
  await saveLayer(database, { id: row.id, inventory, durationMs }, (tx) => noteLayer(tx, row));
  return { state: inventory.incomplete ? 'incomplete' : 'complete' };
}
