import type { Generated } from 'kysely';
import type { Migration } from '../../platform/index.ts';

/** What is known of layers and images. Of text columns '' stands for what is absent, so that rows can be unique by them. */
export interface InventoryTables {
  /** A layer as one version of the reader sees it; a newer version makes another row, which takes the place of this one when it is done. */
  layer_inventory: {
    id: Generated<number>;
    digest: string;
    format: number;
    /** `absent`: its bytes are not in this registry; asked again now and then. */
    state: 'waiting' | 'done' | 'absent';
    diff_id: string | null;
    /** Why it does not say everything, as JSON. */
    incomplete: string | null;
    components: number;
    entries: number;
    bytes: number;
    /** How long reading took. */
    duration_ms: number;
    created_at: number;
    made_at: number | null;
  };
  /** All that was found in a layer: compressed JSON, apart so that lists do not read it. */
  layer_content: { layer_id: number; bytes: Uint8Array };
  /** Unique over the registry: matching compares each once, however many images have it. */
  component: {
    id: Generated<number>;
    type: string;
    name: string;
    version: string;
    arch: string;
    /** What advisories of distributions name; the same as name and version where the package says nothing else. */
    source_name: string;
    source_version: string;
    modularity: string;
  };
  layer_evidence: {
    id: Generated<number>;
    layer_id: number;
    path: string;
    inside: string;
    /** 1 where the layer alone has a package of the system that owns the file: then it does not count, unless `image_exception` says so. */
    owned: number;
  };
  evidence_component: { evidence_id: number; component_id: number };
  /** By digest of its manifest, in whatever repositories that is. */
  image_inventory: {
    id: Generated<number>;
    digest: string;
    /** `empty`: no image (`reason` says what); `waiting`: not all of its layers were read. */
    state: 'waiting' | 'complete' | 'incomplete' | 'empty';
    /** Of `empty` what it is; of `incomplete` why, as JSON. */
    reason: string | null;
    /** Distinct layers that are still to be read. */
    waiting: number;
    /** 0 where layers changed since it was last put together. */
    settled: number;
    os_id: string;
    os_version: string;
    os_name: string;
    components: number;
    created_at: number;
    made_at: number | null;
  };
  image_layer: {
    image_id: number;
    /** From the bottom. */
    position: number;
    digest: string;
    /** null where the layer is not read: `problem` says why. */
    layer_id: number | null;
    problem: string;
  };
  /** Evidence that in an image counts otherwise than `owned` has it: hidden by a higher layer, owned by a package of another, or owned no more. */
  image_exception: { image_id: number; evidence_id: number };
  /** How far manifests that were there before were taken up; one row. */
  inventory_cursor: { id: number; manifest_id: number };
}

