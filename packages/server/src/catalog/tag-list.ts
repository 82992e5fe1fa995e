import { sql } from 'kysely';
import {
  AFTER_ALL,
  BEFORE_ALL,
  beyond,
  containing,
  holdsText,
  type Order,
  type Query,
  queriesOf,
  type Session,
  upTo,
} from '../platform/index.ts';
import type { CatalogTables } from './schema.ts';

const query = queriesOf<CatalogTables>('catalog');

/** A tag as lists show it. */
export interface TagFacts {
  readonly name: string;
  readonly digest: string;
  readonly updatedAt: number;
  readonly updatedBy: string;
  /** Milliseconds since 1970; null: never. */
  readonly pulledAt: number | null;
  readonly pulls: number | null;
}

/** One change of a tag; `digest` null for a deletion. */
export interface TagChange {
  readonly id: number;
  readonly digest: string | null;
  readonly previous: string | null;
  readonly at: number;
  readonly by: string;
}

export type TagSort = 'name' | 'updated';

export interface TagPage {
  readonly repositoryId: number;
  readonly sort: TagSort;
  readonly order: Order;
  /** Value and name of the last before the page; by name the value is the name. */
  readonly last: readonly [string | number, string] | undefined;
  readonly limit: number;
  readonly name?: string | undefined;
}

interface Range {
  repositoryId: number;
  at: string | number;
  tie: string;
}

const COLUMNS = [
  'tag.name',
  'tag.digest',
  'tag.updated_at as updatedAt',
  'tag.updated_by as updatedBy',
  'tag_pull.last_at as pulledAt',
  'tag_pull.pulls',
] as const;
const NAME = sql.ref('tag.name');
const COLUMN = { name: NAME, updated: sql.ref('tag.updated_at') } as const;

function listed(
  name: string,
  sort: TagSort,
  order: Order,
): Query<Range & { toAt: string | number; toTie: string; pattern: string; limit: number }, TagFacts> {
  return query<Range & { toAt: string | number; toTie: string; pattern: string; limit: number }>()(name, (db, p) =>
    db
      .selectFrom('tag')
      .leftJoin('tag_pull', (join) =>
        join.onRef('tag_pull.repository_id', '=', 'tag.repository_id').onRef('tag_pull.name', '=', 'tag.name'),
      )
      .select(COLUMNS)
      .where('tag.repository_id', '=', p('repositoryId'))
      .where(beyond(COLUMN[sort], NAME, order, p('at'), p('tie')))
      .where(upTo(COLUMN[sort], NAME, order, p('toAt'), p('toTie')))
      .where(holdsText(NAME, p('pattern')))
      .orderBy(COLUMN[sort], order)
      .orderBy('tag.name', order)
      .limit(p('limit')),
  );
}

function ended(name: string, sort: TagSort, order: Order): Query<Range & { skip: number }, { name: string; updatedAt: number }> {
  return query<Range & { skip: number }>()(name, (db, p) =>
    db
      .selectFrom('tag')
      .select(['tag.name', 'tag.updated_at as updatedAt'])
      .where('tag.repository_id', '=', p('repositoryId'))
      .where(beyond(COLUMN[sort], NAME, order, p('at'), p('tie')))
      .orderBy(COLUMN[sort], order)
      .orderBy('tag.name', order)
      .limit(1)
      .offset(p('skip')),
  );
}

