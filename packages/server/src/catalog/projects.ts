import { projectOf } from '@entrepot/oci';
import { AppError, type MaybePromise, queriesOf, type Session } from '../platform/index.ts';
import type { CatalogTables } from './schema.ts';

export interface Repository {
  readonly id: number;
  readonly name: string;
  readonly projectId: number;
}

export interface Project {
  readonly id: number;
  readonly name: string;
  readonly public: boolean;
}

const query = queriesOf<CatalogTables>('catalog');

const repositoryByName = query<{ name: string }>()('repositoryByName', (db, p) =>
  db.selectFrom('repository').select(['id', 'name', 'project_id as projectId']).where('name', '=', p('name')),
);
const projectByName = query<{ name: string }>()('projectByName', (db, p) =>
  db.selectFrom('project').select(['id', 'name', 'public']).where('name', '=', p('name')),
);
const insertProject = query<{ name: string; public: number; now: number; by: string }>()('insertProject', (db, p) =>
  db
    .insertInto('project')
    .values({ name: p('name'), public: p('public'), created_at: p('now'), created_by: p('by') })
    .onConflict((conflict) => conflict.column('name').doNothing()),
);
const updateVisibility = query<{ name: string; public: number }>()('updateVisibility', (db, p) =>
  db
    .updateTable('project')
    .set({ public: p('public') })
    .where('name', '=', p('name')),
);
const insertRepository = query<{ projectId: number; name: string; now: number }>()('insertRepository', (db, p) =>
  db
    .insertInto('repository')
    .values({ project_id: p('projectId'), name: p('name'), created_at: p('now') })
    .onConflict((conflict) => conflict.column('name').doNothing()),
);
const listRepositories = query<{ projectId: number; last: string; limit: number }>()('listRepositories', (db, p) =>
  db
    .selectFrom('repository')
    .select('name')
    .where('project_id', '=', p('projectId'))
    .where('name', '>', p('last'))
    .orderBy('name')
    .limit(p('limit')),
);

export function findRepository(session: Session, name: string): MaybePromise<Repository | undefined> {
  return session.first(repositoryByName, { name });
}

export async function findProject(session: Session, name: string): Promise<Project | undefined> {
  const row = await session.first(projectByName, { name });
  return row && { id: row.id, name: row.name, public: row.public === 1 };
}

/** Makes a project; false if there is one of that name. */
export async function createProject(tx: Session, project: { name: string; public: boolean; by: string; now: number }): Promise<boolean> {
  const { name, by, now } = project;
  return (await tx.run(insertProject, { name, public: project.public ? 1 : 0, now, by })) === 1;
}

/** Makes a project readable without login, or not; false if there is none of that name. */
export async function setProjectVisibility(tx: Session, name: string, isPublic: boolean): Promise<boolean> {
  return (await tx.run(updateVisibility, { name, public: isPublic ? 1 : 0 })) === 1;
}

/** The repository of a name, made if need be; so is its project where `mayCreateProject` says so, as a private one. */
export async function ensureRepository(
  tx: Session,
  name: string,
  { by, now, mayCreateProject }: { by: string; now: number; mayCreateProject: boolean },
): Promise<Repository> {
  const found = await tx.first(repositoryByName, { name });
  if (found) return found;
  if (mayCreateProject) await tx.run(insertProject, { name: projectOf(name), public: 0, now, by });
  const project = await tx.first(projectByName, { name: projectOf(name) });
  if (!project) throw new AppError('name_unknown', `project ${projectOf(name)} does not exist`);
  await tx.run(insertRepository, { projectId: project.id, name, now });
  const made = await tx.first(repositoryByName, { name });
  if (!made) throw new Error('a repository vanished in its own transaction');
  return made;
}

/** Names of a project's repositories after `last` in byte order. */
export async function pageOfRepositories(session: Session, projectId: number, last: string, limit: number): Promise<string[]> {
  return (await session.all(listRepositories, { projectId, last, limit })).map((row) => row.name);
}
