import { randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { digestOf, parseManifest } from '@entrepot/oci';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  catalogMigrations,
  createProject,
  deleteManifest,
  ensureRepository,
  linkBlob,
  listTrash,
  purgeItem,
  putManifest,
} from '../../catalog/index.ts';
import type { BlobReader } from '../../content/index.ts';
import { roomData } from '../../platform/database/testing.ts';
import {
  createJobRunner,
  createLog,
  type Database,
  enqueue,
  type JobRunner,
  jobMigrations,
  outboxDelivery,
  outboxMigrations,
  queriesOf,
  type Value,
} from '../../platform/index.ts';
import { cleanInventories } from './clean.ts';
import { READ_LAYER } from './format.ts';
import { findImage, forgetWaiting, layersOf, wantAgain } from './image-store.ts';
import { inventoryConsumer, inventoryJobs } from './jobs.ts';
import { findLayer } from './layer-store.ts';
import type { LayerScanner } from './scanner.ts';
import type { InventoryTables } from './schema.ts';
import { inventoryMigrations } from './schema.ts';
import { imageInventory } from './settle.ts';
import { inventoryOf, type TestEntry, tarOf, testPackages } from './testing-layers.ts';
import { kindOfStored, wantInventory } from './wanting.ts';

interface Rows extends InventoryTables {
  outbox_event: { id: number; topic: string; repository: string; payload: string };
}
const query = queriesOf<Rows>('inventory-test');
const completed = query()('completed', (db) =>
  db.selectFrom('outbox_event').select(['repository', 'payload']).where('topic', '=', 'inventory.completed').orderBy('id'),
);
const components = query()('components', (db) =>
  db.selectFrom('component').select(['type', 'name', 'version']).orderBy('name').orderBy('version'),
);
const layerCount = query()('layers', (db) => db.selectFrom('layer_inventory').select((eb) => eb.fn.countAll<number>().as('count')));
const evidenceCount = query()('evidence', (db) => db.selectFrom('layer_evidence').select((eb) => eb.fn.countAll<number>().as('count')));
const setFormat = query<{ format: number }>()('setFormat', (db, p) => db.updateTable('layer_inventory').set({ format: p('format') }));
/** As matching finds images: from a component by evidence and layers, minus what does not count there. */
const imagesWith = query<{ name: string; version: string }>()('imagesWith', (db, p) =>
  db
    .selectFrom('component')
    .innerJoin('evidence_component', 'evidence_component.component_id', 'component.id')
    .innerJoin('layer_evidence', 'layer_evidence.id', 'evidence_component.evidence_id')
    .innerJoin('image_layer', 'image_layer.layer_id', 'layer_evidence.layer_id')
    .innerJoin('image_inventory', 'image_inventory.id', 'image_layer.image_id')
    .leftJoin('image_exception', (join) =>
      join.onRef('image_exception.image_id', '=', 'image_layer.image_id').onRef('image_exception.evidence_id', '=', 'layer_evidence.id'),
    )
    .select('image_inventory.digest')
    .distinct()
    .where('component.name', '=', p('name'))
    .where('component.version', '=', p('version'))
    .where((eb) =>
      eb.or([
        eb.and([eb('layer_evidence.owned', '=', 0), eb('image_exception.evidence_id', 'is', null)]),
        eb.and([eb('layer_evidence.owned', '=', 1), eb('image_exception.evidence_id', 'is not', null)]),
      ]),
    ),
);

const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const CONFIG = 'application/vnd.oci.image.config.v1+json';
const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';
const pkg = (path: string, ...lines: string[]): TestEntry => ({ path, content: lines.join('\n') });
const layerOf = (...entries: TestEntry[]) => gzipSync(tarOf(entries));

let store: ReturnType<typeof roomData>;
let database: Database;
let runner: JobRunner;
let now: number;
let projectId: number;
let stored: Map<string, Buffer>;
let read: string[];
let broken: Set<string>;
let suspected: string[];
const repositories = new Map<string, number>();
const clock = { now: () => now };