const both = <Q>(make: (order: Order, suffix: string) => Q): Record<Order, Q> => ({ asc: make('asc', ''), desc: make('desc', 'Down') });
const LISTS = {
  name: both((order, suffix) => listed(`tagsByName${suffix}`, 'name', order)),
  updated: both((order, suffix) => listed(`tagsByUpdate${suffix}`, 'updated', order)),
};
const ENDS = {
  name: both((order, suffix) => ended(`tagWindowByName${suffix}`, 'name', order)),
  updated: both((order, suffix) => ended(`tagWindowByUpdate${suffix}`, 'updated', order)),
};
const OF_DIGEST = both((order, suffix) =>
  query<{ repositoryId: number; digest: string; last: string; limit: number }>()(`tagsOfDigestByName${suffix}`, (db, p) =>
    db
      .selectFrom('tag')
      .leftJoin('tag_pull', (join) =>
        join.onRef('tag_pull.repository_id', '=', 'tag.repository_id').onRef('tag_pull.name', '=', 'tag.name'),
      )
      .select(COLUMNS)
      .where('tag.repository_id', '=', p('repositoryId'))
      .where('tag.digest', '=', p('digest'))
      .where('tag.name', order === 'asc' ? '>' : '<', p('last'))
      .orderBy('tag.name', order)
      .limit(p('limit')),
  ),
);
const tagFacts = query<{ repositoryId: number; name: string }>()('tagFacts', (db, p) =>
  db
    .selectFrom('tag')
    .leftJoin('tag_pull', (join) => join.onRef('tag_pull.repository_id', '=', 'tag.repository_id').onRef('tag_pull.name', '=', 'tag.name'))
    .select(COLUMNS)
    .where('tag.repository_id', '=', p('repositoryId'))
    .where('tag.name', '=', p('name')),
);
const HISTORY = both((order, suffix) =>
  query<{ repositoryId: number; name: string; last: number; limit: number }>()(`tagHistory${suffix}`, (db, p) =>
    db
      .selectFrom('tag_history')
      .select(['id', 'digest', 'previous_digest as previous', 'changed_at as at', 'changed_by as by'])
      .where('repository_id', '=', p('repositoryId'))
      .where('name', '=', p('name'))
      .where('id', order === 'asc' ? '>' : '<', p('last'))
      .orderBy('id', order)
      .limit(p('limit')),
  ),
);

/** Tags looked at for one page of a filtered list, however few of them it shows. */
const LOOKED_AT = 50_000;

/** What a tag is sorted by, and its name. */
function tagKey({ name, updatedAt }: Pick<TagFacts, 'name' | 'updatedAt'>, sort: TagSort): [string | number, string] {
  return [sort === 'name' ? name : updatedAt, name];
}

/** Tags after a position. Of a long list that shows few a page may hold less than it could, and still go on. */
export async function listTagFacts(
  session: Session,
  { repositoryId, sort, order, last, limit, name = '' }: TagPage,
): Promise<{ tags: TagFacts[]; next: [string | number, string] | undefined }> {
  const end = AFTER_ALL[order];
  const begin = BEFORE_ALL[order];
  const [at, tie] = last ?? [sort === 'name' ? begin.text : begin.number, begin.text];
  const window = name === '' ? undefined : await session.first(ENDS[sort][order], { repositoryId, at, tie, skip: LOOKED_AT - 1 });
  const [toAt, toTie] = window ? tagKey(window, sort) : [sort === 'name' ? end.text : end.number, end.text];
  const rows = await session.all(LISTS[sort][order], { repositoryId, at, tie, toAt, toTie, pattern: containing(name), limit: limit + 1 });
  const tags = rows.slice(0, limit);
  const shown = tags.at(-1);
  if (rows.length > limit && shown) return { tags, next: tagKey(shown, sort) };
  return { tags, next: window && tagKey(window, sort) };
}

/** Tags of one digest by name after `last`. */
export async function listTagsOfDigest(
  session: Session,
  {
    repositoryId,
    digest,
    order = 'asc',
    last,
    limit,
  }: { repositoryId: number; digest: string; order?: Order; last?: string | undefined; limit: number },
): Promise<TagFacts[]> {
  return await session.all(OF_DIGEST[order], { repositoryId, digest, last: last ?? BEFORE_ALL[order].text, limit });
}

export async function findTagFacts(session: Session, repositoryId: number, name: string): Promise<TagFacts | undefined> {
  return await session.first(tagFacts, { repositoryId, name });
}

/** Changes of a tag by their order, after one of them. */
export async function listTagHistory(
  session: Session,
  { repositoryId, name, order, last, limit }: { repositoryId: number; name: string; order: Order; last: number | undefined; limit: number },
): Promise<TagChange[]> {
  return await session.all(HISTORY[order], { repositoryId, name, last: last ?? BEFORE_ALL[order].number, limit });
}
