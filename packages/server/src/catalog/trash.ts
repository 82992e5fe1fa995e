import { AppError, queriesOf, type Session } from '../platform/index.ts';
import type { CatalogTables } from './schema.ts';
import { forgetItem } from './trash-purge.ts';

const query = queriesOf<CatalogTables>('catalog');

const insertItem = query<{
  repositoryId: number;
  kind: 'tag' | 'manifest' | 'repository';
  /** Empty: the name of the repository. */
  name: string;
  digest: string | null;
  mediaType: string | null;
  artifactType: string | null;
  size: number;
  withId: number | null;
  now: number;
  by: string;
}>()('insertTrashItem', (db, p) =>
  db
    .insertInto('trash_item')
    .columns([
      'project_id',
      'repository_id',
      'repository',
      'kind',
      'name',
      'digest',
      'media_type',
      'artifact_type',
      'size',
      'with_id',
      'deleted_at',
      'deleted_by',
    ])
    .expression((eb) =>
      eb
        .selectFrom('repository')
        .select((each) => [
          'repository.project_id',
          'repository.id',
          'repository.name',
          each.cast<'tag'>(p('kind'), 'text').as('kind'),
          each
            .case()
            .when(each.cast(p('name'), 'text'), '=', '')
            .then(each.ref('repository.name'))
            .else(each.cast<string>(p('name'), 'text'))
            .end()
            .as('name'),
          each.cast<string | null>(p('digest'), 'text').as('digest'),
          each.cast<string | null>(p('mediaType'), 'text').as('media_type'),
          each.cast<string | null>(p('artifactType'), 'text').as('artifact_type'),
          each.cast<number>(p('size'), 'bigint').as('size'),
          each.cast<number | null>(p('withId'), 'integer').as('with_id'),
          each.cast<number>(p('now'), 'bigint').as('deleted_at'),
          each.cast<string>(p('by'), 'text').as('deleted_by'),
        ])
        .where('repository.id', '=', p('repositoryId')),
    )
    .returning('id'),
);
const olderItem = query<{ repositoryId: number; digest: string }>()('olderTrashManifest', (db, p) =>
  db
    .selectFrom('trash_manifest')
    .select(['item_id as id', 'size'])
    .where('repository_id', '=', p('repositoryId'))
    .where('digest', '=', p('digest')),
);
/** The item of a manifest whose tags went before it did: one that holds no manifest, and is not being emptied. */
const openItem = query<{ repositoryId: number; digest: string }>()('openTrashItem', (db, p) =>
  db
    .selectFrom('trash_item')
    .leftJoin('trash_manifest', 'trash_manifest.item_id', 'trash_item.id')
    .select('trash_item.id')
    .where('trash_item.repository_id', '=', p('repositoryId'))
    .where('trash_item.kind', '=', 'manifest')
    .where('trash_item.name', '=', p('digest'))
    .where('trash_item.job_id', 'is', null)
    .where('trash_manifest.item_id', 'is', null)
    .orderBy('trash_item.id', 'desc')
    .limit(1),
);
const renewItem = query<{ id: number; withId: number | null; now: number; by: string }>()('renewTrashItem', (db, p) =>
  db
    .updateTable('trash_item')
    .set({ with_id: p('withId'), deleted_at: p('now'), deleted_by: p('by') })
    .where('id', '=', p('id')),
);
const adoptItems = query<{ from: number; to: number }>()('adoptTrashItems', (db, p) =>
  db
    .updateTable('trash_item')
    .set({ with_id: p('to') })
    .where('with_id', '=', p('from')),
);
const moveManifest = query<{ itemId: number; manifestId: number }>()('moveManifestToTrash', (db, p) =>
  db
    .insertInto('trash_manifest')
    .columns([
      'item_id',
      'manifest_id',
      'repository_id',
      'digest',
      'media_type',
      'size',
      'content_size',
      'artifact_type',
      'annotations',
      'subject',
      'created_at',
      'created_by',
    ])
    .expression((eb) =>
      eb
        .selectFrom('manifest')
        .select((each) => [
          each.cast<number>(p('itemId'), 'integer').as('item_id'),
          'id as manifest_id',
          'repository_id',
          'digest',
          'media_type',
          'size',
          'content_size',
          'artifact_type',
          'annotations',
          'subject',
          'created_at',
          'created_by',
        ])
        .where('id', '=', p('manifestId')),
    ),
);
const copyContent = query<{ itemId: number; manifestId: number }>()('copyContentToTrash', (db, p) =>
  db
    .insertInto('trash_content')
    .columns(['item_id', 'bytes'])
    .expression((eb) =>
      eb
        .selectFrom('manifest_content')
        .select((each) => [each.cast<number>(p('itemId'), 'integer').as('item_id'), 'bytes'])
        .where('manifest_id', '=', p('manifestId')),
    ),
);
const copyReferences = query<{ itemId: number; manifestId: number }>()('copyReferencesToTrash', (db, p) =>
  db
    .insertInto('trash_reference')
    .columns(['item_id', 'repository_id', 'digest', 'kind'])
    .expression((eb) =>
      eb
        .selectFrom('manifest_reference')
        .select((each) => [each.cast<number>(p('itemId'), 'integer').as('item_id'), 'repository_id', 'digest', 'kind'])
        .where('manifest_id', '=', p('manifestId')),
    ),
);
const manifestFacts = query<{ id: number }>()('manifestForTrash', (db, p) =>
  db
    .selectFrom('manifest')
    .select(['media_type as mediaType', 'artifact_type as artifactType', 'content_size as size'])
    .where('id', '=', p('id')),
);

