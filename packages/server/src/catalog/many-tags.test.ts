import { digestOf, parseManifest } from '@entrepot/oci';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { roomData } from '../platform/database/testing.ts';
import { type Database, jobMigrations, outboxMigrations } from '../platform/index.ts';
import { linkBlob } from './blobs.ts';
import { countTagsOf, manifestsToDelete } from './deletion.ts';
import { addImmutabilityRule } from './immutability-rules.ts';
import { deleteManifest, findManifest, putManifest } from './manifests.ts';
import { shedTags } from './many-tags.ts';
import { createProject, ensureRepository } from './projects.ts';
import { catalogMigrations } from './schema.ts';
import { findTag, setTag } from './tags.ts';
import { findManifestInTrash, trashWith } from './trash-list.ts';
import { detachTrash, type Restoring, restoreManifest, restoreTag } from './trash-restore.ts';
import { usageOf } from './usage.ts';

const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';
const [by, now] = ['ann', 5];
/** `ENTREPOT_MANY_TAGS=100000` is the proof in earnest, with the limits as they are. */
const MANY = Number(process.env.ENTREPOT_MANY_TAGS ?? 43);
const LIMITS = MANY > 1000 ? { atOnce: 500, batch: 100 } : { atOnce: 10, batch: 5 };
const config = Buffer.from('config');
const bytes = Buffer.from(
  JSON.stringify({
    ...{ schemaVersion: 2, mediaType: IMAGE, layers: [] },
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digestOf(config), size: config.length },
  }),
);
const digest = digestOf(bytes);

describe('a manifest with very many tags', { timeout: MANY > 1000 ? 600_000 : 60_000 }, () => {
  let store: ReturnType<typeof roomData>;
  let database: Database;
  let repository: { id: number; name: string; projectId: number };
  let recorded: string[];

  beforeEach(async () => {
    store = roomData([...catalogMigrations, ...outboxMigrations, ...jobMigrations]);
    database = await store.open();
    recorded = [];
    repository = await database.write(async (tx) => {
      await createProject(tx, { name: 'demo', public: false, by, now });
      return { ...(await ensureRepository(tx, 'demo/app', by, now)), name: 'demo/app' };
    });
    await put(bytes);
    for (let from = 0; from < MANY; from += 1000) {
      await database.write(async (tx) => {
        for (let at = from; at < Math.min(from + 1000, MANY); at++) await tagAs(tx, `t${String(at).padStart(6, '0')}`);
      });
    }
  });
  afterEach(() => store.remove());

  const put = (content: Buffer) =>
    database.write(async (tx) => {
      const manifest = parseManifest(content, undefined);
      for (const blob of manifest.blobs) await linkBlob(tx, repository.id, blob, now);
      const sparse = { children: false, blobs: false };
      await putManifest(tx, {
        repositoryId: repository.id,
        digest: digestOf(content),
        bytes: content,
        manifest,
        tags: [],
        sparse,
        by,
        now,
      });
    });
  const tagAs = (tx: Parameters<typeof setTag>[0], name: string) =>
    setTag(tx, { repositoryId: repository.id, name, digest, now, by, silent: true });
  const tagsLeft = () => countTagsOf(database, repository.id, digest);
  const doomed = () => manifestsToDelete(database, repository.id, digest, { referrers: false, children: false });
  async function shed(through: Database = database) {
    const record = async (_: unknown, __: string, tags: readonly string[]) => void recorded.push(...tags);
    return await shedTags(through, await doomed(), { repository, by, now, record, limits: LIMITS });
  }
  const remove = () => database.write((tx) => deleteManifest(tx, repository.id, digest, by, now));
  /** A database in front of which something happens before each change. */
  const around = (before: (nth: number) => Promise<void>): Database => {
    let writes = 0;
    return Object.assign(Object.create(database) as Database, {
      write: async (work: never, options: never) => {
        await before(writes++);
        return await database.write(work, options);
      },
      all: database.all.bind(database),
      first: database.first.bind(database),
    });
  };
  const inTrash = async () => {
    const item = await findManifestInTrash(database, repository.id, digest);
    return { item, tags: item ? await trashWith(database, item.id, 'tag', '', MANY + 100) : [] };
  };

  it('loses them in steps, after each of which all is whole, with those that are pushed meanwhile', async () => {
    let before = MANY + 1;
    const slow = around(async (nth) => {
      const left = await tagsLeft();
      expect(left).toBeLessThan(before);
      before = left + 3;
      expect(await findManifest(database, repository.id, digest)).toBeDefined();
      expect((await usageOf(database, repository.projectId)).tags).toBe(left);
      await database.write((tx) => tagAs(tx, `new-${nth}`));
    });
    expect(await shed(slow)).toBe(true);
    expect(await tagsLeft()).toBe(0);
    await database.write((tx) => tagAs(tx, 'last'));
    await remove();
    const steps = Math.ceil(MANY / LIMITS.batch);
    const { tags } = await inTrash();
    expect(tags.length).toBeGreaterThanOrEqual(MANY + steps + 1);
    expect(recorded.length + 1).toBe(tags.length);
    expect((await usageOf(database, repository.projectId)).tags).toBe(0);
  });

  it('comes back with all of them, though the deletion was interrupted and done again', async () => {
    const stopping = around(async (nth) => {
      if (nth === 2) throw new Error('the process stops');
    });
    await expect(shed(stopping)).rejects.toThrow('the process stops');
    expect(await tagsLeft()).toBe(MANY - 2 * LIMITS.batch);
    expect(await findTag(database, repository.id, `t${String(MANY - 1).padStart(6, '0')}`)).toBe(digest);
    await shed();
    await remove();
    const { item, tags } = await inTrash();
    expect(tags).toHaveLength(MANY);
    if (!item) throw new Error('not in the trash');
    const how: Restoring = { by, now, sparse: { children: false, blobs: false }, replace: false };
    await database.write((tx) => restoreManifest(tx, item, how));
    for (let from = 0; from < tags.length; from += 200) {
      await database.write(async (tx) => {
        for (const tag of tags.slice(from, from + 200)) await restoreTag(tx, tag, how);
      });
    }
    await database.write((tx) => detachTrash(tx, item.id));
    expect(await tagsLeft()).toBe(MANY);
    expect((await usageOf(database, repository.projectId)).tags).toBe(MANY);
  });

  it('loses none where the deletion would be refused', async () => {
    const selector = { repositories: { include: ['**'], exclude: [] }, tags: { include: ['release'], exclude: [] } };
    await database.write(async (tx) => {
      await tagAs(tx, 'release');
      const rule = { name: 'releases', description: '', enabled: true, selector };
      await addImmutabilityRule(tx, repository.projectId, rule, { by, now });
    });
    await expect(shed()).rejects.toMatchObject({ code: 'tag_immutable' });
    expect(await tagsLeft()).toBe(MANY + 1);
  });

  it('loses none where an index needs it, and none beforehand where there are few', async () => {
    const child = { mediaType: IMAGE, digest, size: bytes.length };
    await put(Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests: [child] })));
    await expect(shed()).rejects.toMatchObject({ code: 'manifest_referenced' });
    expect(await tagsLeft()).toBe(MANY);
    const [other] = await manifestsToDelete(database, repository.id, digest, { referrers: false, children: false });
    if (!other) throw new Error('no manifest');
    const few = await shedTags(database, [{ ...other, digest: digestOf(config) }], { repository, by, now, record: async () => undefined });
    expect(few).toBe(false);
  });
});
