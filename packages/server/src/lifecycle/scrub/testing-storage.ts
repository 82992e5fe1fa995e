import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOf, type Manifest } from '@entrepot/oci';
import {
  catalogMigrations,
  createProject,
  ensureRepository,
  findManifest,
  keepStored,
  linkBlob,
  putManifest,
} from '../../catalog/index.ts';
import { type BlobStore, openFileStore } from '../../content/index.ts';
import { auditMigrations, createLog, type Database, jobMigrations, openSqlite, outboxMigrations } from '../../platform/index.ts';
import { adoptionMigrations } from '../adoption/schema.ts';
import { scrubMigrations } from './schema.ts';

const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const CONFIG = 'application/vnd.oci.image.config.v1+json';

/** A database and a file store with a repository, and what a test does to them behind their backs. */
export interface TestStorage {
  readonly database: Database;
  readonly blobs: BlobStore;
  readonly root: string;
  /** The database's file. */
  readonly file: string;
  readonly repositoryId: number;
  readonly clock: { now(): number; set(time: number): void };
  readonly log: ReturnType<typeof createLog>;
  /** Stores a blob as a push does. */
  push(bytes?: Uint8Array): Promise<string>;
  /** Stores an image of one blob and gives the number and digest of its manifest. */
  pushImage(tag: string, layer: string, size: number): Promise<{ id: number; digest: string; bytes: Uint8Array }>;
  pathOf(digest: string): string;
  overwrite(digest: string, bytes: Uint8Array): Promise<void>;
  cut(digest: string, size: number): Promise<void>;
  lose(digest: string): Promise<void>;
  remove(): Promise<void>;
}

export async function testStorage(): Promise<TestStorage> {
  const folder = mkdtempSync(join(tmpdir(), 'entrepot-scrub-'));
  const root = join(folder, 'storage');
  const file = join(folder, 'test.db');
  const database = openSqlite(file, { checkpoint: false });
  await database.migrate([
    ...catalogMigrations,
    ...jobMigrations,
    ...outboxMigrations,
    ...auditMigrations,
    ...scrubMigrations,
    ...adoptionMigrations,
  ]);
  const blobs = openFileStore(root);
  let now = 1_000_000;
  const clock = {
    now: () => now,
    set: (time: number) => {
      now = time;
    },
  };
  const repositoryId = await database.write(async (tx) => {
    await createProject(tx, { name: 'demo', public: false, by: 'ann', now });
    return (await ensureRepository(tx, 'demo/app', 'ann', now)).id;
  });
  const pathOf = (digest: string) => {
    const [algorithm = '', hex = ''] = digest.split(':');
    return join(root, 'blobs', algorithm, hex.slice(0, 2), hex, 'data');
  };
  return {
    ...{ database, file, blobs, root, repositoryId, clock, pathOf, log: createLog('silent') },
    async push(bytes = randomBytes(1000)) {
      const digest = digestOf(bytes);
      await blobs.put(digest, bytes);
      await database.write(async (tx) => {
        await keepStored(tx, { digest, size: bytes.length }, now);
        await linkBlob(tx, repositoryId, { digest, size: bytes.length }, now);
      });
      return digest;
    },
    async pushImage(tag, layer, size) {
      const bytes = Buffer.from(
        JSON.stringify({
          ...{ schemaVersion: 2, mediaType: IMAGE, annotations: { tag } },
          config: { mediaType: CONFIG, digest: layer, size },
          layers: [],
        }),
      );
      const digest = digestOf(bytes);
      const manifest = {
        ...{ kind: 'image', mediaType: IMAGE, children: [], artifactType: undefined, annotations: undefined, subject: undefined },
        blobs: [{ digest: layer, size, mediaType: 'application/octet-stream' }],
      } as unknown as Manifest;
      const sparse = { children: false, blobs: false };
      await database.write((tx) => putManifest(tx, { repositoryId, digest, bytes, manifest, tags: [tag], sparse, by: 'ann', now }));
      const id = (await findManifest(database, repositoryId, digest))?.id ?? 0;
      return { id, digest, bytes };
    },
    overwrite: (digest, bytes) => writeFile(pathOf(digest), bytes),
    cut: (digest, size) => truncate(pathOf(digest), size),
    lose: (digest) => rm(pathOf(digest)),
    async remove() {
      await database.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
