import { sql } from 'kysely';
import { AFTER_ALL, BEFORE_ALL, beyond, type Order, type Query, queriesOf, type Session, upTo } from '../platform/index.ts';
import type { CatalogTables } from './schema.ts';

const query = queriesOf<CatalogTables>('catalog');

/** A manifest as lists show it. */
export interface ArtifactFacts {
  readonly id: number;
  readonly digest: string;
  readonly mediaType: string;
  readonly artifactType: string | null;
  /** Bytes of the manifest itself. */
  readonly manifestSize: number;
  /** With all that it needs. */
  readonly size: number;
  readonly subject: string | null;
  /** JSON object, or null. */
  readonly annotations: string | null;
  readonly pushedAt: number;
  readonly pushedBy: string;
  /** By a tag or by its digest; null: never. */
  readonly pulledAt: number | null;
  readonly pulls: number | null;
}

export type ArtifactSort = 'pushed' | 'size';

export interface ArtifactPage {
  readonly repositoryId: number;
  readonly sort: ArtifactSort;
  readonly order: Order;
  /** Value and id of the last before the page; by time the value is the id. */
  readonly last: readonly [number, number] | undefined;
  readonly limit: number;
  readonly mediaType?: string | undefined;
  readonly artifactType?: string | undefined;
  /** Only those with a tag, or only those without. */
  readonly tagged?: boolean | undefined;
  /** Only those that stand for themselves: neither part of an index nor about a subject, unless tagged. */
  readonly top?: boolean | undefined;
}

interface Range {
  repositoryId: number;
  at: number;
  id: number;
}

interface Filter {
  toAt: number;
  toId: number;
  mediaType: string;
  artifactType: string;
  /** -1: whether or not. */
  tagged: number;
  top: number;
  limit: number;
}

const COLUMNS = [
  'manifest.id',
  'manifest.digest',
  'manifest.media_type as mediaType',
  'manifest.artifact_type as artifactType',
  'manifest.size as manifestSize',
  'manifest.content_size as size',
  'manifest.subject',
  'manifest.annotations',
  'manifest.created_at as pushedAt',
  'manifest.created_by as pushedBy',
  'manifest_pull.last_at as pulledAt',
  'manifest_pull.pulls',
] as const;
const ID = sql.ref('manifest.id');
const COLUMN = { pushed: ID, size: sql.ref('manifest.content_size') } as const;
const IS_TAGGED = sql<number>`exists (select 1 from tag where tag.repository_id = manifest.repository_id and tag.digest = manifest.digest)`;
const IS_PART = sql<number>`exists (select 1 from manifest_reference as part where part.repository_id = manifest.repository_id
  and part.digest = manifest.digest and part.kind = 'manifest')`;

/** Neither part of an index nor about a subject, unless tagged. */
export const STANDS_FOR_ITSELF = sql<boolean>`((manifest.subject is null and not ${IS_PART}) or ${IS_TAGGED})`;

function listed(name: string, sort: ArtifactSort, order: Order): Query<Range & Filter, ArtifactFacts> {
  return query<Range & Filter>()(name, (db, p) =>
    db
      .selectFrom('manifest')
      .leftJoin('manifest_pull', (join) =>
        join.onRef('manifest_pull.repository_id', '=', 'manifest.repository_id').onRef('manifest_pull.digest', '=', 'manifest.digest'),
      )
      .select(COLUMNS)
      .where('manifest.repository_id', '=', p('repositoryId'))
      .where(beyond(COLUMN[sort], ID, order, p('at'), p('id')))
      .where(upTo(COLUMN[sort], ID, order, p('toAt'), p('toId')))
      .where((eb) => eb.or([eb(p('mediaType'), '=', ''), eb('manifest.media_type', '=', p('mediaType'))]))
      .where((eb) => eb.or([eb(p('artifactType'), '=', ''), eb('manifest.artifact_type', '=', p('artifactType'))]))
      .where(sql<boolean>`(${p('tagged')} = -1 or (${p('tagged')} = 1 and ${IS_TAGGED}) or (${p('tagged')} = 0 and not ${IS_TAGGED}))`)
      .where(sql<boolean>`(${p('top')} = 0 or ${STANDS_FOR_ITSELF})`)
      .orderBy(COLUMN[sort], order)
      .orderBy('manifest.id', order)
      .limit(p('limit')),
  );
}

