import { sql } from 'kysely';
import { BEFORE_ALL, beyond, queriesOf, type Session } from '../platform/index.ts';
import type { CatalogTables } from './schema.ts';

const query = queriesOf<CatalogTables>('catalog');

const UPDATED = sql.ref('tag.updated_at');
const NAME = sql.ref('tag.name');

const tagsByPush = query<{ repositoryId: number; at: number; name: string; limit: number }>()('tagsByPush', (db, p) =>
  db
    .selectFrom('tag')
    .leftJoin('manifest', (join) =>
      join.onRef('manifest.repository_id', '=', 'tag.repository_id').onRef('manifest.digest', '=', 'tag.digest'),
    )
    .leftJoin('tag_pull', (join) => join.onRef('tag_pull.repository_id', '=', 'tag.repository_id').onRef('tag_pull.name', '=', 'tag.name'))
    .leftJoin('manifest_pull', (join) =>
      join.onRef('manifest_pull.repository_id', '=', 'tag.repository_id').onRef('manifest_pull.digest', '=', 'tag.digest'),
    )
    .select([
      'tag.name',
      'tag.digest',
      'tag.updated_at as pushedAt',
      'tag_pull.last_at as tagPulledAt',
      'manifest_pull.digest_at as digestPulledAt',
      'manifest.annotations',
    ])
    .where('tag.repository_id', '=', p('repositoryId'))
    .where(beyond(UPDATED, NAME, 'desc', p('at'), p('name')))
    .orderBy('tag.updated_at', 'desc')
    .orderBy('tag.name', 'desc')
    .limit(p('limit')),
);
const tagNow = query<{ repositoryId: number; name: string }>()('tagNow', (db, p) =>
  db
    .selectFrom('tag')
    .leftJoin('tag_pull', (join) => join.onRef('tag_pull.repository_id', '=', 'tag.repository_id').onRef('tag_pull.name', '=', 'tag.name'))
    .leftJoin('manifest_pull', (join) =>
      join.onRef('manifest_pull.repository_id', '=', 'tag.repository_id').onRef('manifest_pull.digest', '=', 'tag.digest'),
    )
    .select(['tag.digest', 'tag.updated_at as pushedAt', 'tag_pull.last_at as tagPulledAt', 'manifest_pull.digest_at as digestPulledAt'])
    .where('tag.repository_id', '=', p('repositoryId'))
    .where('tag.name', '=', p('name')),
);
const manifestsAfter = query<{ repositoryId: number; last: number; limit: number }>()('manifestsToJudge', (db, p) =>
  db
    .selectFrom('manifest')
    .leftJoin('manifest_pull', (join) =>
      join.onRef('manifest_pull.repository_id', '=', 'manifest.repository_id').onRef('manifest_pull.digest', '=', 'manifest.digest'),
    )
    .select((eb) => [
      'manifest.id',
      'manifest.digest',
      'manifest.subject',
      'manifest.created_at as pushedAt',
      'manifest_pull.last_at as pulledAt',
      eb
        .selectFrom('tag')
        .select((each) => each.fn.min('tag.name').as('name'))
        .whereRef('tag.repository_id', '=', 'manifest.repository_id')
        .whereRef('tag.digest', '=', 'manifest.digest')
        .as('tag'),
      eb
        .selectFrom('manifest_reference as part')
        .select((each) => each.fn.min('part.manifest_id').as('id'))
        .whereRef('part.repository_id', '=', 'manifest.repository_id')
        .whereRef('part.digest', '=', 'manifest.digest')
        .where('part.kind', '=', 'manifest')
        .as('parent'),
    ])
    .where('manifest.repository_id', '=', p('repositoryId'))
    .where('manifest.id', '>', p('last'))
    .orderBy('manifest.id')
    .limit(p('limit')),
);
const REPOSITORY = [
  'repository.id',
  'repository.name',
  'project.id as projectId',
  'project.name as project',
  'project.environment',
] as const;
const repositoriesAfter = query<{ last: number; limit: number }>()('repositoriesOfAll', (db, p) =>
  db
    .selectFrom('repository')
    .innerJoin('project', 'project.id', 'repository.project_id')
    .select(REPOSITORY)
    .where('repository.id', '>', p('last'))
    .where('repository.deleted_at', 'is', null)
    .orderBy('repository.id')
    .limit(p('limit')),
);
const repositoriesIn = query<{ projectId: number; last: number; limit: number }>()('repositoriesOfOne', (db, p) =>
  db
    .selectFrom('repository')
    .innerJoin('project', 'project.id', 'repository.project_id')
    .select(REPOSITORY)
    .where('repository.project_id', '=', p('projectId'))
    .where('repository.id', '>', p('last'))
    .where('repository.deleted_at', 'is', null)
    .orderBy('repository.id')
    .limit(p('limit')),
);

