import { enqueue, queriesOf, type Session } from '../../platform/index.ts';

import { INVENTORY_SCOPE, READ_LAYER } from './format.ts';
import type { InventoryParts } from './parts.ts';
import type { InventoryTables } from './schema.ts';

const query = queriesOf<
  InventoryTables & { manifest: { id: number; digest: string }; trash_manifest: { item_id: number; digest: string } }
>('inventory');

const imagesAfter = query<{ after: number; limit: number }>()('imagesAfter', (db, p) =>
  db
    .selectFrom('image_inventory')
    .select((eb) => [
      'image_inventory.id',
      eb
        .exists(eb.selectFrom('manifest').select('manifest.id').whereRef('manifest.digest', '=', 'image_inventory.digest'))
        .or(
          eb.exists(
            eb
              .selectFrom('trash_manifest')
              .select('trash_manifest.item_id')
              .whereRef('trash_manifest.digest', '=', 'image_inventory.digest'),
          ),
        )
        .as('isThere'),
    ])
    .where('image_inventory.id', '>', p('after'))
    .orderBy('image_inventory.id')
    .limit(p('limit')),
);
const deleteImage = query<{ id: number }>()('deleteImage', (db, p) => db.deleteFrom('image_inventory').where('id', '=', p('id')));
const unusedLayers = query<{ before: number; limit: number }>()('unusedLayers', (db, p) =>
  db
    .selectFrom('layer_inventory')
    .select('layer_inventory.id')
    .where('layer_inventory.created_at', '<', p('before'))
    .where((eb) =>
      eb.not(
        eb.exists(eb.selectFrom('image_layer').select('image_layer.image_id').whereRef('image_layer.layer_id', '=', 'layer_inventory.id')),
      ),
    )
    .limit(p('limit')),
);
const someEvidence = query<{ layerId: number; limit: number }>()('removeSomeEvidence', (db, p) =>
  db
    .deleteFrom('layer_evidence')
    .where('id', 'in', (eb) =>
      eb.selectFrom('layer_evidence as old').select('old.id').where('old.layer_id', '=', p('layerId')).limit(p('limit')),
    ),
);
const deleteLayer = query<{ id: number }>()('deleteLayer', (db, p) => db.deleteFrom('layer_inventory').where('id', '=', p('id')));
const componentsAfter = query<{ after: number; limit: number }>()('componentsAfter', (db, p) =>
  db
    .selectFrom('component')
    .select((eb) => [
      'component.id',
      eb
        .exists(
          eb
            .selectFrom('evidence_component')
            .select('evidence_component.evidence_id')
            .whereRef('evidence_component.component_id', '=', 'component.id'),
        )
        .as('isUsed'),
    ])
    .where('component.id', '>', p('after'))
    .orderBy('component.id')
    .limit(p('limit')),
);
const deleteComponent = query<{ id: number }>()('deleteComponent', (db, p) =>
  db
    .deleteFrom('component')
    .where('id', '=', p('id'))
    .where((eb) => eb.not(eb.exists(eb.selectFrom('evidence_component').select('evidence_id').where('component_id', '=', p('id'))))),
);
const unreadLayers = query<{ limit: number }>()('unreadLayers', (db, p) =>
  db
    .selectFrom('layer_inventory')
    .select('digest')
    .where('state', '!=', 'done')
    .where((eb) => eb.exists(eb.selectFrom('image_layer').select('image_id').whereRef('image_layer.layer_id', '=', 'layer_inventory.id')))
    .orderBy('id')
    .limit(p('limit')),
);

const PAGE = 500;
/** A layer is made before its first image says so, and after its last one is gone nobody hurries. */
const UNUSED_MS = 3_600_000;

/**
 * Forgets images that are in no repository and no trash, layers that no image has, and components that no layer has; asks again
 * for layers that were not read, as after their jobs were given up or their bytes came later.
 */
export async function cleanInventories({ database, clock }: InventoryParts, signal: AbortSignal) {
  const cleaned = { images: 0, layers: 0, components: 0 };
  for (let after = 0; ; ) {
    signal.throwIfAborted();
    const images = await database.all(imagesAfter, { after, limit: PAGE });
    for (const { id } of images.filter(({ isThere }) => !isThere)) {
      await database.write((tx) => Promise.resolve(tx.run(deleteImage, { id })), INVENTORY_SCOPE);
      cleaned.images++;
    }
    after = images.at(-1)?.id ?? after;
    if (images.length < PAGE) break;
  }
  for (let found = PAGE; found === PAGE; ) {
    const layers = await database.all(unusedLayers, { before: clock.now() - UNUSED_MS, limit: PAGE });
    for (const { id } of layers) {
      signal.throwIfAborted();
      for (let removed = PAGE; removed === PAGE; )
        removed = await database.write(async (tx) => await tx.run(someEvidence, { layerId: id, limit: PAGE }), INVENTORY_SCOPE);
      await database.write((tx) => Promise.resolve(tx.run(deleteLayer, { id })), INVENTORY_SCOPE);
      cleaned.layers++;
    }
    found = layers.length;
  }
  for (let after = 0; cleaned.layers > 0; ) {
    signal.throwIfAborted();
    const components = await database.all(componentsAfter, { after, limit: PAGE });
    const unused = components.filter(({ isUsed }) => !isUsed);
    if (unused.length > 0)
      await database.write(async (tx) => {
        for (const { id } of unused) cleaned.components += await tx.run(deleteComponent, { id });
      }, INVENTORY_SCOPE);
    after = components.at(-1)?.id ?? after;
    if (components.length < PAGE) break;
  }
  await database.write((tx) => askAgain(tx, clock.now()), INVENTORY_SCOPE);
  return cleaned;
}

async function askAgain(tx: Session, now: number): Promise<void> {
  for (const { digest } of await tx.all(unreadLayers, { limit: PAGE }))
    await enqueue(tx, { kind: READ_LAYER, key: digest, payload: { digest }, now });
}
