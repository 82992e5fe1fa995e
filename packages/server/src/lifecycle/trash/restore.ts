import {
  detachTrash,
  findManifest,
  findManifestInTrash,
  findTag,
  findTrashItem,
  forgetItem,
  manifestsToRestore,
  noteRestoring,
  type Restoring,
  restoreManifest,
  restoreRepository,
  restoreTag,
  type TrashItem,
  trashWith,
} from '../../catalog/index.ts';
import { AppError, type Database, enqueue, type Session } from '../../platform/index.ts';

/** What is restored in one transaction; more is a job's work. */
const AT_ONCE = { manifests: 100, tags: 500 } as const;
const BATCH = { manifests: 20, tags: 200 } as const;

export const RESTORE = 'trash.restore';

export interface Restored {
  readonly id: number;
  readonly kind: TrashItem['kind'];
  /** Full name of the repository, as it is now. */
  readonly repository: string;
  readonly name: string;
  readonly manifests: number;
  readonly tags: readonly string[];
  /** Tags that lead elsewhere meanwhile and were left so. */
  readonly skipped: readonly string[];
  /** The job that restores it, where it is large. */
  readonly job: number | null;
}

/** What a job is told. */
export interface RestoreOrder {
  readonly itemId: number;
  readonly by: string;
  readonly replace: boolean;
}

/** Manifests of one restoration, in the order in which they can come back, and those of them whose tags come back too. */
interface Plan {
  readonly manifests: readonly TrashItem[];
  readonly tagged: readonly TrashItem[];
}

async function planOf(session: Session, item: TrashItem, how: Restoring, most: number): Promise<Plan | undefined> {
  const root = item.kind === 'tag' ? await manifestOf(session, item) : item;
  if (!root) return { manifests: [], tagged: [] };
  const manifests = await manifestsToRestore(session, root, how, most);
  if (!manifests || item.kind === 'tag') return manifests && { manifests, tagged: [] };
  const together = new Set([root.id]);
  for (const { id, withId } of manifests) if (withId !== null && together.has(withId)) together.add(id);
  return { manifests, tagged: manifests.filter(({ id }) => together.has(id)) };
}

/** The manifest of a tag, where it is in the trash too; undefined where it is there. Throws `conflict` where it is neither. */
async function manifestOf(session: Session, { repositoryId, name, digest }: TrashItem): Promise<TrashItem | undefined> {
  if (digest === null || (await findManifest(session, repositoryId, digest))) return undefined;
  const found = await findManifestInTrash(session, repositoryId, digest);
  if (!found) throw new AppError('conflict', `tag ${name} cannot be restored: manifest ${digest} is not there any more`);
  return found;
}

/**
 * Brings an item back, with all that it needs and went with it: in this transaction, or by a job where that is much. Throws
 * `conflict` where it cannot come back. `name` is the one that a repository gets.
 */
export async function restoreItem(tx: Session, item: TrashItem, how: Restoring, name = item.name): Promise<Restored> {
  const { id, kind, repository } = item;
  const told = { id, kind, repository, name, manifests: 0, tags: [], skipped: [], job: null };
  if (item.jobId !== null) throw new AppError('conflict', `${item.name} is being restored`);
  if (kind === 'repository') {
    await restoreRepository(tx, item, name, how);
    return { ...told, repository: name };
  }
  if (kind === 'tag') await requireFree(tx, item, how);
  const plan = await planOf(tx, item, how, AT_ONCE.manifests);
  const tags = plan && (await tagsOf(tx, plan.tagged, AT_ONCE.tags));
  if (!plan || !tags) {
    const order: RestoreOrder = { itemId: id, by: how.by, replace: how.replace };
    const job = await enqueue(tx, { kind: RESTORE, payload: order, key: String(id), now: how.now });
    await noteRestoring(tx, id, job, null);
    return { ...told, job };
  }
  for (const manifest of plan.manifests) await restoreManifest(tx, manifest, how);
  const skipped: string[] = [];
  if (kind === 'tag') await restoreTag(tx, item, how);
  for (const tag of tags) if (!(await restoreTag(tx, tag, how))) skipped.push(tag.name);
  for (const manifest of plan.manifests) await settle(tx, manifest);
  const restored = kind === 'tag' ? [name] : tags.map((tag) => tag.name).filter((tag) => !skipped.includes(tag));
  return { ...told, manifests: plan.manifests.length, tags: restored, skipped };
}