/** Blobs in memory; those of `broken` cannot be read. */
const blobs = {
  open: (digest: string): Promise<BlobReader | undefined> => {
    const bytes = stored.get(digest);
    if (!bytes) return Promise.resolve(undefined);
    return Promise.resolve({
      size: bytes.length,
      read(buffer: Uint8Array, length: number, position: number) {
        if (broken.has(digest)) return Promise.reject(new Error('the disk is gone'));
        const part = bytes.subarray(position, position + length);
        buffer.set(part);
        return Promise.resolve(part.length);
      },
      close: () => Promise.resolve(),
    });
  },
};
/** Reads in this process, for speed. */
const scanner: LayerScanner = {
  async scan({ digest, open }, signal) {
    read.push(digest);
    const chunks: Uint8Array[] = [];
    for await (const chunk of open(signal)) chunks.push(chunk);
    return await inventoryOf(Buffer.concat(chunks), { cataloguers: [testPackages], digest });
  },
};
const parts = () => ({
  database,
  blobs,
  clock,
  log: createLog('silent'),
  config: { inventory: true, inventoryWorkers: 2 },
  scanner,
  suspect: (digest: string) => void suspected.push(digest),
});

beforeEach(async () => {
  now = 1_700_000_000_000;
  stored = new Map();
  read = [];
  broken = new Set();
  suspected = [];
  store = roomData([...catalogMigrations, ...outboxMigrations, ...jobMigrations, ...inventoryMigrations]);
  database = await store.open();
  await database.write(async (tx) => {
    await createProject(tx, { name: 'demo', public: false, by: 'ann', now });
    for (const name of ['demo/app', 'demo/other']) {
      const made = await ensureRepository(tx, name, 'ann', now);
      repositories.set(name, made.id);
      projectId = made.projectId;
    }
  });
  runner = createJobRunner({
    ...{ database, clock, log: createLog('silent'), holder: 'test', random: () => 0 },
    definitions: [outboxDelivery(database, clock, inventoryConsumer(parts())), ...inventoryJobs(parts())],
  });
});
afterEach(() => store.remove());

/** Everything that is due, and what that makes due, without waiting. */
async function settle(): Promise<void> {
  for (let ran = 1; ran > 0; ) {
    ran = await runner.runDue();
    now += 1;
  }
}

interface Made {
  readonly into?: string;
  readonly config?: string;
  readonly types?: readonly string[];
  /** Layers that the manifest names and nobody pushed. */
  readonly missing?: readonly Buffer[];
}

async function push(
  layers: readonly Buffer[],
  { into = 'demo/app', config = CONFIG, types = [], missing = [] }: Made = {},
): Promise<string> {
  const own = randomBytes(16);
  const blob = (mediaType: string, bytes: Buffer) => ({ mediaType, digest: digestOf(bytes), size: bytes.length });
  const bytes = Buffer.from(
    JSON.stringify({
      ...{ schemaVersion: 2, mediaType: IMAGE, config: blob(config, own) },
      layers: layers.map((layer, index) => blob(types[index] ?? LAYER, layer)),
    }),
  );
  for (const each of [own, ...layers]) if (!missing.includes(each)) stored.set(digestOf(each), each);
  const manifest = parseManifest(bytes, undefined);
  const digest = digestOf(bytes);
  const repositoryId = repositories.get(into) ?? 0;
  await database.write(async (tx) => {
    for (const { digest: each, size } of manifest.blobs)
      if (stored.has(each)) await linkBlob(tx, repositoryId, { digest: each, size }, now);
    await putManifest(tx, { repositoryId, digest, bytes, manifest, tags: [], sparse: { children: true, blobs: true }, by: 'ann', now });
  });
  return digest;
}

/** What the consumer of events does with a push. */
async function tell(digest: string): Promise<void> {
  const event = { id: 1, topic: 'manifest.pushed', repository: 'demo/app', at: now, payload: { digest } };
  await inventoryConsumer(parts()).handle(event, new AbortController().signal);
}

