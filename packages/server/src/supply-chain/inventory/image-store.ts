import { isDeepStrictEqual } from 'node:util';
import { append, queriesOf, type Session } from '../../platform/index.ts';
import type { ImageKind } from './image-layers.ts';
import { wantLayer } from './layer-store.ts';
import type { InventoryTables } from './schema.ts';

const query = queriesOf<
  InventoryTables & {
    manifest: { id: number; repository_id: number; digest: string; media_type: string };
    repository: { id: number; name: string };
  }
>('inventory');

const IMAGE_COLUMNS = [
  'id',
  'digest',
  'state',
  'reason',
  'waiting',
  'settled',
  'os_id as osId',
  'os_version as osVersion',
  'os_name as osName',
  'components',
  'made_at as madeAt',
] as const;
const insertImage = query<{ digest: string; state: 'waiting' | 'empty'; reason: string | null; settled: number; now: number }>()(
  'insertImage',
  (db, p) =>
    db
      .insertInto('image_inventory')
      .values({
        digest: p('digest'),
        state: p('state'),
        reason: p('reason'),
        waiting: 0,
        settled: p('settled'),
        os_id: '',
        os_version: '',
        os_name: '',
        components: 0,
        created_at: p('now'),
      })
      .onConflict((conflict) => conflict.column('digest').doNothing()),
);
const imageByDigest = query<{ digest: string }>()('imageByDigest', (db, p) =>
  db.selectFrom('image_inventory').select(IMAGE_COLUMNS).where('digest', '=', p('digest')),
);
const insertImageLayer = query<{ imageId: number; position: number; digest: string; layerId: number | null; problem: string }>()(
  'insertImageLayer',
  (db, p) =>
    db
      .insertInto('image_layer')
      .values({ image_id: p('imageId'), position: p('position'), digest: p('digest'), layer_id: p('layerId'), problem: p('problem') })
      .onConflict((conflict) => conflict.columns(['image_id', 'position']).doNothing()),
);
const layersOfImage = query<{ imageId: number }>()('layersOfImage', (db, p) =>
  db
    .selectFrom('image_layer')
    .leftJoin('layer_inventory', 'layer_inventory.id', 'image_layer.layer_id')
    .select([
      'image_layer.position',
      'image_layer.digest',
      'image_layer.layer_id as layerId',
      'image_layer.problem',
      'layer_inventory.state',
      'layer_inventory.made_at as madeAt',
    ])
    .where('image_layer.image_id', '=', p('imageId'))
    .orderBy('image_layer.position'),
);
const setWaiting = query<{ id: number; waiting: number; settled: number }>()('setWaiting', (db, p) =>
  db
    .updateTable('image_inventory')
    .set({ waiting: p('waiting'), settled: p('settled') })
    .where('id', '=', p('id')),
);
/** Counts anew, of each image that has a layer, how many of its layers are still to be read. */
const recountImages = query<{ layerId: number }>()('recountImages', (db, p) =>
  db
    .updateTable('image_inventory')
    .set((eb) => ({
      settled: 0,
      waiting: eb
        .selectFrom('image_layer as part')
        .innerJoin('layer_inventory', 'layer_inventory.id', 'part.layer_id')
        .select((of) => of.fn.count<number>('part.layer_id').distinct().as('layers'))
        .whereRef('part.image_id', '=', 'image_inventory.id')
        .where('layer_inventory.state', '=', 'waiting'),
    }))
    .where('id', 'in', (eb) => eb.selectFrom('image_layer').select('image_id').where('layer_id', '=', p('layerId'))),
);
/** Images that had a layer as an older version read it take the newer inventory. */
const takeNewer = query<{ digest: string; layerId: number }>()('takeNewer', (db, p) =>
  db
    .updateTable('image_layer')
    .set({ layer_id: p('layerId') })
    .where('layer_id', 'in', (eb) =>
      eb.selectFrom('layer_inventory').select('id').where('digest', '=', p('digest')).where('id', '!=', p('layerId')),
    ),
);
const unsoundLayers = query<{ imageId: number }>()('unsoundLayers', (db, p) =>
  db
    .selectFrom('layer_inventory')
    .select(['id', 'digest'])
    .where('id', 'in', (eb) => eb.selectFrom('image_layer').select('layer_id').where('image_id', '=', p('imageId')))
    .where((eb) => eb.or([eb('state', '=', 'absent'), eb('incomplete', 'is not', null)])),
);
const waitAgain = query<{ id: number }>()('waitAgain', (db, p) =>
  db.updateTable('layer_inventory').set({ state: 'waiting' }).where('id', '=', p('id')),
);
const deleteImage = query<{ id: number }>()('forgetImage', (db, p) => db.deleteFrom('image_inventory').where('id', '=', p('id')));
const imageWithLayer = query<{ layerId: number }>()('imageWithLayer', (db, p) =>
  db.selectFrom('image_layer').select('image_id').where('layer_id', '=', p('layerId')).limit(1),
);
const readyImages = query<{ limit: number }>()('readyImages', (db, p) =>
  db
    .selectFrom('image_inventory')
    .select(['id', 'digest'])
    .where('settled', '=', 0)
    .where('waiting', '=', 0)
    .orderBy('id')
    .limit(p('limit')),
);
const finishImage = query<{
  id: number;
  state: 'complete' | 'incomplete';
  reason: string | null;
  osId: string;
  osVersion: string;
  osName: string;
  components: number;
  now: number;
}>()('finishImage', (db, p) =>
  db
    .updateTable('image_inventory')
    .set({
      state: p('state'),
      reason: p('reason'),
      settled: 1,
      os_id: p('osId'),
      os_version: p('osVersion'),
      os_name: p('osName'),
      components: p('components'),
      made_at: p('now'),
    })
    .where('id', '=', p('id'))
    .where('settled', '=', 0)
    .where('waiting', '=', 0),
);
const deleteExceptions = query<{ id: number }>()('deleteExceptions', (db, p) =>
  db.deleteFrom('image_exception').where('image_id', '=', p('id')),
);
const insertException = query<{ imageId: number; evidenceId: number }>()('insertException', (db, p) =>
  db
    .insertInto('image_exception')
    .values({ image_id: p('imageId'), evidence_id: p('evidenceId') })
    .onConflict((conflict) => conflict.columns(['image_id', 'evidence_id']).doNothing()),
);
const placesOf = query<{ digest: string; limit: number }>()('placesOfImage', (db, p) =>
  db
    .selectFrom('manifest')
    .innerJoin('repository', 'repository.id', 'manifest.repository_id')
    .select(['manifest.id', 'manifest.media_type as mediaType', 'repository.name as repository'])
    .where('manifest.digest', '=', p('digest'))
    .orderBy('manifest.repository_id')
    .limit(p('limit')),
);

