import { digestOf, type Manifest } from '@entrepot/oci';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { roomData } from '../platform/database/testing.ts';
import { type Database, outboxMigrations, queriesOf } from '../platform/index.ts';
import { pageOfAffected, tagsOfAffected } from './affected.ts';
import { findBlob, linkBlob, repositoriesWithBlob } from './blobs.ts';
import { type ContradictionKind, contradictions, mendLink, mendStrayReferences } from './consistency.ts';
import { damagedToCheck, isDamagedIn, liftQuarantine, pageOfDamaged, postponeRepair, quarantineBlob } from './damage.ts';
import { holdsInForce, releaseHold, renewHold, takeHold } from './holds.ts';
import { markManifestDamaged, pageOfDamagedManifests } from './manifest-damage.ts';
import { findManifest, manifestBytes, putManifest, setManifestContent } from './manifests.ts';
import { createProject, ensureRepository } from './projects.ts';
import { catalogMigrations } from './schema.ts';

const query = queriesOf<{ outbox_event: { id: number; topic: string; repository: string } }>('test');
const events = query()('damageEvents', (db) => db.selectFrom('outbox_event').select(['topic', 'repository']).orderBy('id'));
const IMAGE = 'application/vnd.oci.image.manifest.v1+json';

let store: ReturnType<typeof roomData>;
let database: Database;
let repositoryId: number;
let other: number;
const digest = digestOf('some bytes');

beforeEach(async () => {
  store = roomData([...catalogMigrations, ...outboxMigrations]);
  database = await store.open();
  await database.write(async (tx) => {
    await createProject(tx, { name: 'demo', public: false, by: 'ann', now: 1 });
    repositoryId = (await ensureRepository(tx, 'demo/app', 'ann', 1)).id;
    other = (await ensureRepository(tx, 'demo/other', 'ann', 1)).id;
    await linkBlob(tx, repositoryId, { digest, size: 10 }, 1);
    await linkBlob(tx, other, { digest, size: 10 }, 1);
  });
});
afterEach(() => store.remove());

const quarantine = (now = 2) =>
  database.write((tx) => quarantineBlob(tx, { digest, problem: 'hash', detail: 'other bytes', by: 'scrub', now, checkAt: now + 10 }));
const topics = async () =>
  (await database.all(events, {}))
    .filter(({ topic }) => topic.startsWith('blob.'))
    .map(({ topic, repository }) => `${topic} ${repository}`);

describe('a damaged blob', () => {
  it('is not there for anybody until its quarantine is lifted', async () => {
    expect(await findBlob(database, repositoryId, digest)).toMatchObject({ size: 10 });
    expect(await quarantine()).toBe(true);
    expect(await findBlob(database, repositoryId, digest)).toBeUndefined();
    expect(await findBlob(database, other, digest)).toBeUndefined();
    expect(await repositoriesWithBlob(database, digest, 0, 10)).toEqual([]);
    expect(await isDamagedIn(database, repositoryId, digest)).toBe(true);
    expect(await isDamagedIn(database, 99, digest)).toBe(false);
    expect(await database.write((tx) => liftQuarantine(tx, digest, 'push', 'ann', 3))).toBe(true);
    expect(await findBlob(database, repositoryId, digest)).toMatchObject({ size: 10 });
    expect(await database.write((tx) => liftQuarantine(tx, digest, 'push', 'ann', 3))).toBe(false);
  });

  it('is seen at once by another process that had it in memory', async () => {
    const beside = await store.open();
    expect(await findBlob(beside, repositoryId, digest)).toMatchObject({ size: 10 });
    await quarantine();
    await new Promise(setImmediate);
    expect(await findBlob(beside, repositoryId, digest)).toBeUndefined();
  });

  it('is announced once to each repository that holds it', async () => {
    await quarantine();
    expect(await quarantine(5)).toBe(false);
    expect((await pageOfDamaged(database, '', 10))[0]).toMatchObject({ digest, problem: 'hash', foundAt: 2 });
    await database.write((tx) => liftQuarantine(tx, digest, 'push', 'ann', 3));
    expect(await topics()).toEqual([
      'blob.damaged demo/app',
      'blob.damaged demo/other',
      'blob.repaired demo/app',
      'blob.repaired demo/other',
    ]);
  });

  it('refuses a manifest that needs it, so that its client pushes it again', async () => {
    await quarantine();
    const bytes = Buffer.from('{}');
    const blob = { digest, size: 10, mediaType: 'application/octet-stream' };
    const manifest = { kind: 'image', mediaType: IMAGE, blobs: [blob], children: [] } as unknown as Manifest;
    const push = { repositoryId, digest: digestOf(bytes), bytes, manifest, tags: [], by: 'ann', now: 3 };
    const put = () => database.write((tx) => putManifest(tx, { ...push, sparse: { children: false, blobs: false } }));
    await expect(put()).rejects.toMatchObject({ code: 'manifest_blob_unknown' });
    await database.write((tx) => liftQuarantine(tx, digest, 'push', 'ann', 3));
    await expect(put()).resolves.toEqual({ created: true });
  });

  it('comes up for repair when its time has come', async () => {
    await quarantine();
    expect(await damagedToCheck(database, 11, '', 10)).toEqual([]);
    expect(await damagedToCheck(database, 12, '', 10)).toHaveLength(1);
    await database.write((tx) => postponeRepair(tx, digest, 1, 50));
    expect(await damagedToCheck(database, 49, '', 10)).toEqual([]);
    expect(await damagedToCheck(database, 50, '', 10)).toMatchObject([{ checks: 1 }]);
  });
});