async function toldOf(digest: string): Promise<string[]> {
  const image = await findImage(database, digest);
  if (!image) return ['none'];
  const found = image.madeAt === null ? [] : (await imageInventory(database, image)).components;
  return [image.state, ...found.map(({ name, version, layer }) => `${name} ${version} # ${layer.index}`)];
}
const imagesOf = async (name: string, version: string) =>
  (await database.all(imagesWith, { name, version })).map(({ digest }) => digest).sort();
const count = async (of: typeof layerCount) => Number((await database.first(of, {} as Record<string, Value>))?.count);

describe('inventories of what is pushed', () => {
  const base = layerOf(pkg('db.pkg', 'libc 1', 'owns usr/a.pkg'), pkg('usr/a.pkg', 'owned 1'));

  it('are made once for each layer, and announced in each repository that has the image', async () => {
    const one = await push([base, layerOf(pkg('app.pkg', 'app 1'))]);
    await settle();
    expect(await toldOf(one)).toEqual(['complete', 'app 1 # 1', 'libc 1 # 0']);
    expect(read).toHaveLength(2);
    const two = await push([base, layerOf(pkg('app.pkg', 'app 2'))], { into: 'demo/other' });
    await settle();
    expect(await toldOf(two)).toEqual(['complete', 'app 2 # 1', 'libc 1 # 0']);
    expect(read).toHaveLength(3); // of the base nothing was read again
    expect((await database.all(completed, {})).map(({ repository, payload }) => [repository, JSON.parse(payload) as unknown])).toEqual([
      ['demo/app', { digest: one, state: 'complete', components: 2 }],
      ['demo/other', { digest: two, state: 'complete', components: 2 }],
    ]);
  });

  it('lead from a component to the images in which it counts, and to no other', async () => {
    const plain = await push([base]);
    const upgraded = await push([base, layerOf(pkg('db.pkg', 'libc 2', 'owns usr/a.pkg'))]);
    const freed = await push([base, layerOf(pkg('db.pkg', 'libc 1'))]);
    const removed = await push([base, layerOf(pkg('.wh.db.pkg'), pkg('usr/.wh.a.pkg'))]);
    const bare = layerOf(pkg('usr/a.pkg', 'owned 1'));
    const covered = await push([bare, layerOf(pkg('db.pkg', 'owns usr/a.pkg'))]);
    const alone = await push([bare]);
    await settle();
    expect(await imagesOf('libc', '1')).toEqual([plain, freed].sort());
    expect(await imagesOf('libc', '2')).toEqual([upgraded]);
    expect(await imagesOf('owned', '1')).toEqual([freed, alone].sort());
    expect(await toldOf(removed)).toEqual(['complete']);
    expect(await toldOf(covered)).toEqual(['complete']);
  });

  it('have one row for each component, whatever has it', async () => {
    await push([layerOf(pkg('a.pkg', 'x 1')), layerOf(pkg('b.pkg', 'x 1', 'y 1'))]);
    await settle();
    expect(await database.all(components, {})).toEqual([
      { type: 'npm', name: 'x', version: '1' },
      { type: 'npm', name: 'y', version: '1' },
    ]);
  });

  it.each<[string, Made, string]>([
    [
      'an artifact',
      { config: 'application/vnd.cncf.helm.config.v1+json' },
      'not an image: an artifact of type application/vnd.cncf.helm.config.v1+json',
    ],
    ['an attestation', { types: ['application/vnd.in-toto+json'] }, 'not an image: its content is of type application/vnd.in-toto+json'],
    [
      'a Wasm module',
      { config: 'application/vnd.wasm.config.v0+json', types: ['application/wasm'] },
      'not an image: an artifact of type application/vnd.wasm.config.v0+json',
    ],
  ])('say of %s that it is no image', async (_, made, reason) => {
    const digest = await push([randomBytes(100)], made);
    await settle();
    expect(await findImage(database, digest)).toMatchObject({ state: 'empty', reason });
    expect(read).toEqual([]);
  });

  it('E7 are incomplete where a layer is encrypted, of an unknown type, not here or no archive, and hold the rest', async () => {
    const good = layerOf(pkg('a.pkg', 'x 1'));
    for (const [types, isMissing, why] of [
      [[LAYER, `${LAYER}+encrypted`], false, 'encrypted'],
      [[LAYER, 'application/vnd.example.layer.v1'], false, 'of a type that is not read'],
      [[LAYER, LAYER], false, 'no header'],
      [[LAYER, LAYER], true, 'not in this registry'],
    ] as const) {
      const bad = randomBytes(600);
      const digest = await push([good, bad], { types, missing: isMissing ? [bad] : [] });
      await settle();
      expect(await toldOf(digest)).toEqual(['incomplete', 'x 1 # 0']);
      expect((await findImage(database, digest))?.reason).toContain(why);
    }
  });

  it('take up a layer whose bytes come later, when they are asked for again', async () => {
    const late = layerOf(pkg('b.pkg', 'late 1'));
    const digest = await push([layerOf(pkg('a.pkg', 'x 1')), late], { missing: [late] });
    await settle();
    expect(await toldOf(digest)).toEqual(['incomplete', 'x 1 # 0']);
    stored.set(digestOf(late), late);
    await cleanInventories(parts(), new AbortController().signal);
    await settle();
    expect(await toldOf(digest)).toEqual(['complete', 'late 1 # 1', 'x 1 # 0']);
  });

  it('wait for storage that fails, and say so in the end', async () => {
    const layer = layerOf(pkg('a.pkg', 'x 1'));
    broken.add(digestOf(layer));
    const digest = await push([layer]);
    await settle();
    expect(await toldOf(digest)).toEqual(['waiting']);
    for (let tries = 0; tries < 8; tries++) {
      now += 3_600_000;
      await settle();
    }
    expect(await findImage(database, digest)).toMatchObject({
      state: 'incomplete',
      reason: expect.stringContaining('could not be read from storage') as string,
    });
  });

  it('are made only of what somebody asks for where they are switched off', async () => {
    const off = { ...parts(), config: { inventory: false, inventoryWorkers: 1 } };
    const idle = createJobRunner({ ...{ database, clock, log: createLog('silent'), holder: 'off' }, definitions: inventoryJobs(off) });
    const digest = await push([layerOf(pkg('a.pkg', 'x 1'))]);
    const run = async () => {
      for (let ran = 1; ran > 0; now += 10_000) ran = await idle.runDue();
    };
    await run();
    expect(await toldOf(digest)).toEqual(['none']);
    const kind = await kindOfStored(database, digest);
    if (kind) await database.write((tx) => wantInventory(tx, digest, kind, now));
    await run();
    expect(await toldOf(digest)).toEqual(['complete', 'x 1 # 0']);
  });

  it('do not stop at a manifest that is damaged in the database', async () => {
    const layer = layerOf(pkg('a.pkg', 'x 1'));
    const damaged = await push([layer]);
    await database.write(async (tx) => await tx.run(spoil, { bytes: Buffer.from('{') }));
    const sound = await push([layer]);
    await settle();
    expect([await toldOf(damaged), await toldOf(sound)]).toEqual([['none'], ['complete', 'x 1 # 0']]);
  });

  it('are read again where they are incomplete and somebody asks, after the storage was mended', async () => {
    const layer = layerOf(pkg('a.pkg', 'x 1'));
    const digest = await push([layer]);
    stored.set(digestOf(layer), layerOf(pkg('a.pkg', 'other 1')));
    for (let tries = 0; tries < 8; tries++) {
      await settle();
      now += 3_600_000;
    }
    expect(await toldOf(digest)).toEqual(['incomplete', 'other 1 # 0']);
    expect(suspected).toContain(digestOf(layer));
    stored.set(digestOf(layer), layer);
    await database.write(async (tx) => {
      const image = await findImage(tx, digest);
      for (const each of image ? await wantAgain(tx, image.id) : [])
        await enqueue(tx, { kind: READ_LAYER, key: each, payload: { digest: each }, now });
    });
    await settle();
    expect(await toldOf(digest)).toEqual(['complete', 'x 1 # 0']);
    expect(await imagesOf('other', '1')).toEqual([]);
  });

  it('that wait can be stopped; layers that others wait for are read', async () => {
    const shared = layerOf(pkg('a.pkg', 'x 1'));
    const own = layerOf(pkg('b.pkg', 'y 1'));
    const [stopped, other] = [await push([shared, own]), await push([shared])];
    for (const digest of [stopped, other]) await tell(digest);
    const image = await findImage(database, stopped);
    expect(image && (await database.write((tx) => forgetWaiting(tx, image)))).toEqual([digestOf(own)]);
    expect(await toldOf(stopped)).toEqual(['none']);
    expect(await findImage(database, other)).toMatchObject({ state: 'waiting', waiting: 1 });
  });

  it('are made of what was there before, and of layers that an older version read, which count until then', async () => {
    const layer = layerOf(pkg('a.pkg', 'x 1'));
    const digest = await push([layer]);
    await database.write(async (tx) => await tx.run(forgetEvents, {}));
    await settle();
    expect(await toldOf(digest)).toEqual(['complete', 'x 1 # 0']);
    await database.write(async (tx) => await tx.run(setFormat, { format: 0 }));
    expect(await toldOf(digest)).toEqual(['complete', 'x 1 # 0']);
    now += 10_000;
    await settle();
    expect(read).toHaveLength(2);
    const image = await findImage(database, digest);
    expect((await layersOf(database, image?.id ?? 0)).map(({ layerId }) => layerId)).toEqual([
      (await findLayer(database, digestOf(layer)))?.id,
    ]);
    expect(await imagesOf('x', '1')).toEqual([digest]);
  });

  it('are forgotten with the last image that had them, and not before', async () => {
    const shared = layerOf(pkg('a.pkg', 'x 1'));
    const gone = await push([shared, layerOf(pkg('b.pkg', 'y 1'))]);
    const stays = await push([shared], { into: 'demo/other' });
    await settle();
    await database.write((tx) => deleteManifest(tx, repositories.get('demo/app') ?? 0, gone, 'ann', now));
    now += 2 * 3_600_000;
    await cleanInventories(parts(), new AbortController().signal);
    expect(await toldOf(gone)).toEqual(['complete', 'x 1 # 0', 'y 1 # 1']); // it is in the trash and may come back
    for (const item of (await listTrash(database, { projectId, order: 'asc', last: undefined, limit: 10 })).items)
      await database.write((tx) => purgeItem(tx, item, now));
    expect(await cleanInventories(parts(), new AbortController().signal)).toEqual({ images: 1, layers: 1, components: 1 });
    expect(await toldOf(gone)).toEqual(['none']);
    expect(await toldOf(stays)).toEqual(['complete', 'x 1 # 0']);
    expect([await count(layerCount), await count(evidenceCount)]).toEqual([1, 1]);
  });

  it('survive a process that ends in the middle of writing them', async () => {
    const layer = layerOf(...Array.from({ length: 40 }, (_, index) => pkg(`${index}.pkg`, `x ${index}`, `y ${index}`)));
    const digest = await push([layer]);
    const { saveLayer } = await import('./layer-store.ts');
    await tell(digest);
    const row = await findLayer(database, digestOf(layer));
    const inventory = await inventoryOf(layer, { cataloguers: [testPackages] });
    const ends = saveLayer(database, { id: row?.id ?? 0, inventory, durationMs: 1 }, () => Promise.reject(new Error('killed')));
    await expect(ends).rejects.toThrow('killed');
    expect(await findLayer(database, digestOf(layer))).toMatchObject({ state: 'waiting' });
    await settle();
    expect((await toldOf(digest)).slice(0, 1)).toEqual(['complete']);
    expect(await count(evidenceCount)).toBe(40);
  });
});

const spoil = queriesOf<{ manifest_content: { bytes: Uint8Array } }>('inventory-test')<{ bytes: Uint8Array }>()('spoil', (db, p) =>
  db.updateTable('manifest_content').set({ bytes: p('bytes') }),
);
const forgetEvents = query()('forgetEvents', (db) => db.deleteFrom('outbox_event'));
