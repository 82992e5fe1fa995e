import { sql } from 'kysely';
import { beyond, type Order, queriesOf, type Session } from '../platform/index.ts';
import type { CatalogTables } from './schema.ts';
import type { Limits } from './usage.ts';

const query = queriesOf<CatalogTables>('catalog');

const NAME = sql.ref('project.name');
const LIMITS = ['project_quota.bytes', 'project_quota.repositories', 'project_quota.tags'] as const;

const setLimits = query<{ projectId: number; bytes: number | null; repositories: number | null; tags: number | null }>()(
  'setLimits',
  (db, p) =>
    db
      .insertInto('project_quota')
      .values({ project_id: p('projectId'), bytes: p('bytes'), repositories: p('repositories'), tags: p('tags'), version: 1 })
      .onConflict((conflict) =>
        conflict.column('project_id').doUpdateSet((eb) => ({
          bytes: eb.ref('excluded.bytes'),
          repositories: eb.ref('excluded.repositories'),
          tags: eb.ref('excluded.tags'),
          version: eb('project_quota.version', '+', 1),
        })),
      ),
);
const removeLimits = query<{ projectId: number }>()('removeLimits', (db, p) =>
  db.deleteFrom('project_quota').where('project_id', '=', p('projectId')),
);
const limitedAfter = query<{ last: number; limit: number }>()('limitedProjects', (db, p) =>
  db
    .selectFrom('project_quota')
    .select(['project_quota.project_id as projectId', ...LIMITS])
    .where('project_quota.project_id', '>', p('last'))
    .orderBy('project_quota.project_id')
    .limit(p('limit')),
);
const listed = (order: Order) =>
  query<{ last: string; limited: number; limit: number }>()(order === 'asc' ? 'quotas' : 'quotasDown', (db, p) =>
    db
      .selectFrom('project')
      .leftJoin('project_quota', 'project_quota.project_id', 'project.id')
      .select(['project.id as projectId', 'project.name', ...LIMITS])
      .where(beyond(NAME, NAME, order, p('last'), p('last')))
      .where((eb) => eb.or([eb(p('limited'), '=', 0), eb('project_quota.project_id', 'is not', null)]))
      .orderBy('project.name', order)
      .limit(p('limit')),
  );
const LISTS = { asc: listed('asc'), desc: listed('desc') };

/** Sets the limits of a project; what is above them already stays, and nothing is added to it. Only null: it has none. */
export async function setProjectLimits(tx: Session, projectId: number, { bytes, repositories, tags }: Limits): Promise<void> {
  if (bytes === null && repositories === null && tags === null) await tx.run(removeLimits, { projectId });
  else await tx.run(setLimits, { projectId, bytes, repositories, tags });
}

/** Projects that have limits, by id after one. */
export async function pageOfLimited(session: Session, last: number, limit: number): Promise<({ projectId: number } & Limits)[]> {
  return await session.all(limitedAfter, { last, limit });
}

/** Projects and their limits, by name after one; `limited`: only those that have any. */
export async function pageOfQuotas(
  session: Session,
  page: { order: Order; last: string; limited: boolean; limit: number },
): Promise<({ projectId: number; name: string } & Limits)[]> {
  const { order, last, limited, limit } = page;
  return await session.all(LISTS[order], { last, limited: limited ? 1 : 0, limit });
}