export interface ImageRow {
  readonly id: number;
  readonly digest: string;
  readonly state: 'waiting' | 'complete' | 'incomplete' | 'empty';
  readonly reason: string | null;
  readonly waiting: number;
  readonly settled: number;
  readonly osId: string;
  readonly osVersion: string;
  readonly osName: string;
  readonly components: number;
  readonly madeAt: number | null;
}

export interface ImageLayerRow {
  readonly position: number;
  readonly digest: string;
  readonly layerId: number | null;
  readonly problem: string;
  readonly state: 'waiting' | 'done' | 'absent' | null;
  readonly madeAt: number | null;
}

/** Repositories that are told of an image, at most. */
const PLACES = 1000;

export async function findImage(session: Session, digest: string): Promise<ImageRow | undefined> {
  return await session.first(imageByDigest, { digest });
}

export async function layersOf(session: Session, imageId: number): Promise<ImageLayerRow[]> {
  return await session.all(layersOfImage, { imageId });
}

/** Where a manifest is, in which repositories and as what. */
export async function placesOfImage(session: Session, digest: string): Promise<{ id: number; mediaType: string; repository: string }[]> {
  return await session.all(placesOf, { digest, limit: PLACES });
}

/** Remembers an image and gives the digests of its layers that are still to be read. Nothing happens where it is known. */
export async function wantImage(
  tx: Session,
  digest: string,
  kind: Exclude<ImageKind, { kind: 'index' }>,
  now: number,
): Promise<readonly string[]> {
  const isEmpty = kind.kind === 'empty';
  const reason = isEmpty ? kind.reason : null;
  await tx.run(insertImage, { digest, state: isEmpty ? 'empty' : 'waiting', reason, settled: isEmpty ? 1 : 0, now });
  const image = await tx.first(imageByDigest, { digest });
  if (!image) throw new Error('an inserted image is not there');
  if (isEmpty || image.state !== 'waiting') return [];
  const wanted = new Set<string>();
  for (const [position, layer] of kind.layers.entries()) {
    const row = layer.problem === undefined ? await wantLayer(tx, layer.digest, now) : undefined;
    if (row?.state === 'waiting') wanted.add(layer.digest);
    await tx.run(insertImageLayer, {
      imageId: image.id,
      position,
      digest: layer.digest,
      layerId: row?.id ?? null,
      problem: layer.problem ?? '',
    });
  }
  await tx.run(setWaiting, { id: image.id, waiting: wanted.size, settled: 0 });
  return [...wanted];
}

