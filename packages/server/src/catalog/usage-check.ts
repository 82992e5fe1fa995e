import { sql } from 'kysely';
import { type Database, queriesOf, type Session } from '../platform/index.ts';
import type { CatalogTables } from './schema.ts';
import { QUOTA_NAMES, type Usage, usageOf } from './usage.ts';

const query = queriesOf<CatalogTables>('catalog');
const PAGE = 2000;
const TRIES = 3;

type Page = { projectId: number; last: string; limit: number };

const projectsAfter = query<{ last: number; limit: number }>()('projectsToCheck', (db, p) =>
  db.selectFrom('project').select(['id', 'name']).where('id', '>', p('last')).orderBy('id').limit(p('limit')),
);
const repositoriesAfter = query<{ projectId: number; last: number; limit: number }>()('repositoriesToCheck', (db, p) =>
  db
    .selectFrom('repository')
    .select(['id', 'deleted_at as deletedAt'])
    .where('project_id', '=', p('projectId'))
    .where('id', '>', p('last'))
    .orderBy('id')
    .limit(p('limit')),
);
/** How many links of a blob there are in a project. */
const LINKS = sql<number>`(select count(*) from repository_blob join repository on repository.id = repository_blob.repository_id
  where repository_blob.digest = counted.digest and repository.project_id = counted.project_id)`;
const blobsCounted = query<Page>()('blobsCounted', (db, p) =>
  db
    .selectFrom('project_blob as counted')
    .select(['counted.digest', 'counted.size', 'counted.links', LINKS.as('found')])
    .where('counted.project_id', '=', p('projectId'))
    .where('counted.digest', '>', p('last'))
    .orderBy('counted.digest')
    .limit(p('limit')),
);
const blobsLinked = query<{ repositoryId: number; projectId: number; last: string; limit: number }>()('blobsLinked', (db, p) =>
  db
    .selectFrom('repository_blob')
    .leftJoin('project_blob', (join) =>
      join.onRef('project_blob.digest', '=', 'repository_blob.digest').on('project_blob.project_id', '=', p('projectId')),
    )
    .select(['repository_blob.digest', 'project_blob.links'])
    .where('repository_blob.repository_id', '=', p('repositoryId'))
    .where('repository_blob.digest', '>', p('last'))
    .orderBy('repository_blob.digest')
    .limit(p('limit')),
);
const linksOf = query<{ projectId: number; digest: string }>()('linksOfBlob', (db, p) =>
  db
    .selectFrom('repository_blob')
    .innerJoin('repository', 'repository.id', 'repository_blob.repository_id')
    .select((eb) => [eb.fn.countAll<number>().as('links'), eb.fn.max('repository_blob.size').as('size')])
    .where('repository_blob.digest', '=', p('digest'))
    .where('repository.project_id', '=', p('projectId')),
);
const setBlob = query<{ projectId: number; digest: string; size: number; links: number }>()('setProjectBlob', (db, p) =>
  db
    .insertInto('project_blob')
    .values({ project_id: p('projectId'), digest: p('digest'), size: p('size'), links: p('links') })
    .onConflict((conflict) =>
      conflict.columns(['project_id', 'digest']).doUpdateSet((eb) => ({ size: eb.ref('excluded.size'), links: eb.ref('excluded.links') })),
    ),
);
const dropBlob = query<{ projectId: number; digest: string }>()('dropProjectBlob', (db, p) =>
  db.deleteFrom('project_blob').where('project_id', '=', p('projectId')).where('digest', '=', p('digest')),
);
const manifestSizes = query<{ repositoryId: number; last: number; limit: number }>()('manifestSizes', (db, p) =>
  db
    .selectFrom('manifest')
    .select(['id', 'size'])
    .where('repository_id', '=', p('repositoryId'))
    .where('id', '>', p('last'))
    .orderBy('id')
    .limit(p('limit')),
);
/** Manifests in the trash go on counting until they leave it. */
const trashSize = query<{ repositoryId: number }>()('trashSize', (db, p) =>
  db
    .selectFrom('trash_manifest')
    .select(sql<number>`cast(coalesce(sum(size), 0) as bigint)`.as('bytes'))
    .where('repository_id', '=', p('repositoryId')),
);
const countTags = query<{ repositoryId: number }>()('countTags', (db, p) =>
  db
    .selectFrom('tag')
    .select((eb) => eb.fn.countAll<number>().as('tags'))
    .where('repository_id', '=', p('repositoryId')),
);
const changesIn = query<{ projectId: number }>()('usageChanges', (db, p) =>
  db
    .selectFrom('project_usage')
    .select(sql<number>`cast(coalesce(sum(changes), 0) as bigint)`.as('changes'))
    .where('project_id', '=', p('projectId')),
);
const adjust = query<{ projectId: number; bytes: number; repositories: number; tags: number }>()('adjustUsage', (db, p) =>
  db
    .insertInto('project_usage')
    .values({ project_id: p('projectId'), stripe: 0, bytes: p('bytes'), repositories: p('repositories'), tags: p('tags'), changes: 1 })
    .onConflict((conflict) =>
      conflict.columns(['project_id', 'stripe']).doUpdateSet((eb) => ({
        bytes: eb('project_usage.bytes', '+', eb.ref('excluded.bytes')),
        repositories: eb('project_usage.repositories', '+', eb.ref('excluded.repositories')),
        tags: eb('project_usage.tags', '+', eb.ref('excluded.tags')),
        changes: eb('project_usage.changes', '+', 1),
      })),
    ),
);

