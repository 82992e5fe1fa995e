import { sql } from 'kysely';
import { AFTER_ALL, BEFORE_ALL, containing, holdsText, type Order, type Query, queriesOf, type Session } from '../platform/index.ts';
import type { CatalogTables } from './schema.ts';
import type { TrashKind } from './trash-schema.ts';

const query = queriesOf<CatalogTables>('catalog');
const COLUMNS = [
  'id',
  'project_id as projectId',
  'repository_id as repositoryId',
  'repository',
  'kind',
  'name',
  'digest',
  'media_type as mediaType',
  'artifact_type as artifactType',
  'size',
  'with_id as withId',
  'job_id as jobId',
  'problem',
  'deleted_at as deletedAt',
  'deleted_by as deletedBy',
] as const;

/** What was deleted and can still come back. */
export interface TrashItem {
  readonly id: number;
  readonly projectId: number;
  readonly repositoryId: number;
  /** Its full name when this was deleted. */
  readonly repository: string;
  readonly kind: TrashKind;
  /** The tag, the digest, or the full name. */
  readonly name: string;
  readonly digest: string | null;
  readonly mediaType: string | null;
  readonly artifactType: string | null;
  /** Of a manifest with all that it needs; else 0. */
  readonly size: number;
  /** The item in one deletion with which it went. */
  readonly withId: number | null;
  readonly jobId: number | null;
  readonly problem: string | null;
  readonly deletedAt: number;
  readonly deletedBy: string;
}

interface Filter {
  kind: string;
  repository: string;
  name: string;
  by: string;
  since: number;
  until: number;
  limit: number;
}
interface Range {
  projectId: number;
  last: number;
}

function listed(name: string, order: Order): Query<Range & Filter & { to: number }, TrashItem> {
  return query<Range & Filter & { to: number }>()(name, (db, p) =>
    db
      .selectFrom('trash_item')
      .select(COLUMNS)
      .where('project_id', '=', p('projectId'))
      .where('id', order === 'asc' ? '>' : '<', p('last'))
      .where('id', order === 'asc' ? '<=' : '>=', p('to'))
      .where((eb) => eb.or([eb(p('kind'), '=', ''), eb(eb.ref('kind'), '=', p('kind') as never)]))
      .where((eb) => eb.or([eb(p('repository'), '=', ''), eb('repository', '=', p('repository'))]))
      .where((eb) => eb.or([eb(p('by'), '=', ''), eb('deleted_by', '=', p('by'))]))
      .where(holdsText(sql.ref('name'), p('name')))
      .where('deleted_at', '>=', p('since'))
      .where('deleted_at', '<=', p('until'))
      .orderBy('id', order)
      .limit(p('limit')),
  );
}
function ended(name: string, order: Order): Query<Range & { skip: number }, { id: number }> {
  return query<Range & { skip: number }>()(name, (db, p) =>
    db
      .selectFrom('trash_item')
      .select('id')
      .where('project_id', '=', p('projectId'))
      .where('id', order === 'asc' ? '>' : '<', p('last'))
      .orderBy('id', order)
      .limit(1)
      .offset(p('skip')),
  );
}
const LISTS = { asc: listed('trash', 'asc'), desc: listed('trashDown', 'desc') };
const ENDS = { asc: ended('trashWindow', 'asc'), desc: ended('trashWindowDown', 'desc') };
const itemById = query<{ id: number }>()('trashItem', (db, p) => db.selectFrom('trash_item').select(COLUMNS).where('id', '=', p('id')));
const manifestInTrash = query<{ repositoryId: number; digest: string }>()('manifestInTrash', (db, p) =>
  db
    .selectFrom('trash_item')
    .innerJoin('trash_manifest', 'trash_manifest.item_id', 'trash_item.id')
    .select([
      'trash_item.id',
      'trash_item.project_id as projectId',
      'trash_item.repository_id as repositoryId',
      'trash_item.repository',
      'trash_item.kind',
      'trash_item.name',
      'trash_item.digest',
      'trash_item.media_type as mediaType',
      'trash_item.artifact_type as artifactType',
      'trash_item.size',
      'trash_item.with_id as withId',
      'trash_item.job_id as jobId',
      'trash_item.problem',
      'trash_item.deleted_at as deletedAt',
      'trash_item.deleted_by as deletedBy',
    ])
    .where('trash_manifest.repository_id', '=', p('repositoryId'))
    .where('trash_manifest.digest', '=', p('digest')),
);
const withItem = query<{ withId: number; kind: TrashKind; last: string; limit: number }>()('trashWith', (db, p) =>
  db
    .selectFrom('trash_item')
    .select(COLUMNS)
    .where('with_id', '=', p('withId'))
    .where('kind', '=', p('kind'))
    .where('name', '>', p('last'))
    .orderBy('name')
    .limit(p('limit')),
);
const contentInTrash = query<{ id: number }>()('contentInTrash', (db, p) =>
  db.selectFrom('trash_content').select('bytes').where('item_id', '=', p('id')),
);
const anyInTrash = query<{ projectId: number }>()('anyTrash', (db, p) =>
  db.selectFrom('trash_item').select('id').where('project_id', '=', p('projectId')).limit(1),
);

export interface TrashPage {
  readonly projectId: number;
  readonly order: Order;
  readonly last: number | undefined;
  readonly limit: number;
  readonly kind?: TrashKind | undefined;
  /** Full name. */
  readonly repository?: string | undefined;
  /** Part of a tag, digest or repository's name. */
  readonly name?: string | undefined;
  readonly by?: string | undefined;
  /** Milliseconds since 1970. */
  readonly since?: number | undefined;
  readonly until?: number | undefined;
}

/** Items looked at for one page, however few of them it shows. */
const LOOKED_AT = 20_000;

/** The trash of a project by age. Of a long list that shows few a page may hold less than it could, and still go on. */
export async function listTrash(
  session: Session,
  {
    projectId,
    order,
    last = BEFORE_ALL[order].number,
    limit,
    kind = '' as TrashKind,
    repository = '',
    name = '',
    by = '',
    ...times
  }: TrashPage,
): Promise<{ items: TrashItem[]; next: number | undefined }> {
  const { since = 0, until = Number.MAX_SAFE_INTEGER } = times;
  const window = await session.first(ENDS[order], { projectId, last, skip: LOOKED_AT - 1 });
  const to = window?.id ?? AFTER_ALL[order].number;
  const filter = { kind, repository, name: containing(name), by, since, until };
  const rows = await session.all(LISTS[order], { projectId, last, to, ...filter, limit: limit + 1 });
  const items = rows.slice(0, limit);
  return { items, next: rows.length > limit ? items.at(-1)?.id : window?.id };
}

export async function findTrashItem(session: Session, id: number): Promise<TrashItem | undefined> {
  return await session.first(itemById, { id });
}

/** A manifest of a repository that is in the trash. */
export async function findManifestInTrash(session: Session, repositoryId: number, digest: string): Promise<TrashItem | undefined> {
  return await session.first(manifestInTrash, { repositoryId, digest });
}

/** What of one kind went with an item, by name after one. */
export async function trashWith(session: Session, withId: number, kind: TrashKind, last: string, limit: number): Promise<TrashItem[]> {
  return await session.all(withItem, { withId, kind, last, limit });
}

/** Exact bytes of a manifest in the trash. */
export async function trashedBytes(session: Session, id: number): Promise<Uint8Array | undefined> {
  return (await session.first(contentInTrash, { id }))?.bytes;
}

export async function hasTrash(session: Session, projectId: number): Promise<boolean> {
  return (await session.first(anyInTrash, { projectId })) !== undefined;
}