/** Who restores a tag alone wants that tag: it is not left where it leads elsewhere. */
async function requireFree(session: Session, { repositoryId, name, digest }: TrashItem, { replace }: Restoring): Promise<void> {
  const current = await findTag(session, repositoryId, name);
  if (replace || current === undefined || current === digest) return;
  throw new AppError('conflict', `tag ${name} leads to ${current} meanwhile; ask with replace to move it back`);
}

/** Tags that went with manifests; undefined where there are more than `most`. */
async function tagsOf(session: Session, manifests: readonly TrashItem[], most: number): Promise<TrashItem[] | undefined> {
  const tags: TrashItem[] = [];
  for (const { id } of manifests) {
    tags.push(...(await trashWith(session, id, 'tag', '', most + 1 - tags.length)));
    if (tags.length > most) return undefined;
  }
  return tags;
}

async function settle(tx: Session, { id }: TrashItem): Promise<void> {
  await detachTrash(tx, id);
  await forgetItem(tx, id);
}

interface Work {
  readonly database: Database;
  readonly how: Restoring;
  readonly signal: AbortSignal;
  progress(value: unknown): Promise<void>;
}

/**
 * Brings a large item back in many transactions. After each of them all that is there is whole; who comes again after a crash
 * goes on where it ended, as what is not yet back in all its parts is still in the trash.
 */
export async function restoreLarge(
  itemId: number,
  { database, how, signal, progress }: Work,
): Promise<{ manifests: number; tags: number; skipped: number }> {
  const done = { manifests: 0, tags: 0, skipped: 0 };
  const item = await findTrashItem(database, itemId);
  if (!item) return done; // done by an earlier run, or expired meanwhile
  const plan = await planOf(database, item, how, Number.MAX_SAFE_INTEGER);
  const manifests = plan?.manifests ?? [];
  const tagged = new Set(plan?.tagged.map(({ id }) => id));
  const step = async (work: (tx: Session) => Promise<void>) => {
    signal.throwIfAborted();
    await database.write(work);
    await progress(done);
  };
  for (let at = 0; at < manifests.length; at += BATCH.manifests) {
    const some = manifests.slice(at, at + BATCH.manifests);
    await step(async (tx) => {
      for (const manifest of some) {
        await restoreManifest(tx, manifest, how);
        if (!tagged.has(manifest.id)) await settle(tx, manifest);
      }
    });
    done.manifests += some.length;
  }
  for (const manifest of manifests.filter(({ id }) => tagged.has(id))) {
    for (;;) {
      const tags = await trashWith(database, manifest.id, 'tag', '', BATCH.tags);
      if (tags.length === 0) break;
      let skipped = 0;
      await step(async (tx) => {
        skipped = 0;
        for (const tag of tags) if (!(await restoreTag(tx, tag, how))) skipped++;
      });
      done.tags += tags.length - skipped;
      done.skipped += skipped;
    }
  }
  // The item itself last: by it an interrupted run finds the others.
  const rest = manifests.filter(({ id }) => tagged.has(id) && id !== itemId);
  for (let at = 0; at < rest.length; at += BATCH.tags) {
    const some = rest.slice(at, at + BATCH.tags);
    await step(async (tx) => {
      for (const manifest of some) await settle(tx, manifest);
    });
  }
  await step(async (tx) => {
    if (item.kind !== 'tag') await settle(tx, item);
    else if (!(await restoreTag(tx, item, how))) await noteRestoring(tx, itemId, null, 'the tag leads elsewhere meanwhile');
  });
  return done;
}
