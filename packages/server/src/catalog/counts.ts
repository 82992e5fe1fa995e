import { type Query, queriesOf, type Session } from '../platform/index.ts';
import { STANDS_FOR_ITSELF } from './artifact-list.ts';
import type { CatalogTables } from './schema.ts';

const query = queriesOf<CatalogTables>('catalog');
type Counted = { count: number };

const countRepositories = query<{ id: number }>()('countRepositories', (db, p) =>
  db
    .selectFrom('repository')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('project_id', '=', p('id'))
    .where('deleted_at', 'is', null),
);
/** No more than so many, as each must be looked at. */
const countArtifacts = query<{ id: number; most: number }>()('countArtifacts', (db, p) =>
  db
    .selectFrom((eb) =>
      eb
        .selectFrom('manifest')
        .select('manifest.id')
        .where('manifest.repository_id', '=', p('id'))
        .where(STANDS_FOR_ITSELF)
        .limit(p('most'))
        .as('some'),
    )
    .select((eb) => eb.fn.countAll<number>().as('count')),
);

const MOST = 10_000;

async function count<P>(session: Session, counting: Query<P, Counted>, params: P): Promise<number> {
  return (await session.first(counting, params))?.count ?? 0;
}

export async function repositoryCount(session: Session, projectId: number): Promise<number> {
  return await count(session, countRepositories, { id: projectId });
}

/** Manifests that stand for themselves; 10,000 means as many or more. */
export async function artifactCount(session: Session, repositoryId: number): Promise<number> {
  return await count(session, countArtifacts, { id: repositoryId, most: MOST });
}