/** A layer was read, or is not there: images that waited for it come nearer, and those that had an older inventory of it take this one. */
export async function noteLayer(tx: Session, layer: { readonly id: number; readonly digest: string }): Promise<void> {
  await tx.run(takeNewer, { digest: layer.digest, layerId: layer.id });
  await tx.run(recountImages, { layerId: layer.id });
}

/** Has what is wrong with the layers of an image read once more: what is not there, and what was read in part. Gives their digests. */
export async function wantAgain(tx: Session, imageId: number): Promise<readonly string[]> {
  const layers = await tx.all(unsoundLayers, { imageId });
  for (const { id } of layers) await tx.run(waitAgain, { id });
  for (const { id } of layers) await tx.run(recountImages, { layerId: id });
  return layers.map(({ digest }) => digest);
}

/** Forgets an image that is not put together yet; layers that no other image waits for are given. */
export async function forgetWaiting(tx: Session, image: ImageRow): Promise<readonly string[]> {
  const layers = await layersOf(tx, image.id);
  await tx.run(deleteImage, { id: image.id });
  const own: string[] = [];
  for (const { layerId, digest, state } of layers) {
    if (layerId === null || state !== 'waiting' || own.includes(digest)) continue;
    if (!(await tx.first(imageWithLayer, { layerId }))) own.push(digest);
  }
  return own;
}

/** Images all of whose layers were read, to be put together. */
export async function imagesToSettle(session: Session, limit: number): Promise<{ id: number; digest: string }[]> {
  return await session.all(readyImages, { limit });
}

/**
 * Writes what an image holds, and announces it in each repository that has it; `layers` are those it was made of. False where these
 * are others by now, or somebody else did it.
 */
export async function settleImage(
  tx: Session,
  image: { readonly id: number; readonly digest: string },
  layers: readonly ImageLayerRow[],
  facts: {
    readonly reason: string | null;
    readonly os: { readonly id: string; readonly versionId: string; readonly prettyName: string } | undefined;
    readonly components: number;
    readonly exceptions: readonly number[];
  },
  now: number,
): Promise<boolean> {
  if (!isDeepStrictEqual((await layersOf(tx, image.id)).map(stateOf), layers.map(stateOf))) return false;
  const { id: osId = '', versionId: osVersion = '', prettyName: osName = '' } = facts.os ?? {};
  const state = facts.reason === null ? 'complete' : 'incomplete';
  const written = { id: image.id, state, reason: facts.reason, osId, osVersion, osName, components: facts.components, now } as const;
  if ((await tx.run(finishImage, written)) === 0) return false;
  await tx.run(deleteExceptions, { id: image.id });
  for (const evidenceId of facts.exceptions) await tx.run(insertException, { imageId: image.id, evidenceId });
  for (const { repository } of await tx.all(placesOf, { digest: image.digest, limit: PLACES })) {
    const payload = { digest: image.digest, state, components: facts.components };
    await append(tx, { topic: 'inventory.completed', repository, payload }, now);
  }
  return true;
}

function stateOf({ layerId, state, madeAt }: ImageLayerRow): readonly unknown[] {
  return [layerId, state, madeAt];
}