describe('a damaged manifest', () => {
  it('is mended by another push of the same bytes', async () => {
    const bytes = Buffer.from('{"x":1}');
    const manifest = { kind: 'index', mediaType: IMAGE, blobs: [], children: [] } as unknown as Manifest;
    const push = { repositoryId, digest: digestOf(bytes), bytes, manifest, tags: [], by: 'ann', now: 3 };
    const put = () => database.write((tx) => putManifest(tx, { ...push, sparse: { children: false, blobs: false } }));
    await put();
    const id = (await findManifest(database, repositoryId, push.digest))?.id ?? 0;
    await database.write(async (tx) => {
      await setManifestContent(tx, id, Buffer.from('{"x":2}'));
      await markManifestDamaged(tx, id, 'hash', 4);
    });
    expect(await pageOfDamagedManifests(database, 0, 10)).toMatchObject([{ id, digest: push.digest, repository: 'demo/app' }]);
    expect(await put()).toEqual({ created: false });
    expect(Buffer.from((await manifestBytes(database, id)) ?? '').toString()).toBe('{"x":1}');
    expect(await pageOfDamagedManifests(database, 0, 10)).toEqual([]);
  });
});

describe('a hold of collection', () => {
  const held = async (now: number) => (await holdsInForce(database, now)).map(({ id }) => id);

  it('holds until it lapses or is released, and is not renewed once it lapsed', async () => {
    await database.write((tx) => takeHold(tx, { id: 'a', reason: 'backup', now: 100, until: 200 }));
    await database.write((tx) => takeHold(tx, { id: 'b', reason: 'backup', now: 101, until: 150 }));
    expect(await held(149)).toEqual(['a', 'b']);
    expect(await held(150)).toEqual(['a']);
    expect(await database.write((tx) => renewHold(tx, 'b', 150, 300))).toBe(false);
    expect(await database.write((tx) => renewHold(tx, 'a', 199, 300))).toBe(true);
    expect(await held(299)).toEqual(['a']);
    expect(await database.write((tx) => releaseHold(tx, 'a'))).toBe(true);
    expect(await held(250)).toEqual([]);
  });

  it('is forgotten after it lapsed, when another is taken', async () => {
    await database.write((tx) => takeHold(tx, { id: 'a', reason: 'backup', now: 100, until: 200 }));
    await database.write((tx) => takeHold(tx, { id: 'b', reason: 'backup', now: 201, until: 300 }));
    expect(await held(0)).toEqual(['b']);
  });
});

describe('what the tables say of each other', () => {
  const KINDS: readonly ContradictionKind[] = [
    ...(['tagsAstray', 'contentAstray', 'childrenAstray', 'blobsAstray', 'referencesAstray', 'linksAstray'] as const),
    ...(['historyAstray', 'linksKept', 'linksOpen', 'storedKept'] as const),
  ];

  it('is asked of any database, and mended there', async () => {
    const found = async () => {
      const all: string[] = [];
      for (const kind of KINDS) for (const { name } of await contradictions(database, kind, 10)) all.push(`${kind} ${name}`);
      return all;
    };
    expect(await found()).toEqual([`linksAstray ${digest}`, `linksAstray ${digest}`]); // linked by a test that stored nothing
    await database.write(async (tx) => {
      await mendLink(tx, repositoryId, digest, 5);
      await mendStrayReferences(tx, 99);
    });
    const page = { digest, repositoryId: 0, manifestId: 0, limit: 10 };
    expect(await pageOfAffected(database, page)).toEqual([]);
    expect(await tagsOfAffected(database, { repositoryId, digest }, 10)).toEqual([]);
  });
});