export const inventoryMigrations: readonly Migration[] = [
  {
    name: '0001-inventory',
    up: ({ db, types }) => [
      db.schema
        .createTable('layer_inventory')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('digest', 'text', (c) => c.notNull())
        .addColumn('format', 'integer', (c) => c.notNull())
        .addColumn('state', 'text', (c) => c.notNull())
        .addColumn('diff_id', 'text')
        .addColumn('incomplete', 'text')
        .addColumn('components', 'integer', (c) => c.notNull())
        .addColumn('entries', 'integer', (c) => c.notNull())
        .addColumn('bytes', 'bigint', (c) => c.notNull())
        .addColumn('duration_ms', 'integer', (c) => c.notNull())
        .addColumn('created_at', 'bigint', (c) => c.notNull())
        .addColumn('made_at', 'bigint')
        .addUniqueConstraint('layer_inventory_digest', ['digest', 'format']),
      db.schema.createIndex('layer_inventory_format').on('layer_inventory').columns(['state', 'format', 'id']),
      db.schema
        .createTable('layer_content')
        .addColumn('layer_id', 'integer', (c) => c.primaryKey().references('layer_inventory.id').onDelete('cascade'))
        .addColumn('bytes', types.bytes as 'blob', (c) => c.notNull()),
      db.schema
        .createTable('component')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('type', 'text', (c) => c.notNull())
        .addColumn('name', 'text', (c) => c.notNull())
        .addColumn('version', 'text', (c) => c.notNull())
        .addColumn('arch', 'text', (c) => c.notNull())
        .addColumn('source_name', 'text', (c) => c.notNull())
        .addColumn('source_version', 'text', (c) => c.notNull())
        .addColumn('modularity', 'text', (c) => c.notNull())
        .addUniqueConstraint('component_key', ['type', 'name', 'version', 'arch', 'source_name', 'source_version', 'modularity']),
      db.schema.createIndex('component_source').on('component').columns(['type', 'source_name']),
      db.schema
        .createTable('layer_evidence')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('layer_id', 'integer', (c) => c.notNull().references('layer_inventory.id').onDelete('cascade'))
        .addColumn('path', 'text', (c) => c.notNull())
        .addColumn('inside', 'text', (c) => c.notNull())
        .addColumn('owned', 'integer', (c) => c.notNull()),
      db.schema.createIndex('layer_evidence_layer').on('layer_evidence').columns(['layer_id', 'id']),
      db.schema
        .createTable('evidence_component')
        .addColumn('evidence_id', 'integer', (c) => c.notNull().references('layer_evidence.id').onDelete('cascade'))
        .addColumn('component_id', 'integer', (c) => c.notNull().references('component.id'))
        .addPrimaryKeyConstraint('evidence_component_pk', ['evidence_id', 'component_id']),
      db.schema.createIndex('evidence_component_component').on('evidence_component').columns(['component_id', 'evidence_id']),
      db.schema
        .createTable('image_inventory')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('digest', 'text', (c) => c.notNull().unique())
        .addColumn('state', 'text', (c) => c.notNull())
        .addColumn('reason', 'text')
        .addColumn('waiting', 'integer', (c) => c.notNull())
        .addColumn('settled', 'integer', (c) => c.notNull())
        .addColumn('os_id', 'text', (c) => c.notNull())
        .addColumn('os_version', 'text', (c) => c.notNull())
        .addColumn('os_name', 'text', (c) => c.notNull())
        .addColumn('components', 'integer', (c) => c.notNull())
        .addColumn('created_at', 'bigint', (c) => c.notNull())
        .addColumn('made_at', 'bigint'),
      db.schema.createIndex('image_inventory_settled').on('image_inventory').columns(['settled', 'waiting', 'id']),
      db.schema
        .createTable('image_layer')
        .addColumn('image_id', 'integer', (c) => c.notNull().references('image_inventory.id').onDelete('cascade'))
        .addColumn('position', 'integer', (c) => c.notNull())
        .addColumn('digest', 'text', (c) => c.notNull())
        .addColumn('layer_id', 'integer', (c) => c.references('layer_inventory.id'))
        .addColumn('problem', 'text', (c) => c.notNull())
        .addPrimaryKeyConstraint('image_layer_pk', ['image_id', 'position']),
      db.schema.createIndex('image_layer_layer').on('image_layer').columns(['layer_id', 'image_id']),
      db.schema
        .createTable('image_exception')
        .addColumn('image_id', 'integer', (c) => c.notNull().references('image_inventory.id').onDelete('cascade'))
        .addColumn('evidence_id', 'integer', (c) => c.notNull().references('layer_evidence.id').onDelete('cascade'))
        .addPrimaryKeyConstraint('image_exception_pk', ['image_id', 'evidence_id']),
      db.schema.createIndex('image_exception_evidence').on('image_exception').columns(['evidence_id']),
      db.schema
        .createTable('inventory_cursor')
        .addColumn('id', 'integer', (c) => c.primaryKey())
        .addColumn('manifest_id', 'integer', (c) => c.notNull()),
      // By digest alone, in whatever repository: to find images of what was found, and whether one is still there.
      db.schema.createIndex('manifest_everywhere').on('manifest').columns(['digest', 'repository_id']),
      db.schema.createIndex('trash_manifest_everywhere').on('trash_manifest').columns(['digest']),
    ],
  },
];