/** A project that was counted otherwise than it is. */
export interface UsageDrift {
  readonly project: string;
  readonly counted: Usage;
  readonly found: Usage;
  /** Blobs counted in a wrong number of repositories. */
  readonly blobs: number;
}

export interface UsageCheck {
  readonly projects: number;
  readonly drifts: readonly UsageDrift[];
  /** Projects that changed all the while; they are looked at another time. */
  readonly busy: readonly string[];
}

interface Options {
  readonly repair: boolean;
  /** Name of the one project to look at. */
  readonly only?: string;
  readonly signal?: AbortSignal;
  progress?(value: unknown): Promise<void>;
}

/** Counts anew what every project holds (invariant I4), in small steps, and mends the count where told. */
export async function checkUsage(database: Database, { repair, only, signal, progress }: Options): Promise<UsageCheck> {
  const drifts: UsageDrift[] = [];
  const busy: string[] = [];
  let projects = 0;
  for (let last = 0; ; ) {
    const page = await database.all(projectsAfter, { last, limit: 100 });
    for (const { id, name } of page) {
      last = id;
      if (only !== undefined && name !== only) continue;
      projects++;
      const drift = await checkProject(database, { id, name }, repair, signal);
      if (drift === 'busy') busy.push(name);
      else if (drift) drifts.push(drift);
      await progress?.({ projects, drifts: drifts.length });
    }
    if (page.length < 100) return { projects, drifts, busy };
  }
}

async function checkProject(
  database: Database,
  project: { readonly id: number; readonly name: string },
  repair: boolean,
  signal?: AbortSignal,
): Promise<UsageDrift | 'busy' | undefined> {
  const projectId = project.id;
  for (let left = TRIES; left > 0; left--) {
    const before = await changes(database, projectId);
    const { found, wrong } = await recount(database, projectId, signal);
    const counted = await usageOf(database, projectId);
    // Nothing of it changed while it was read, page by page: so the pages belong together.
    if ((await changes(database, projectId)) !== before) continue;
    if (wrong.length === 0 && QUOTA_NAMES.every((name) => found[name] === counted[name])) return undefined;
    if (repair) {
      const off = QUOTA_NAMES.map((name) => [name, found[name] - counted[name]]);
      const isMended = await database.write(async (tx) => {
        if ((await changes(tx, projectId)) !== before) return false;
        for (const digest of wrong) await mendBlob(tx, projectId, digest);
        await tx.run(adjust, { projectId, ...(Object.fromEntries(off) as Usage) });
        return true;
      });
      if (!isMended) continue;
    }
    return { project: project.name, counted, found, blobs: wrong.length };
  }
  return 'busy';
}

async function changes(session: Session, projectId: number): Promise<number> {
  return (await session.first(changesIn, { projectId }))?.changes ?? 0;
}

async function mendBlob(tx: Session, projectId: number, digest: string): Promise<void> {
  const real = await tx.first(linksOf, { projectId, digest });
  if (real && real.links > 0) await tx.run(setBlob, { projectId, digest, size: real.size, links: real.links });
  else await tx.run(dropBlob, { projectId, digest });
}

/** What a project holds, and its blobs that are counted in a wrong number of repositories. */
async function recount(database: Database, projectId: number, signal?: AbortSignal): Promise<{ found: Usage; wrong: string[] }> {
  const wrong = new Set<string>();
  const found = { bytes: 0, repositories: 0, tags: 0 };
  for (let last = ''; ; ) {
    const page = await database.all(blobsCounted, { projectId, last, limit: PAGE });
    for (const blob of page) {
      last = blob.digest;
      if (blob.found !== blob.links) wrong.add(blob.digest);
      if (blob.found > 0) found.bytes += blob.size;
    }
    await pause(signal);
    if (page.length < PAGE) break;
  }
  for (let after = 0; ; ) {
    const repositories = await database.all(repositoriesAfter, { projectId, last: after, limit: PAGE });
    for (const { id, deletedAt } of repositories) {
      after = id;
      if (deletedAt === null) found.repositories++;
      found.bytes += (await database.first(trashSize, { repositoryId: id }))?.bytes ?? 0;
      found.tags += (await database.first(countTags, { repositoryId: id }))?.tags ?? 0;
      for (let last = 0; ; ) {
        const page = await database.all(manifestSizes, { repositoryId: id, last, limit: PAGE });
        for (const manifest of page) found.bytes += manifest.size;
        last = page.at(-1)?.id ?? last;
        await pause(signal);
        if (page.length < PAGE) break;
      }
      for (let last = ''; ; ) {
        const page = await database.all(blobsLinked, { repositoryId: id, projectId, last, limit: PAGE });
        for (const { digest, links } of page) {
          last = digest;
          if (links !== null || wrong.has(digest)) continue;
          wrong.add(digest);
          found.bytes += (await database.first(linksOf, { projectId, digest }))?.size ?? 0;
        }
        await pause(signal);
        if (page.length < PAGE) break;
      }
    }
    if (repositories.length < PAGE) return { found, wrong: [...wrong] };
  }
}

/** Lets requests have their turn. */
async function pause(signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  await new Promise((resolve) => setImmediate(resolve));
}
