import { promisify } from 'node:util';
import { constants, zstdCompress, zstdDecompress } from 'node:zlib';
import { type Database, queriesOf, type Session } from '../../platform/index.ts';
import { INVENTORY_FORMAT, INVENTORY_SCOPE } from './format.ts';
import { mergeLayers } from './merge.ts';
import type { Component, LayerInventory } from './model.ts';
import type { InventoryTables } from './schema.ts';

const query = queriesOf<InventoryTables>('inventory');

const insertLayer = query<{ digest: string; format: number; now: number }>()('insertLayer', (db, p) =>
  db
    .insertInto('layer_inventory')
    .values({
      digest: p('digest'),
      format: p('format'),
      state: 'waiting',
      components: 0,
      entries: 0,
      bytes: 0,
      duration_ms: 0,
      created_at: p('now'),
    })
    .onConflict((conflict) => conflict.columns(['digest', 'format']).doNothing()),
);
const LAYER_COLUMNS = [
  'id',
  'digest',
  'format',
  'state',
  'diff_id as diffId',
  'incomplete',
  'components',
  'entries',
  'bytes',
  'duration_ms as durationMs',
  'made_at as madeAt',
] as const;
const layerByDigest = query<{ digest: string; format: number }>()('layerByDigest', (db, p) =>
  db.selectFrom('layer_inventory').select(LAYER_COLUMNS).where('digest', '=', p('digest')).where('format', '=', p('format')),
);
const waitForAbsent = query<{ digest: string; format: number }>()('waitForAbsent', (db, p) =>
  db
    .updateTable('layer_inventory')
    .set({ state: 'waiting' })
    .where('digest', '=', p('digest'))
    .where('format', '=', p('format'))
    .where('state', '=', 'absent'),
);
const newestOfDigest = query<{ digest: string }>()('newestLayerOfDigest', (db, p) =>
  db
    .selectFrom('layer_inventory')
    .select(LAYER_COLUMNS)
    .where('digest', '=', p('digest'))
    .where('state', '=', 'done')
    .orderBy('format', 'desc')
    .limit(1),
);
const contentOfLayer = query<{ id: number }>()('contentOfLayer', (db, p) =>
  db.selectFrom('layer_content').select('bytes').where('layer_id', '=', p('id')),
);
const insertContent = query<{ id: number; bytes: Uint8Array }>()('insertContent', (db, p) =>
  db
    .insertInto('layer_content')
    .values({ layer_id: p('id'), bytes: p('bytes') })
    .onConflict((conflict) => conflict.column('layer_id').doUpdateSet((eb) => ({ bytes: eb.ref('excluded.bytes') }))),
);
const insertComponent = query<ComponentRow>()('insertComponent', (db, p) =>
  db
    .insertInto('component')
    .values({
      type: p('type'),
      name: p('name'),
      version: p('version'),
      arch: p('arch'),
      source_name: p('sourceName'),
      source_version: p('sourceVersion'),
      modularity: p('modularity'),
    })
    .onConflict((conflict) =>
      conflict.columns(['type', 'name', 'version', 'arch', 'source_name', 'source_version', 'modularity']).doNothing(),
    ),
);
const findComponent = query<ComponentRow>()('findComponent', (db, p) =>
  db
    .selectFrom('component')
    .select('id')
    .where('type', '=', p('type'))
    .where('name', '=', p('name'))
    .where('version', '=', p('version'))
    .where('arch', '=', p('arch'))
    .where('source_name', '=', p('sourceName'))
    .where('source_version', '=', p('sourceVersion'))
    .where('modularity', '=', p('modularity')),
);
const insertEvidence = query<{ layerId: number; path: string; inside: string; owned: number }>()('insertEvidence', (db, p) =>
  db
    .insertInto('layer_evidence')
    .values({ layer_id: p('layerId'), path: p('path'), inside: p('inside'), owned: p('owned') })
    .returning('id'),
);
const insertEvidenceComponent = query<{ evidenceId: number; componentId: number }>()('insertEvidenceComponent', (db, p) =>
  db
    .insertInto('evidence_component')
    .values({ evidence_id: p('evidenceId'), component_id: p('componentId') })
    .onConflict((conflict) => conflict.columns(['evidence_id', 'component_id']).doNothing()),
);
const deleteSomeEvidence = query<{ layerId: number; limit: number }>()('deleteSomeEvidence', (db, p) =>
  db
    .deleteFrom('layer_evidence')
    .where('id', 'in', (eb) =>
      eb.selectFrom('layer_evidence as old').select('old.id').where('old.layer_id', '=', p('layerId')).orderBy('old.id').limit(p('limit')),
    ),
);
const finishLayer = query<{
  id: number;
  state: 'done' | 'absent';
  diffId: string | null;
  incomplete: string | null;
  components: number;
  entries: number;
  bytes: number;
  durationMs: number;
  now: number;
}>()('finishLayer', (db, p) =>
  db
    .updateTable('layer_inventory')
    .set({
      state: p('state'),
      diff_id: p('diffId'),
      incomplete: p('incomplete'),
      components: p('components'),
      entries: p('entries'),
      bytes: p('bytes'),
      duration_ms: p('durationMs'),
      made_at: p('now'),
    })
    .where('id', '=', p('id')),
);
const evidenceOfLayer = query<{ layerId: number; after: number; limit: number }>()('evidenceOfLayer', (db, p) =>
  db
    .selectFrom('layer_evidence')
    .select(['id', 'path', 'inside', 'owned'])
    .where('layer_id', '=', p('layerId'))
    .where('id', '>', p('after'))
    .orderBy('id')
    .limit(p('limit')),
);

