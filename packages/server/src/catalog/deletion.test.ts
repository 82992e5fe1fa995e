import { digestOf, parseManifest } from '@entrepot/oci';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { roomData } from '../platform/database/testing.ts';
import { type Database, jobMigrations, outboxMigrations } from '../platform/index.ts';
import { linkBlob } from './blobs.ts';
import { changedKeys, compareParts, sideOf } from './compare.ts';
import { blockersOf, deleteManifestWith, freedByManifests, manifestsToDelete, repositoryContents } from './deletion.ts';
import { addImmutabilityRule } from './immutability-rules.ts';
import { deleteManifest, findManifest, putManifest } from './manifests.ts';
import { createProject, ensureRepository } from './projects.ts';
import { catalogMigrations } from './schema.ts';
import { findManifestInTrash, trashWith } from './trash-list.ts';

let store: ReturnType<typeof roomData>;
let database: Database;
const repositories = new Map<string, { id: number; projectId: number }>();
const [by, now] = ['ann', 5];

beforeEach(async () => {
  store = roomData([...catalogMigrations, ...outboxMigrations, ...jobMigrations]);
  database = await store.open();
  await database.write(async (tx) => {
    for (const project of ['demo', 'other']) {
      await createProject(tx, { name: project, public: false, by, now });
      for (const name of ['app', 'base']) repositories.set(`${project}/${name}`, await ensureRepository(tx, `${project}/${name}`, by, now));
    }
  });
});
afterEach(() => store.remove());

const idOf = (name: string) => repositories.get(name)?.id ?? 0;
const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';
const described = (mediaType: string, bytes: Uint8Array) => ({ mediaType, digest: digestOf(bytes), size: bytes.length });
const layer = (text: string) => described('application/vnd.oci.image.layer.v1.tar', Buffer.from(text));

function image(layers: string[], extra: object = {}): Buffer {
  const config = described('application/vnd.oci.image.config.v1+json', Buffer.from('config'));
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: IMAGE, config, layers: layers.map(layer), ...extra }));
}
const about = (subject: Buffer, note: string) => image([note], { subject: described(IMAGE, subject), artifactType: 'x/signature' });
const index = (...children: Buffer[]) =>
  Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests: children.map((child) => described(IMAGE, child)) }));

async function push(repository: string, bytes: Buffer, ...tags: string[]): Promise<string> {
  const manifest = parseManifest(bytes, undefined);
  const digest = digestOf(bytes);
  const repositoryId = idOf(repository);
  await database.write(async (tx) => {
    for (const blob of manifest.blobs) await linkBlob(tx, repositoryId, blob, now);
    await putManifest(tx, { repositoryId, digest, bytes, manifest, tags, sparse: { children: false, blobs: false }, by, now });
  });
  return digest;
}
const plan = async (digest: string, referrers: boolean, children: boolean) =>
  await manifestsToDelete(database, idOf('demo/app'), digest, { referrers, children });
const rolesOf = async (digest: string, referrers: boolean, children: boolean) =>
  (await plan(digest, referrers, children)).map((each) => [each.role, each.digest]);

describe('what goes with a manifest', () => {
  it('is what is about it, and what is about that, by subject or by the tags of older cosign', async () => {
    const subject = image(['a']);
    const digest = await push('demo/app', subject, 'v1');
    const signature = about(subject, 'signature');
    const signed = await push('demo/app', signature);
    const nested = await push('demo/app', about(signature, 'of a signature'));
    const old = await push('demo/app', image(['old']), `${digest.replace(':', '-')}.sig`);
    await push('demo/app', image(['else']), 'other');
    expect(await rolesOf(digest, false, false)).toEqual([['self', digest]]);
    expect(await rolesOf(digest, true, false)).toEqual([
      ['self', digest],
      ['referrer', signed],
      ['referrer', old],
      ['referrer', nested],
    ]);
    await database.write((tx) => deleteManifestWith(tx, idOf('demo/app'), digest, { referrers: true, children: false }, { by, now }));
    const item = await findManifestInTrash(database, idOf('demo/app'), digest);
    const beside = await trashWith(database, item?.id ?? 0, 'manifest', '', 10);
    expect(beside.map(({ name }) => name).sort()).toEqual([signed, old, nested].sort());
    expect(await findManifest(database, idOf('demo/app'), signed)).toBeUndefined();
  });

  it('is of an index what has no tag and what no other index needs', async () => {
    const [mine, shared, tagged] = [image(['a']), image(['b']), image(['c'])];
    for (const child of [mine, shared]) await push('demo/app', child);
    await push('demo/app', tagged, 'kept');
    const inner = index(mine);
    await push('demo/app', inner);
    const digest = await push('demo/app', index(mine, shared, tagged, inner), 'multi');
    await push('demo/app', index(shared), 'another');
    expect(await rolesOf(digest, false, true)).toEqual([
      ['self', digest],
      ['child', digestOf(inner)],
      ['child', digestOf(mine)],
    ]);
    await database.write((tx) => deleteManifestWith(tx, idOf('demo/app'), digest, { referrers: false, children: true }, { by, now }));
    expect(await findManifest(database, idOf('demo/app'), digestOf(shared))).toBeDefined();
    expect(await findManifest(database, idOf('demo/app'), digestOf(tagged))).toBeDefined();
    expect(await findManifest(database, idOf('demo/app'), digestOf(inner))).toBeUndefined();
  });
});

