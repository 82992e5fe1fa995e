import { digestOf, isRepositoryName, parseDigest, projectOf } from '@entrepot/oci';
import { AppError, queriesOf, type Session } from '../platform/index.ts';
import { announce } from './events.ts';
import { findManifest } from './manifests.ts';
import { keepNeeded } from './needs.ts';
import { findRepository, findRepositoryById, touchRepository } from './projects.ts';
import type { CatalogTables } from './schema.ts';
import { findTag, setTag } from './tags.ts';
import { findManifestInTrash, type TrashItem, trashedBytes, trashWith } from './trash-list.ts';
import { emptyItem, forgetItem } from './trash-purge.ts';
import { countUsage } from './usage.ts';

const query = queriesOf<CatalogTables>('catalog');
type Of = { id: number };

const missingBlobs = query<Of & { limit: number }>()('blobsMissingToRestore', (db, p) =>
  db
    .selectFrom('trash_reference')
    .leftJoin('repository_blob', (join) =>
      join
        .onRef('repository_blob.repository_id', '=', 'trash_reference.repository_id')
        .onRef('repository_blob.digest', '=', 'trash_reference.digest'),
    )
    .leftJoin('damaged_blob', 'damaged_blob.digest', 'trash_reference.digest')
    .select(['trash_reference.digest', 'damaged_blob.digest as damaged'])
    .where('trash_reference.item_id', '=', p('id'))
    .where('trash_reference.kind', '=', 'blob')
    .where((eb) => eb.or([eb('repository_blob.digest', 'is', null), eb('damaged_blob.digest', 'is not', null)]))
    .limit(p('limit')),
);
const missingChildren = query<Of & { limit: number }>()('childrenMissingToRestore', (db, p) =>
  db
    .selectFrom('trash_reference')
    .leftJoin('manifest', (join) =>
      join.onRef('manifest.repository_id', '=', 'trash_reference.repository_id').onRef('manifest.digest', '=', 'trash_reference.digest'),
    )
    .select('trash_reference.digest')
    .where('trash_reference.item_id', '=', p('id'))
    .where('trash_reference.kind', '=', 'manifest')
    .where('manifest.id', 'is', null)
    .orderBy('trash_reference.digest')
    .limit(p('limit')),
);
const insertAgain = query<Of>()('restoreManifest', (db, p) =>
  db
    .insertInto('manifest')
    .columns([
      ...(['id', 'repository_id', 'digest', 'media_type', 'size', 'content_size'] as const),
      ...(['artifact_type', 'annotations', 'subject', 'created_at', 'created_by'] as const),
    ])
    .expression((eb) =>
      eb
        .selectFrom('trash_manifest')
        .select([
          ...(['manifest_id', 'repository_id', 'digest', 'media_type', 'size', 'content_size'] as const),
          ...(['artifact_type', 'annotations', 'subject', 'created_at', 'created_by'] as const),
        ])
        .where('item_id', '=', p('id')),
    )
    .returning(['id', 'media_type as mediaType', 'size']),
);
const restoreContent = query<{ manifestId: number; bytes: Uint8Array }>()('restoreContent', (db, p) =>
  db.insertInto('manifest_content').values({ manifest_id: p('manifestId'), bytes: p('bytes') }),
);
const restoreReferences = query<Of & { manifestId: number }>()('restoreReferences', (db, p) =>
  db
    .insertInto('manifest_reference')
    .columns(['manifest_id', 'repository_id', 'digest', 'kind'])
    .expression((eb) =>
      eb
        .selectFrom('trash_reference')
        .select((each) => [each.cast<number>(p('manifestId'), 'integer').as('manifest_id'), 'repository_id', 'digest', 'kind'])
        .where('item_id', '=', p('id')),
    ),
);
const detach = query<{ withId: number }>()('detachTrash', (db, p) =>
  db.updateTable('trash_item').set({ with_id: null }).where('with_id', '=', p('withId')),
);
const detachOne = query<Of>()('detachTrashItem', (db, p) => db.updateTable('trash_item').set({ with_id: null }).where('id', '=', p('id')));
const showAgain = query<{ id: number; name: string }>()('showRepository', (db, p) =>
  db
    .updateTable('repository')
    .set((eb) => ({ name: p('name'), deleted_at: null, version: eb('version', '+', 1) }))
    .where('id', '=', p('id'))
    .where('deleted_at', 'is not', null),
);
const setJob = query<Of & { jobId: number | null; problem: string | null }>()('setTrashJob', (db, p) =>
  db
    .updateTable('trash_item')
    .set({ job_id: p('jobId'), problem: p('problem') })
    .where('id', '=', p('id')),
);

/** How something is restored. */
export interface Restoring {
  readonly by: string;
  readonly now: number;
  /** What may be missing in the repository. */
  readonly sparse: { readonly children: boolean; readonly blobs: boolean };
  /** Whether tags that lead elsewhere meanwhile are moved back; else they stay, and those deleted remain in the trash. */
  readonly replace: boolean;
}

/** Throws `conflict`, saying why something cannot come back. */
function refused(what: string, why: string): AppError {
  return new AppError('conflict', `${what} cannot be restored: ${why}`);
}

async function requireLive(session: Session, { repositoryId, repository, name }: TrashItem): Promise<void> {
  if (await findRepositoryById(session, repositoryId)) return;
  throw refused(name, `repository ${repository} was deleted after it; restore that first`);
}

/**
 * All manifests that must leave the trash for one of them to be whole, in the order in which they can, itself and those that
 * went in the same deletion after it included; undefined where there are more than `most`. Throws `conflict` where something
 * is neither there nor in the trash.
 */