type ComponentRow = {
  type: string;
  name: string;
  version: string;
  arch: string;
  sourceName: string;
  sourceVersion: string;
  modularity: string;
};

export interface LayerRow {
  readonly id: number;
  readonly digest: string;
  readonly format: number;
  readonly state: 'waiting' | 'done' | 'absent';
  readonly diffId: string | null;
  /** JSON. */
  readonly incomplete: string | null;
  readonly components: number;
  readonly entries: number;
  readonly bytes: number;
  readonly durationMs: number;
  readonly madeAt: number | null;
}

const BATCH = 500;
/** 2^26 bytes of JSON at most: more than any inventory within its limits has. */
const CONTENT_MOST = 512 * 2 ** 20;

const compress = promisify(zstdCompress);
const decompress = promisify(zstdDecompress);

/** The layer as this version reads it, made to wait where it is new or was not there before. */
export async function wantLayer(tx: Session, digest: string, now: number): Promise<LayerRow> {
  await tx.run(insertLayer, { digest, format: INVENTORY_FORMAT, now });
  await tx.run(waitForAbsent, { digest, format: INVENTORY_FORMAT });
  const row = await tx.first(layerByDigest, { digest, format: INVENTORY_FORMAT });
  if (!row) throw new Error('an inserted layer is not there');
  return row;
}

/** The layer as this version reads it, whether that was done or not. */
export async function findLayer(session: Session, digest: string): Promise<LayerRow | undefined> {
  return await session.first(layerByDigest, { digest, format: INVENTORY_FORMAT });
}

/** The newest inventory of a layer that is done, also of an older version. */
export async function newestLayer(session: Session, digest: string): Promise<LayerRow | undefined> {
  return await session.first(newestOfDigest, { digest });
}

/** All that was found in a layer; undefined where it was not read. */
export async function layerContent(session: Session, id: number): Promise<LayerInventory | undefined> {
  const row = await session.first(contentOfLayer, { id });
  if (!row) return undefined;
  const text = await decompress(row.bytes, { maxOutputLength: CONTENT_MOST });
  return JSON.parse(text.toString()) as LayerInventory;
}