describe('what is in the way', () => {
  it('is told: indexes that need it, and tags that rules hold, of what goes with it too', async () => {
    const child = image(['a']);
    const digest = await push('demo/app', child, 'v1', 'free');
    const signature = about(child, 'signature');
    await push('demo/app', signature, 'v-sig');
    const parent = await push('demo/app', index(child));
    const selector = { repositories: { include: ['**'], exclude: [] }, tags: { include: ['v*'], exclude: [] } };
    const projectId = repositories.get('demo/app')?.projectId ?? 0;
    await database.write((tx) =>
      addImmutabilityRule(tx, projectId, { name: 'releases', description: '', selector, enabled: true }, { by, now }),
    );
    const found = await blockersOf(database, idOf('demo/app'), await plan(digest, true, false));
    expect(found.neededBy).toEqual([parent]);
    expect(found.immutable.map(({ tag, rule }) => [tag, rule.name])).toEqual([
      ['v1', 'releases'],
      ['v-sig', 'releases'],
    ]);
  });
});

describe('bytes freed', () => {
  const freed = async (digest: string, others: number) =>
    await freedByManifests(database, idOf('demo/app'), await plan(digest, true, false), others);

  it('are those of blobs that nothing else needs: in the repository, the project, the registry, or the trash', async () => {
    const projectId = repositories.get('demo/app')?.projectId ?? 0;
    const digest = await push('demo/app', image(['mine', 'twice', 'in base', 'of others', 'in trash']));
    await push('demo/app', image(['twice']), 'x');
    await push('demo/base', image(['in base']));
    await push('other/app', image(['of others']));
    const gone = await push('demo/app', image(['in trash']));
    await database.write((tx) => deleteManifest(tx, idOf('demo/app'), gone, by, now));
    expect(await freed(digest, projectId)).toEqual({ blobs: 2, bytes: 'mine'.length + 'of others'.length });
    expect(await freed(digest, 0)).toEqual({ blobs: 1, bytes: 'mine'.length });
  });

  it('count a blob once that several of the deleted need, and a mere link elsewhere for nothing', async () => {
    const subject = image(['same', 'same too']);
    const digest = await push('demo/app', subject);
    await push('demo/app', image(['same'], { subject: described(IMAGE, subject) }));
    await database.write((tx) => linkBlob(tx, idOf('other/app'), layer('same'), now));
    expect(await freed(digest, 0)).toEqual({ blobs: 3, bytes: 'same'.length + 'same too'.length + 'config'.length });
  });

  it('of a repository are those that no other needs', async () => {
    const projectId = repositories.get('demo/app')?.projectId ?? 0;
    await push('demo/app', image(['mine', 'of others']), 'a', 'b');
    await push('other/app', image(['of others']));
    const mine = { blobs: 3, bytes: 'mine'.length + 'of others'.length + 'config'.length };
    expect(await repositoryContents(database, idOf('demo/app'), projectId)).toEqual({ tags: 2, manifests: 1, exact: true, freed: mine });
    expect((await repositoryContents(database, idOf('demo/app'), 0)).freed).toEqual({ blobs: 1, bytes: 'mine'.length });
  });
});

describe('a comparison', () => {
  it('says which parts differ, also of what is in the trash, for who may look there', async () => {
    const one = await push('demo/app', image(['base', 'old'], { annotations: { same: '1', gone: '2', constructor: 'x' } }));
    const two = await push('demo/app', image(['base', 'new', 'more'], { annotations: { same: '1', gone: '3', fresh: '4' } }));
    await database.write((tx) => deleteManifest(tx, idOf('demo/app'), one, by, now));
    expect(await sideOf(database, idOf('demo/app'), one, false)).toBeUndefined();
    const from = await sideOf(database, idOf('demo/app'), one, true);
    const to = await sideOf(database, idOf('demo/app'), two, false);
    const { added, removed, kept } = compareParts(from?.blobs ?? [], to?.blobs ?? []);
    expect(added.map(({ digest }) => digest)).toEqual([layer('new').digest, layer('more').digest]);
    expect(removed.map(({ size }) => size)).toEqual([3]);
    expect(kept).toHaveLength(2);
    expect(changedKeys(from?.annotations ?? {}, to?.annotations ?? {})).toEqual(['constructor', 'fresh', 'gone']);
  });
});