export async function manifestsToRestore(
  session: Session,
  item: TrashItem,
  { sparse }: Pick<Restoring, 'sparse'>,
  most: number,
): Promise<TrashItem[] | undefined> {
  const ordered: TrashItem[] = [];
  const seen = new Set<number>();
  async function visit(one: TrashItem): Promise<boolean> {
    if (seen.has(one.id)) return true;
    if (seen.size >= most) return false;
    seen.add(one.id);
    const children = await session.all(missingChildren, { id: one.id, limit: most + 1 });
    for (const { digest } of children) {
      const child = await findManifestInTrash(session, one.repositoryId, digest);
      if (!child && !sparse.children) throw refused(one.name, `manifest ${digest}, which belongs to it, is not there any more`);
      if (child && !(await visit(child))) return false;
    }
    ordered.push(one);
    for (let last = ''; ; ) {
      const beside = await trashWith(session, one.id, 'manifest', last, 100);
      for (const each of beside) if (!(await visit(each))) return false;
      if (beside.length < 100) return true;
      last = beside.at(-1)?.name ?? '';
    }
  }
  return (await visit(item)) ? ordered : undefined;
}

/** What a manifest in the trash needs and is neither there nor in the trash; undefined where nothing is missing. */
export async function missingFor(session: Session, { id }: TrashItem, { sparse }: Pick<Restoring, 'sparse'>): Promise<string | undefined> {
  const [blob] = sparse.blobs ? [] : await session.all(missingBlobs, { id, limit: 1 });
  return blob && `blob ${blob.digest} ${blob.damaged === null ? 'was deleted meanwhile' : 'is damaged'}`;
}

/**
 * Brings one manifest back, byte for byte and under its id, without its tags; its item stays until it is forgotten, so that
 * who is interrupted goes on. Throws `conflict` unless all that it needs is there (invariant 2) and its bytes are what its
 * digest says.
 */
export async function restoreManifest(tx: Session, item: TrashItem, how: Restoring): Promise<void> {
  const { id, repositoryId, name: digest } = item;
  await requireLive(tx, item);
  const live = await findManifest(tx, repositoryId, digest);
  if (live) {
    // Pushed again meanwhile: what is in the trash is the same, and counts no second time.
    if (await emptyItem(tx, id)) await countUsage(tx, repositoryId, { bytes: -live.size });
    return;
  }
  const missing = await missingFor(tx, item, how);
  if (missing) throw refused(digest, missing);
  const [child] = how.sparse.children ? [] : await tx.all(missingChildren, { id, limit: 1 });
  if (child) throw refused(digest, `manifest ${child.digest}, which belongs to it, is not there any more`);
  const bytes = await trashedBytes(tx, id);
  const algorithm = parseDigest(digest)?.algorithm;
  if (!bytes || !algorithm || digestOf(bytes, algorithm) !== digest) throw refused(digest, 'its bytes are damaged');
  const made = await tx.first(insertAgain, { id });
  if (!made) throw new Error('a manifest in the trash has no row');
  await tx.run(restoreContent, { manifestId: made.id, bytes });
  await tx.run(restoreReferences, { id, manifestId: made.id });
  await keepNeeded(tx, repositoryId, made.id);
  await emptyItem(tx, id);
  await countUsage(tx, repositoryId, {}); // it counted all the while, elsewhere
  await touchRepository(tx, repositoryId, how.now);
  const payload = { digest, mediaType: made.mediaType, size: made.size, by: how.by };
  await announce(tx, repositoryId, { topic: 'manifest.restored', payload }, how.now);
}

/** Brings a tag back to the digest it had; false where it leads elsewhere meanwhile and is left so: its item stays, by itself. */
export async function restoreTag(tx: Session, item: TrashItem, how: Restoring): Promise<boolean> {
  const { id, repositoryId, name, digest } = item;
  await requireLive(tx, item);
  if (digest === null || !(await findManifest(tx, repositoryId, digest)))
    throw refused(`tag ${name}`, `manifest ${digest} is not there any more`);
  const current = await findTag(tx, repositoryId, name);
  if (current !== undefined && current !== digest && !how.replace) {
    await tx.run(detachOne, { id });
    return false;
  }
  await setTag(tx, { repositoryId, name, digest, by: how.by, now: how.now });
  await forgetItem(tx, id);
  return true;
}

/** What went with an item that is gone stands for itself from now on. */
export async function detachTrash(tx: Session, withId: number): Promise<void> {
  await tx.run(detach, { withId });
}

/**
 * Brings a repository back with everything, under its name or another one of its project. Throws `conflict` where that is
 * taken, `quota_exceeded` where the project has no room for it.
 */
export async function restoreRepository(tx: Session, item: TrashItem, name: string, how: Restoring): Promise<void> {
  const { id, repositoryId, repository } = item;
  if (!isRepositoryName(name) || projectOf(name) !== projectOf(repository)) {
    throw new AppError('name_invalid', `${name} is no name of a repository in project ${projectOf(repository)}`);
  }
  if (await findRepository(tx, name)) throw refused(repository, `there is another repository ${name}; give another name`);
  if ((await tx.run(showAgain, { id: repositoryId, name })) === 0) throw refused(repository, 'what it held is being cleared away');
  await countUsage(tx, repositoryId, { repositories: 1 }, { now: how.now });
  await forgetItem(tx, id);
  await touchRepository(tx, repositoryId, how.now);
  await announce(tx, repositoryId, { topic: 'repository.restored', payload: { by: how.by } }, how.now);
}

/** Notes the job that restores an item, or how it ended. */
export async function noteRestoring(tx: Session, id: number, jobId: number | null, problem: string | null): Promise<void> {
  await tx.run(setJob, { id, jobId, problem });
}
