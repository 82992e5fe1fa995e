import { enqueue, queriesOf, type Session } from '../platform/index.ts';
import { releaseTrashed } from './needs.ts';
import type { CatalogTables } from './schema.ts';
import type { TrashKind } from './trash-schema.ts';
import { countUsage } from './usage.ts';

const query = queriesOf<CatalogTables>('catalog');
type One = { id: number };

/** The job that clears away what a repository held. */
export const PURGE = 'repository.purge';

const removeReferences = query<One>()('purgeTrashReferences', (db, p) => db.deleteFrom('trash_reference').where('item_id', '=', p('id')));
const removeContent = query<One>()('purgeTrashContent', (db, p) => db.deleteFrom('trash_content').where('item_id', '=', p('id')));
const removeManifest = query<One>()('purgeTrashManifest', (db, p) => db.deleteFrom('trash_manifest').where('item_id', '=', p('id')));
const removeItem = query<One>()('purgeTrashItem', (db, p) => db.deleteFrom('trash_item').where('id', '=', p('id')));
const manifestSize = query<One>()('trashManifestSize', (db, p) =>
  db.selectFrom('trash_manifest').select('size').where('item_id', '=', p('id')),
);
const expiredItems = query<{ projectId: number; before: number; after: number; limit: number }>()('expiredTrash', (db, p) =>
  db
    .selectFrom('trash_item')
    .select(['id', 'kind', 'repository_id as repositoryId', 'repository', 'deleted_at as deletedAt'])
    .where('project_id', '=', p('projectId'))
    .where('id', '>', p('after'))
    .where('deleted_at', '<=', p('before'))
    .orderBy('id')
    .limit(p('limit')),
);
const itemsOfRepository = query<{ repositoryId: number; limit: number }>()('trashOfRepository', (db, p) =>
  db
    .selectFrom('trash_item')
    .select(['id', 'kind', 'repository_id as repositoryId', 'repository', 'deleted_at as deletedAt'])
    .where('repository_id', '=', p('repositoryId'))
    .where('kind', '!=', 'repository')
    .limit(p('limit')),
);
const itemsWith = query<{ withId: number; limit: number }>()('trashThatWentWith', (db, p) =>
  db
    .selectFrom('trash_item')
    .select(['id', 'kind', 'repository_id as repositoryId', 'repository', 'deleted_at as deletedAt'])
    .where('with_id', '=', p('withId'))
    .limit(p('limit')),
);
const projectsWithTrash = query<{ after: number; limit: number }>()('projectsWithTrash', (db, p) =>
  db
    .selectFrom('project')
    .select((eb) => [
      'project.id',
      'project.trash_days as days',
      // The first by id is the oldest, as nearly as instances agree on the time.
      eb
        .selectFrom('trash_item')
        .select((each) => each.fn.min('trash_item.id').as('first'))
        .whereRef('trash_item.project_id', '=', 'project.id')
        .as('firstId'),
    ])
    .where('project.id', '>', p('after'))
    .orderBy('project.id')
    .limit(p('limit')),
);
const deletedAt = query<One>()('trashedAt', (db, p) => db.selectFrom('trash_item').select('deleted_at as at').where('id', '=', p('id')));

export interface PurgeableItem {
  readonly id: number;
  readonly kind: TrashKind;
  readonly repositoryId: number;
  /** Full name when it was deleted. */
  readonly repository: string;
  readonly deletedAt: number;
}

/** Takes the manifest out of an item, whatever becomes of what it needed; false where none is in it. */
export async function emptyItem(tx: Session, id: number): Promise<boolean> {
  for (const remove of [removeReferences, removeContent]) await tx.run(remove, { id });
  return (await tx.run(removeManifest, { id })) === 1;
}

/** Takes an item out of the trash, whatever becomes of what it held; false where it is there no more. */
export async function forgetItem(tx: Session, id: number): Promise<boolean> {
  await emptyItem(tx, id);
  return (await tx.run(removeItem, { id })) === 1;
}

/** Ends an item for good: its bytes count no more, and what only it needed may be collected. False where it was there no more. */
export async function purgeItem(tx: Session, item: Pick<PurgeableItem, 'id' | 'kind' | 'repositoryId'>, now: number): Promise<boolean> {
  const { id, kind, repositoryId } = item;
  if (kind === 'repository') await enqueue(tx, { kind: PURGE, payload: { repositoryId }, now });
  if (kind === 'manifest') {
    const manifest = await tx.first(manifestSize, { id });
    if (manifest) await countUsage(tx, repositoryId, { bytes: -manifest.size });
    await releaseTrashed(tx, repositoryId, id, now);
  }
  return await forgetItem(tx, id);
}

/** Items of a project that were deleted up to a time, in the order of their ids, after one. */
export async function expiredTrash(
  session: Session,
  page: { projectId: number; before: number; after: number; limit: number },
): Promise<PurgeableItem[]> {
  return await session.all(expiredItems, page);
}

/** What was deleted of a repository before it was deleted itself. */
export async function trashOfRepository(session: Session, repositoryId: number, limit: number): Promise<PurgeableItem[]> {
  return await session.all(itemsOfRepository, { repositoryId, limit });
}

/** Items that went in the same deletion with another. */
export async function trashThatWentWith(session: Session, withId: number, limit: number): Promise<PurgeableItem[]> {
  return await session.all(itemsWith, { withId, limit });
}

/** Projects after one by id, how long each keeps its trash (null: as the server), and since when it has any (undefined: none). */
export async function trashAges(
  session: Session,
  after: number,
  limit: number,
): Promise<{ id: number; days: number | null; since: number | undefined }[]> {
  const projects = await session.all(projectsWithTrash, { after, limit });
  const ages: { id: number; days: number | null; since: number | undefined }[] = [];
  for (const { id, days, firstId } of projects) {
    const since = firstId === null ? undefined : (await session.first(deletedAt, { id: firstId }))?.at;
    ages.push({ id, days, since });
  }
  return ages;
}