function ended(name: string, sort: ArtifactSort, order: Order): Query<Range & { skip: number }, { id: number; size: number }> {
  return query<Range & { skip: number }>()(name, (db, p) =>
    db
      .selectFrom('manifest')
      .select(['manifest.id', 'manifest.content_size as size'])
      .where('manifest.repository_id', '=', p('repositoryId'))
      .where(beyond(COLUMN[sort], ID, order, p('at'), p('id')))
      .orderBy(COLUMN[sort], order)
      .orderBy('manifest.id', order)
      .limit(1)
      .offset(p('skip')),
  );
}

const both = <Q>(make: (order: Order, suffix: string) => Q): Record<Order, Q> => ({ asc: make('asc', ''), desc: make('desc', 'Down') });
const LISTS = {
  pushed: both((order, suffix) => listed(`artifactsByAge${suffix}`, 'pushed', order)),
  size: both((order, suffix) => listed(`artifactsBySize${suffix}`, 'size', order)),
};
const ENDS = {
  pushed: both((order, suffix) => ended(`artifactWindowByAge${suffix}`, 'pushed', order)),
  size: both((order, suffix) => ended(`artifactWindowBySize${suffix}`, 'size', order)),
};
const artifactFacts = query<{ repositoryId: number; digest: string }>()('artifactFacts', (db, p) =>
  db
    .selectFrom('manifest')
    .leftJoin('manifest_pull', (join) =>
      join.onRef('manifest_pull.repository_id', '=', 'manifest.repository_id').onRef('manifest_pull.digest', '=', 'manifest.digest'),
    )
    .select(COLUMNS)
    .where('manifest.repository_id', '=', p('repositoryId'))
    .where('manifest.digest', '=', p('digest')),
);

/** Manifests looked at for one page of a filtered list, however few of them it shows. */
const LOOKED_AT = 10_000;

function artifactKey({ id, size }: Pick<ArtifactFacts, 'id' | 'size'>, sort: ArtifactSort): [number, number] {
  return [sort === 'pushed' ? id : size, id];
}

/** Manifests after a position. Of a long list that shows few a page may hold less than it could, and still go on. */
export async function listArtifacts(
  session: Session,
  { repositoryId, sort, order, last, limit, mediaType = '', artifactType = '', tagged, top = false }: ArtifactPage,
): Promise<{ artifacts: ArtifactFacts[]; next: [number, number] | undefined }> {
  const [at, id] = last ?? [BEFORE_ALL[order].number, BEFORE_ALL[order].number];
  const isFiltered = mediaType !== '' || artifactType !== '' || tagged !== undefined || top;
  const window = isFiltered ? await session.first(ENDS[sort][order], { repositoryId, at, id, skip: LOOKED_AT - 1 }) : undefined;
  const [toAt, toId] = window ? artifactKey(window, sort) : [AFTER_ALL[order].number, AFTER_ALL[order].number];
  const filter = { mediaType, artifactType, tagged: tagged === undefined ? -1 : Number(tagged), top: Number(top) };
  const rows = await session.all(LISTS[sort][order], { repositoryId, at, id, toAt, toId, ...filter, limit: limit + 1 });
  const artifacts = rows.slice(0, limit);
  const shown = artifacts.at(-1);
  if (rows.length > limit && shown) return { artifacts, next: artifactKey(shown, sort) };
  return { artifacts, next: window && artifactKey(window, sort) };
}

export async function findArtifact(session: Session, repositoryId: number, digest: string): Promise<ArtifactFacts | undefined> {
  return await session.first(artifactFacts, { repositoryId, digest });
}
