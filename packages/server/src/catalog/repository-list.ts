import { sql } from 'kysely';
import { BEFORE_ALL, beyond, type Order, type Query, queriesOf, type Session } from '../platform/index.ts';
import type { CatalogTables } from './schema.ts';

const query = queriesOf<CatalogTables>('catalog');

/** A repository as lists show it. */
export interface RepositoryFacts {
  readonly id: number;
  /** Full name. */
  readonly name: string;
  readonly description: string;
  /** Milliseconds since 1970, like the next. */
  readonly createdAt: number;
  /** Of its content. */
  readonly updatedAt: number;
  readonly version: number;
}

export type RepositorySort = 'name' | 'created' | 'updated';

export interface RepositoryPage {
  readonly projectId: number;
  readonly sort: RepositorySort;
  readonly order: Order;
  /** Value and id of the last before the page. */
  readonly last: readonly [string | number, number] | undefined;
  readonly limit: number;
  /** Whether one is part of the list, by full name. */
  readonly includes: (name: string) => boolean;
}

interface Params {
  projectId: number;
  at: string | number;
  id: number;
  limit: number;
}

const COLUMNS = [
  'repository.id',
  'repository.name',
  'repository.description',
  'repository.created_at as createdAt',
  'repository_change.updated_at as updatedAt',
  'repository.version',
] as const;

const ID = sql.ref('repository.id');
const COLUMN = { name: sql.ref('repository.name'), created: sql.ref('repository.created_at') } as const;

function sorted(name: string, sort: 'name' | 'created', order: Order): Query<Params, RepositoryFacts> {
  return query<Params>()(name, (db, p) =>
    db
      .selectFrom('repository')
      .innerJoin('repository_change', 'repository_change.repository_id', 'repository.id')
      .select(COLUMNS)
      .where('repository.project_id', '=', p('projectId'))
      .where('repository.deleted_at', 'is', null)
      .where(beyond(COLUMN[sort], ID, order, p('at'), p('id')))
      .orderBy(COLUMN[sort], order)
      .orderBy('repository.id', order)
      .limit(p('limit')),
  );
}

function byUpdate(name: string, order: Order): Query<Params, RepositoryFacts> {
  return query<Params>()(name, (db, p) =>
    db
      .selectFrom('repository_change')
      .innerJoin('repository', 'repository.id', 'repository_change.repository_id')
      .select(COLUMNS)
      .where('repository_change.project_id', '=', p('projectId'))
      .where('repository.deleted_at', 'is', null)
      .where(beyond(sql.ref('repository_change.updated_at'), sql.ref('repository_change.repository_id'), order, p('at'), p('id')))
      .orderBy('repository_change.updated_at', order)
      .orderBy('repository_change.repository_id', order)
      .limit(p('limit')),
  );
}

const LISTS: Record<RepositorySort, Record<Order, Query<Params, RepositoryFacts>>> = {
  name: { asc: sorted('repositoriesByName', 'name', 'asc'), desc: sorted('repositoriesByNameDown', 'name', 'desc') },
  created: { asc: sorted('repositoriesByAge', 'created', 'asc'), desc: sorted('repositoriesByAgeDown', 'created', 'desc') },
  updated: { asc: byUpdate('repositoriesByUpdate', 'asc'), desc: byUpdate('repositoriesByUpdateDown', 'desc') },
};

const repositoryFacts = query<{ name: string }>()('repositoryFacts', (db, p) =>
  db
    .selectFrom('repository')
    .innerJoin('repository_change', 'repository_change.repository_id', 'repository.id')
    .select(COLUMNS)
    .where('repository.name', '=', p('name')),
);
const updateDescription = query<{ id: number; description: string }>()('updateRepositoryDescription', (db, p) =>
  db
    .updateTable('repository')
    .set((eb) => ({ description: p('description'), version: eb('version', '+', 1) }))
    .where('id', '=', p('id')),
);

const CHUNK = 1000;
/** Rows looked at for one page, however few of them are part of it. */
const LOOKED_AT = 20_000;

/** What a row is sorted by, and its id. */
function repositoryKey({ id, name, createdAt, updatedAt }: RepositoryFacts, sort: RepositorySort): [string | number, number] {
  return [{ name, created: createdAt, updated: updatedAt }[sort], id];
}

/** Repositories after a position. Of a long list that includes few a page may hold less than it could, and still go on. */
export async function listRepositories(
  session: Session,
  { projectId, sort, order, last, limit, includes }: RepositoryPage,
): Promise<{ repositories: RepositoryFacts[]; next: [string | number, number] | undefined }> {
  const begin = BEFORE_ALL[order];
  let [at, id] = last ?? [sort === 'name' ? begin.text : begin.number, begin.number];
  const repositories: RepositoryFacts[] = [];
  for (let looked = 0; looked < LOOKED_AT; looked += CHUNK) {
    const rows = await session.all(LISTS[sort][order], { projectId, at, id, limit: CHUNK });
    for (const row of rows) {
      if (!includes(row.name)) continue;
      const before = repositories.at(-1);
      if (repositories.length === limit && before) return { repositories, next: repositoryKey(before, sort) };
      repositories.push(row);
    }
    const end = rows.at(-1);
    if (rows.length < CHUNK || !end) return { repositories, next: undefined };
    [at, id] = repositoryKey(end, sort);
  }
  return { repositories, next: [at, id] };
}

/** A repository by its full name. */
export async function findRepositoryFacts(session: Session, name: string): Promise<RepositoryFacts | undefined> {
  return await session.first(repositoryFacts, { name });
}

/** Describes a repository and gives it as it is now. */
export async function describeRepository(tx: Session, { id, name }: RepositoryFacts, description: string): Promise<RepositoryFacts> {
  await tx.run(updateDescription, { id, description });
  const changed = await findRepositoryFacts(tx, name);
  if (!changed) throw new Error('a repository vanished in its own transaction');
  return changed;
}
