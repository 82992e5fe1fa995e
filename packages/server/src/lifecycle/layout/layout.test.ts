import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOf, MEDIA_TYPE, parseManifest } from '@entrepot/oci';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { accessMigrations } from '../../access/index.ts';
import {
  catalogMigrations,
  createProject,
  deleteManifest,
  deleteTag,
  ENDLESS,
  ensureRepository,
  findManifest,
  findTag,
  keepStored,
  linkBlob,
  putManifest,
  setTag,
} from '../../catalog/index.ts';
import { openFileStore } from '../../content/index.ts';
import { sqliteData } from '../../platform/database/testing.ts';
import { auditMigrations, type Database, jobMigrations, outboxMigrations, systemClock } from '../../platform/index.ts';
import { adoptStorage, openFileTree, openFileTreeWriter } from '../adoption/index.ts';
import { adoptionMigrations } from '../adoption/schema.ts';
import type { LayoutParts } from './files.ts';
import { fillLayout } from './fill.ts';
import { deliverEvents } from './open.ts';

const cleanups: (() => void | Promise<void>)[] = [];
afterAll(async () => {
  for (const cleanup of cleanups) await cleanup();
});

const migrations = [
  ...catalogMigrations,
  ...accessMigrations,
  ...auditMigrations,
  ...outboxMigrations,
  ...jobMigrations,
  ...adoptionMigrations,
];
const NAME = 'demo/app';
const BY = 'somebody';

async function newDatabase(): Promise<Database> {
  const data = sqliteData(migrations);
  cleanups.push(() => data.remove());
  return await data.open();
}

/** A registry with its storage; `fail` says whether the next file is not written any more. */
async function newRegistry(fail: () => boolean = () => false) {
  const root = mkdtempSync(join(tmpdir(), 'entrepot-layout-'));
  cleanups.push(() => rmSync(root, { recursive: true, force: true }));
  mkdirSync(join(root, 'repositories'));
  const database = await newDatabase();
  const blobs = openFileStore(root);
  const writer = openFileTreeWriter(root, join(root, 'uploads'));
  const mortal =
    <W extends unknown[]>(work: (...words: W) => Promise<void>) =>
    async (...words: W) => {
      if (fail()) throw new Error('killed');
      await work(...words);
    };
  const tree = {
    ...openFileTree(root),
    write: mortal(writer.write),
    remove: mortal(writer.remove),
    removeFolder: mortal(writer.removeFolder),
  };
  const parts: LayoutParts = { database, blobs, tree, manifestMaxBytes: 1 << 20 };
  await database.write((tx) => createProject(tx, { name: 'demo', public: false, by: BY, now: 1 }));
  const { id } = await database.write((tx) => ensureRepository(tx, NAME, BY, 1));

  async function push(content: string, tags: readonly string[]): Promise<string> {
    const parts = ['{}', content].map((text) => ({
      mediaType: 'application/vnd.oci.image.layer.v1.tar',
      digest: digestOf(text),
      size: text.length,
    }));
    for (const text of ['{}', content]) await blobs.put(digestOf(text), Buffer.from(text));
    const bytes = Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPE.ociManifest, config: parts[0], layers: parts.slice(1) }),
    );
    const digest = digestOf(bytes);
    await database.write(async (tx) => {
      for (const part of parts) {
        await keepStored(tx, part, 1);
        await linkBlob(tx, id, part, 1, ENDLESS);
      }
      const manifest = parseManifest(bytes, undefined);
      const sparse = { children: false, blobs: false };
      await putManifest(tx, { repositoryId: id, digest, bytes, manifest, tags, sparse, by: BY, now: 1, room: ENDLESS });
    });
    return digest;
  }
  return { root, database, parts, id, push };
}

/** What the old registry would find: its tags, from a catalogue that is made of the files alone. */
async function readBack(root: string): Promise<{ damage: number; manifests: number; database: Database }> {
  const database = await newDatabase();
  const report = await adoptStorage({
    ...{ database, clock: systemClock, tree: openFileTree(root), verify: true, update: false, public: false },
    config: { sparseImages: false, sparseIndexes: false, manifestMaxBytes: 1 << 20 },
    actor: { kind: 'command-line', id: null, name: 'operator', credential: null },
    lease: { who: 'somebody', isAlone: true },
    onProgress: () => undefined,
  });
  return { damage: report.damage, manifests: report.counts.manifests, database };
}

describe('files of registry:2', () => {
  it('are what the catalogue is, whatever changed and wherever writing them was cut off', async () => {
    const content = fc.constantFrom('a', 'b', 'c');
    const tag = fc.constantFrom('v1', 'v2');
    const step = fc.oneof(
      fc.record({ do: fc.constant('push' as const), content, tag }),
      fc.record({ do: fc.constant('move' as const), content, tag }),
      fc.record({ do: fc.constant('untag' as const), content, tag }),
      fc.record({ do: fc.constant('delete' as const), content, tag }),
      fc.record({ do: fc.constant('deliver' as const), content, tag }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), fc.nat(20), async (steps, kill) => {
        let left = Number.POSITIVE_INFINITY;
        const { root, database, parts, id, push } = await newRegistry(() => left-- <= 0);
        const digests = new Map<string, string>();
        for (const { do: what, content: text, tag: name } of steps) {
          const digest = digests.get(text) ?? '';
          const stored = await findManifest(database, id, digest);
          if (what === 'push') digests.set(text, await push(text, [name]));
          else if (what === 'move' && stored) await database.write((tx) => setTag(tx, { repositoryId: id, name, digest, now: 2, by: BY }));
          else if (what === 'untag' && (await findTag(database, id, name)))
            await database.write((tx) => deleteTag(tx, { repositoryId: id, name, now: 2, by: BY }));
          else if (what === 'delete' && stored) await database.write((tx) => deleteManifest(tx, id, digest, BY, 2));
          else if (what === 'deliver') {
            left = kill;
            await deliverEvents(parts, systemClock).catch((error: Error) => expect(error.message).toBe('killed'));
            left = Number.POSITIVE_INFINITY;
          }
        }
        await deliverEvents(parts, systemClock);
        const back = await readBack(root);
        expect(back.damage).toBe(0);
        const found = async (name: string, of: Database) => await findTag(of, of === database ? id : 1, name);
        for (const name of ['v1', 'v2']) expect(await found(name, back.database)).toBe(await found(name, database));
        let manifests = 0;
        for (const digest of digests.values()) if (await findManifest(database, id, digest)) manifests++;
        expect(back.manifests).toBe(manifests);
      }),
      { numRuns: 25 },
    );
  });

  it('of what was there before are written once, and mended where they are wrong', async () => {
    const { root, parts, push, database, id } = await newRegistry();
    const digests = [await push('a', ['v1']), await push('b', ['v2', 'v3'])];
    expect(await fillLayout(parts)).toEqual({ manifests: 2, tags: 3 });
    expect(await readBack(root)).toMatchObject({ damage: 0, manifests: 2 });
    const link = (name: string) => `repositories/${NAME}/_manifests/tags/${name}/current/link`;
    await parts.tree.write(link('v1'), Buffer.from(''));
    await parts.tree.removeFolder(`repositories/${NAME}/_layers`);
    expect((await readBack(root)).damage).toBeGreaterThan(0);
    await fillLayout(parts);
    const back = await readBack(root);
    expect(back.damage).toBe(0);
    expect(await findTag(back.database, 1, 'v1')).toBe(digests[0]);
    expect(await findTag(database, id, 'v1')).toBe(digests[0]);
  });
});