/**
 * Writes the rows by which matching finds a layer's components, some at a time, then what was found; the layer counts as read when
 * `finish`, run in the last transaction, has been. What an earlier try left is removed first.
 */
export async function saveLayer(
  database: Database,
  { id, inventory, durationMs }: { readonly id: number; readonly inventory: LayerInventory; readonly durationMs: number },
  finish: (tx: Session) => Promise<void>,
): Promise<void> {
  for (let removed = BATCH; removed === BATCH; )
    removed = await database.write(async (tx) => await tx.run(deleteSomeEvidence, { layerId: id, limit: BATCH }), INVENTORY_SCOPE);
  const [fates = []] = mergeLayers([inventory]).fates;
  const rows = inventory.evidence.flatMap(({ path, inside = '', components }, at) => {
    const owned = fates[at] === 'owned' ? 1 : 0;
    return components.map((component) => ({ at, evidence: { layerId: id, path, inside, owned }, component: rowOf(component) }));
  });
  const evidenceIds = new Map<number, number>();
  for (let from = 0; from < rows.length; from += BATCH) {
    const ids = await database.write(async (tx) => {
      const added = new Map<number, number>();
      for (const { at, evidence, component } of rows.slice(from, from + BATCH)) {
        const evidenceId = evidenceIds.get(at) ?? added.get(at) ?? (await tx.first(insertEvidence, evidence))?.id ?? 0;
        added.set(at, evidenceId);
        await tx.run(insertEvidenceComponent, { evidenceId, componentId: await componentId(tx, component) });
      }
      return added;
    }, INVENTORY_SCOPE);
    for (const [at, evidenceId] of ids) evidenceIds.set(at, evidenceId);
  }
  const bytes = await compress(JSON.stringify(inventory), { params: { [constants.ZSTD_c_compressionLevel]: 6 } });
  const { diffId = null, incomplete, entries, bytes: read } = inventory;
  await database.write(
    async (tx) => {
      await tx.run(insertContent, { id, bytes });
      const facts = { diffId, incomplete: incomplete ? JSON.stringify(incomplete) : null, components: rows.length, entries, bytes: read };
      await tx.run(finishLayer, { id, state: 'done', ...facts, durationMs, now: database.clock.now() });
      await finish(tx);
    },
    { ...INVENTORY_SCOPE, durable: true },
  );
}

/** The bytes of a layer are not here. */
export async function markAbsent(tx: Session, id: number, now: number): Promise<void> {
  await tx.run(finishLayer, {
    id,
    state: 'absent',
    diffId: null,
    incomplete: null,
    components: 0,
    entries: 0,
    bytes: 0,
    durationMs: 0,
    now,
  });
}

async function componentId(tx: Session, row: ComponentRow): Promise<number> {
  const known = await tx.first(findComponent, row);
  if (known) return known.id;
  await tx.run(insertComponent, row);
  const added = await tx.first(findComponent, row);
  if (!added) throw new Error('an inserted component is not there');
  return added.id;
}

function rowOf({ type, name, version, arch = '', source, modularity = '' }: Component): ComponentRow {
  return { type, name, version, arch, sourceName: source?.name ?? name, sourceVersion: source?.version ?? version, modularity };
}

/** Ids of a layer's evidence by its path and place. */
export async function evidenceIdsOf(
  session: Session,
  layerId: number,
): Promise<Map<string, { readonly id: number; readonly owned: boolean }>> {
  const found = new Map<string, { readonly id: number; readonly owned: boolean }>();
  for (let after = 0; ; ) {
    const rows = await session.all(evidenceOfLayer, { layerId, after, limit: BATCH });
    for (const { id, path, inside, owned } of rows) found.set(`${path}\0${inside}`, { id, owned: owned === 1 });
    after = rows.at(-1)?.id ?? after;
    if (rows.length < BATCH) return found;
  }
}
