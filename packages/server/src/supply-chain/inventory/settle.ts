import { LRUCache } from 'lru-cache';
import type { Session } from '../../platform/index.ts';
import { INVENTORY_SCOPE } from './format.ts';
import { type ImageRow, imagesToSettle, layersOf, settleImage } from './image-store.ts';
import { evidenceIdsOf, layerContent } from './layer-store.ts';
import { mergeLayers } from './merge.ts';
import type { ImageInventory, LayerInventory } from './model.ts';
import type { InventoryParts } from './parts.ts';
import { nothingOf } from './scanner.ts';

/** What an image's layers hold together, and the rows of its layers. */
async function mergedOf(session: Session, imageId: number) {
  const rows = await layersOf(session, imageId);
  const layers: LayerInventory[] = [];
  for (const { digest, layerId, problem } of rows) {
    const content = layerId === null ? undefined : await layerContent(session, layerId);
    const detail = problem === '' ? 'the layer is not in this registry' : problem;
    layers.push(content ?? nothingOf(digest, { reason: 'unscannable', detail }));
  }
  return { rows, layers, ...mergeLayers(layers) };
}

/** Puts images together all of whose layers were read, up to so many; gives how many it was. */
export async function settleImages(
  { database, clock }: Pick<InventoryParts, 'database' | 'clock'>,
  signal: AbortSignal,
  most: number,
): Promise<number> {
  let settled = 0;
  for (const image of await imagesToSettle(database, most)) {
    signal.throwIfAborted();
    const { rows, layers, image: merged, fates } = await mergedOf(database, image.id);
    const exceptions = await exceptionsOf(database, rows, layers, fates);
    const reason = merged.incomplete.length === 0 ? null : JSON.stringify(merged.incomplete);
    const facts = { reason, os: merged.osRelease, components: merged.components.length, exceptions };
    await database.write((tx) => settleImage(tx, image, rows, facts, clock.now()), { ...INVENTORY_SCOPE, durable: true });
    settled++;
  }
  return settled;
}

/** Evidence that counts in the image though its layer alone would not have it so, or the other way. */
async function exceptionsOf(
  session: Session,
  rows: readonly { readonly layerId: number | null }[],
  layers: readonly LayerInventory[],
  fates: ReturnType<typeof mergeLayers>['fates'],
): Promise<number[]> {
  // A layer that an image has twice counts where one of them does.
  const seen = new Map<number, boolean>();
  const owned = new Map<number, boolean>();
  for (const [index, { layerId }] of rows.entries()) {
    if (layerId === null) continue;
    const ids = await evidenceIdsOf(session, layerId);
    for (const [at, { path, inside = '' }] of (layers[index]?.evidence ?? []).entries()) {
      const row = ids.get(`${path}\0${inside}`);
      if (!row) continue;
      seen.set(row.id, seen.get(row.id) === true || fates[index]?.[at] === 'seen');
      owned.set(row.id, row.owned);
    }
  }
  return [...seen].filter(([id, isSeen]) => isSeen === owned.get(id)).map(([id]) => id);
}

/** Images that were asked for lately, by row and when they were put together. */
const KEPT = new LRUCache<string, ImageInventory>({ max: 16, ttl: 10 * 60_000 });

/** What an image holds, from the inventories of its layers. */
export async function imageInventory(
  session: Session,
  { id, digest, madeAt }: Pick<ImageRow, 'id' | 'digest' | 'madeAt'>,
): Promise<ImageInventory> {
  const key = `${digest} ${madeAt}`;
  const known = KEPT.get(key);
  if (known) return known;
  const { image } = await mergedOf(session, id);
  KEPT.set(key, image);
  return image;
}