const manifestFactsOf = query<{ repositoryId: number; digest: string }>()('manifestForTrashByDigest', (db, p) =>
  db
    .selectFrom('manifest')
    .select(['media_type as mediaType', 'artifact_type as artifactType', 'content_size as size'])
    .where('repository_id', '=', p('repositoryId'))
    .where('digest', '=', p('digest')),
);

/** One deletion: what goes with something else names its item. */
export interface Trashing {
  readonly repositoryId: number;
  readonly by: string;
  readonly now: number;
  readonly withId?: number | null | undefined;
}

interface Kept {
  readonly kind: 'tag' | 'manifest' | 'repository';
  /** Empty: the name of the repository. */
  readonly name: string;
  readonly digest?: string;
  readonly mediaType?: string;
  readonly artifactType?: string | null;
  readonly size?: number;
}
const NOTHING = { digest: null, mediaType: null, artifactType: null, size: 0 };

async function trash(tx: Session, { repositoryId, by, now, withId = null }: Trashing, item: Kept): Promise<number> {
  const row = await tx.first(insertItem, { ...NOTHING, ...item, repositoryId, by, now, withId });
  if (!row) throw new Error('what is put into the trash belongs to no repository');
  return row.id;
}

/** Keeps a tag that is about to be deleted. */
export async function trashTag(tx: Session, deletion: Trashing, name: string, digest: string): Promise<void> {
  await trash(tx, deletion, { kind: 'tag', name, digest });
}

/** Keeps a repository that is about to be hidden: all that it holds stays where it is. */
export async function trashRepository(tx: Session, deletion: Trashing): Promise<void> {
  await trash(tx, deletion, { kind: 'repository', name: '' });
}

/** The item that a live manifest will have once it is deleted, for tags that go before it. */
export async function openItemFor(tx: Session, deletion: Trashing, digest: string): Promise<number> {
  const { repositoryId } = deletion;
  const open = await tx.first(openItem, { repositoryId, digest });
  if (open) return open.id;
  const facts = await tx.first(manifestFactsOf, { repositoryId, digest });
  if (!facts) throw new AppError('manifest_unknown', 'manifest unknown to the repository');
  return await trash(tx, deletion, { ...facts, kind: 'manifest', name: digest, digest });
}

/**
 * Keeps a manifest that is about to be deleted, with its bytes and all that it needs, and gives its item. What was in the
 * trash of the same digest is the same content: the new item takes its place, so that deleting again and again fills nothing.
 * Its bytes go on counting in the project until they leave the trash; gives how many of them counted twice.
 */
export async function trashManifest(
  tx: Session,
  deletion: Trashing,
  { id, digest }: { readonly id: number; readonly digest: string },
): Promise<{ readonly itemId: number; readonly countedTwice: number }> {
  const facts = await tx.first(manifestFacts, { id });
  if (!facts) throw new Error('what is put into the trash is not there');
  const older = await tx.first(olderItem, { repositoryId: deletion.repositoryId, digest });
  const { repositoryId, withId = null, now, by } = deletion;
  const open = await tx.first(openItem, { repositoryId, digest });
  if (open) await tx.run(renewItem, { id: open.id, withId, now, by });
  const itemId = open?.id ?? (await trash(tx, deletion, { ...facts, kind: 'manifest', name: digest, digest }));
  if (older) {
    await tx.run(adoptItems, { from: older.id, to: itemId });
    await forgetItem(tx, older.id);
  }
  await tx.run(moveManifest, { itemId, manifestId: id });
  await tx.run(copyContent, { itemId, manifestId: id });
  await tx.run(copyReferences, { itemId, manifestId: id });
  return { itemId, countedTwice: older?.size ?? 0 };
}
