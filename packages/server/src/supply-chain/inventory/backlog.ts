import { queriesOf, type Session } from '../../platform/index.ts';

import { INVENTORY_FORMAT } from './format.ts';
import type { InventoryTables } from './schema.ts';

const query = queriesOf<InventoryTables & { manifest: { id: number } }>('inventory');

const cursor = query()('backlogCursor', (db) => db.selectFrom('inventory_cursor').select('manifest_id as at').where('id', '=', 1));
const moveCursor = query<{ at: number }>()('moveCursor', (db, p) =>
  db
    .insertInto('inventory_cursor')
    .values({ id: 1, manifest_id: p('at') })
    .onConflict((conflict) => conflict.column('id').doUpdateSet((eb) => ({ manifest_id: eb.ref('excluded.manifest_id') }))),
);
const newestManifest = query()('newestManifest', (db) => db.selectFrom('manifest').select('id').orderBy('id', 'desc').limit(1));
const waitingLayers = query<{ limit: number }>()('waitingLayers', (db, p) =>
  db.selectFrom('layer_inventory').select('id').where('state', '=', 'waiting').limit(p('limit')),
);
/** Read by an older version, and by this one neither read nor asked for. */
const layersOfOlder = query<{ format: number; limit: number }>()('layersOfOlder', (db, p) =>
  db
    .selectFrom('layer_inventory as older')
    .select('older.digest')
    .where('older.state', '=', 'done')
    .where('older.format', '<', p('format'))
    .where((eb) =>
      eb.not(
        eb.exists(
          eb
            .selectFrom('layer_inventory as newer')
            .select('newer.id')
            .whereRef('newer.digest', '=', 'older.digest')
            .where('newer.format', '=', p('format')),
        ),
      ),
    )
    .limit(p('limit')),
);

const readyImage = query()('readyImage', (db) =>
  db.selectFrom('image_inventory').select('id').where('settled', '=', 0).where('waiting', '=', 0).limit(1),
);

/** Whether there is an image all of whose layers were read, to be put together. */
export async function isAnyReady(session: Session): Promise<boolean> {
  return (await session.first(readyImage, {})) !== undefined;
}

/** How far manifests were looked through. */
export async function cursorAt(session: Session): Promise<number> {
  return (await session.first(cursor, {}))?.at ?? 0;
}

export async function saveCursor(tx: Session, at: number): Promise<void> {
  await tx.run(moveCursor, { at });
}

export async function hasManifestsBehind(session: Session): Promise<boolean> {
  return ((await session.first(newestManifest, {}))?.id ?? 0) > (await cursorAt(session));
}

/** How many layers wait to be read, counted up to a number. */
export async function layersWaiting(session: Session, most: number): Promise<number> {
  return (await session.all(waitingLayers, { limit: most })).length;
}

export async function olderLayers(session: Session, limit: number): Promise<string[]> {
  return (await session.all(layersOfOlder, { format: INVENTORY_FORMAT, limit })).map(({ digest }) => digest);
}