const projectsAfter = query<{ last: number; limit: number }>()('projectIds', (db, p) =>
  db.selectFrom('project').select('id').where('id', '>', p('last')).orderBy('id').limit(p('limit')),
);

/** A tag with when it was pushed and pulled; times are milliseconds since 1970. */
export interface TagUse {
  readonly name: string;
  readonly digest: string;
  readonly pushedAt: number;
  /** Last pulled by its name, or what it points at by its digest; null: never. */
  readonly pulledAt: number | null;
  /** JSON object of the manifest's annotations, or null. */
  readonly annotations: string | null;
}

interface PullTimes {
  readonly tagPulledAt: number | null;
  readonly digestPulledAt: number | null;
}

function pulledAt({ tagPulledAt, digestPulledAt }: PullTimes): number | null {
  return tagPulledAt === null && digestPulledAt === null ? null : Math.max(tagPulledAt ?? 0, digestPulledAt ?? 0);
}

/** Tags of a repository, the last pushed first, after one of them. */
export async function pageOfTagUse(
  session: Session,
  repositoryId: number,
  last: Pick<TagUse, 'name' | 'pushedAt'> | undefined,
  limit: number,
): Promise<TagUse[]> {
  const { number, text } = BEFORE_ALL.desc;
  const rows = await session.all(tagsByPush, { repositoryId, at: last?.pushedAt ?? number, name: last?.name ?? text, limit });
  return rows.map(({ tagPulledAt, digestPulledAt, ...tag }) => ({ ...tag, pulledAt: pulledAt({ tagPulledAt, digestPulledAt }) }));
}

/** The same of one tag as it is now; undefined where it is not there. */
export async function findTagUse(
  session: Session,
  repositoryId: number,
  name: string,
): Promise<Pick<TagUse, 'digest' | 'pushedAt' | 'pulledAt'> | undefined> {
  const row = await session.first(tagNow, { repositoryId, name });
  return row && { digest: row.digest, pushedAt: row.pushedAt, pulledAt: pulledAt(row) };
}

/** A manifest with what holds it. */
export interface ManifestUse {
  readonly id: number;
  readonly digest: string;
  readonly subject: string | null;
  readonly pushedAt: number;
  readonly pulledAt: number | null;
  /** One of its tags. */
  readonly tag: string | null;
  /** An index that it is part of. */
  readonly parent: number | null;
}

/** Manifests of a repository by id, after one of them. */
export async function pageOfManifestUse(session: Session, repositoryId: number, last: number, limit: number): Promise<ManifestUse[]> {
  return await session.all(manifestsAfter, { repositoryId, last, limit });
}

export interface PlacedRepository {
  readonly id: number;
  readonly name: string;
  readonly projectId: number;
  readonly project: string;
  readonly environment: string;
}

/** Repositories by id, after one: of a project, or of all. */
export async function pageOfPlacedRepositories(
  session: Session,
  projectId: number | null,
  last: number,
  limit: number,
): Promise<PlacedRepository[]> {
  return projectId === null
    ? await session.all(repositoriesAfter, { last, limit })
    : await session.all(repositoriesIn, { projectId, last, limit });
}

/** Projects by id, after one. */
export async function pageOfProjectIds(session: Session, last: number, limit: number): Promise<number[]> {
  return (await session.all(projectsAfter, { last, limit })).map(({ id }) => id);
}
