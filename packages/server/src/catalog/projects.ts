import { projectOf } from '@entrepot/oci';
import { AppError, andThen, type MaybePromise, queriesOf, type Session } from '../platform/index.ts';
import { announce } from './events.ts';
import { dropRulesOf } from './immutability-rules.ts';
import { setProjectLimits } from './quotas.ts';
import type { CatalogTables } from './schema.ts';
import { hasTrash } from './trash-list.ts';
import { countUsage, dropProjectUsage, type Room } from './usage.ts';

export interface Repository {
  readonly id: number;
  readonly name: string;
  readonly projectId: number;
}

export type Environment = 'development' | 'test' | 'production';

export interface Project {
  readonly id: number;
  readonly name: string;
  readonly public: boolean;
  readonly description: string;
  readonly environment: Environment;
  /** CIDR ranges, by comma, from which may be pulled; empty: from anywhere. */
  readonly pullNetworks: string;
  /** The same for what changes content. */
  readonly pushNetworks: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly createdBy: string;
  readonly version: number;
}

const query = queriesOf<CatalogTables>('catalog');
const PROJECT = [
  'id',
  'name',
  'public',
  'description',
  'environment',
  'pull_networks as pullNetworks',
  'push_networks as pushNetworks',
  'created_at as createdAt',
  'created_by as createdBy',
  'version',
] as const;

const repositoryByName = query<{ name: string }>()('repositoryByName', (db, p) =>
  db.selectFrom('repository').select(['id', 'name', 'project_id as projectId']).where('name', '=', p('name')),
);
const repositoryById = query<{ id: number }>()('repositoryById', (db, p) =>
  db.selectFrom('repository').select(['id', 'name', 'project_id as projectId']).where('id', '=', p('id')).where('deleted_at', 'is', null),
);
const projectByName = query<{ name: string }>()('projectByName', (db, p) =>
  db.selectFrom('project').select(PROJECT).where('name', '=', p('name')),
);
const projectById = query<{ id: number }>()('projectById', (db, p) => db.selectFrom('project').select(PROJECT).where('id', '=', p('id')));
const insertProject = query<{ name: string; public: number; now: number; by: string; description: string; environment: string }>()(
  'insertProject',
  (db, p) =>
    db
      .insertInto('project')
      .values({
        name: p('name'),
        public: p('public'),
        created_at: p('now'),
        created_by: p('by'),
        description: p('description'),
        environment: p('environment'),
        pull_networks: '',
        push_networks: '',
        version: 1,
      })
      .onConflict((conflict) => conflict.column('name').doNothing()),
);
const updateVisibility = query<{ name: string; public: number }>()('updateVisibility', (db, p) =>
  db
    .updateTable('project')
    .set((eb) => ({ public: p('public'), version: eb('version', '+', 1) }))
    .where('name', '=', p('name')),
);
const updateProject = query<{
  id: number;
  public: number;
  description: string;
  environment: string;
  pullNetworks: string;
  pushNetworks: string;
}>()('updateProject', (db, p) =>
  db
    .updateTable('project')
    .set((eb) => ({
      public: p('public'),
      description: p('description'),
      environment: p('environment'),
      pull_networks: p('pullNetworks'),
      push_networks: p('pushNetworks'),
      version: eb('version', '+', 1),
    }))
    .where('id', '=', p('id')),
);
const deleteProjectRow = query<{ id: number }>()('deleteProject', (db, p) => db.deleteFrom('project').where('id', '=', p('id')));
const insertRepository = query<{ projectId: number; name: string; now: number }>()('insertRepository', (db, p) =>
  db
    .insertInto('repository')
    .values({ project_id: p('projectId'), name: p('name'), created_at: p('now'), description: '', version: 1 })
    .onConflict((conflict) => conflict.column('name').doNothing()),
);
const insertChange = query<{ id: number; projectId: number; now: number }>()('insertRepositoryChange', (db, p) =>
  db
    .insertInto('repository_change')
    .values({ repository_id: p('id'), project_id: p('projectId'), updated_at: p('now') })
    .onConflict((conflict) => conflict.column('repository_id').doNothing()),
);
const updateChange = query<{ id: number; now: number }>()('updateRepositoryChange', (db, p) =>
  db
    .updateTable('repository_change')
    .set({ updated_at: p('now') })
    .where('repository_id', '=', p('id')),
);
const anyRepository = query<{ projectId: number }>()('anyRepository', (db, p) =>
  db.selectFrom('repository').select('id').where('project_id', '=', p('projectId')).limit(1),
);
const listRepositories = query<{ projectId: number; last: string; limit: number }>()('listRepositories', (db, p) =>
  db
    .selectFrom('repository')
    .select('name')
    .where('project_id', '=', p('projectId'))
    .where('deleted_at', 'is', null)
    .where('name', '>', p('last'))
    .orderBy('name')
    .limit(p('limit')),
);

/** A repository that was not deleted. */
export async function findRepositoryById(session: Session, id: number): Promise<Repository | undefined> {
  return await session.first(repositoryById, { id });
}

export function findRepository(session: Session, name: string): MaybePromise<Repository | undefined> {
  return session.first(repositoryByName, { name });
}

export function findProject(session: Session, name: string): MaybePromise<Project | undefined> {
  return andThen(session.first(projectByName, { name }), (row) => row && toProject(row));
}

export async function findProjectById(session: Session, id: number): Promise<Project | undefined> {
  const row = await session.first(projectById, { id });
  return row && toProject(row);
}

type ProjectRow = Omit<Project, 'public' | 'environment'> & { public: number; environment: string };

/** A row read again from memory is the same object: it becomes a project once. */
const PROJECTS = new WeakMap<ProjectRow, Project>();

function toProject(row: ProjectRow): Project {
  let project = PROJECTS.get(row);
  if (project === undefined) {
    project = { ...row, public: row.public === 1, environment: row.environment as Environment };
    PROJECTS.set(row, project);
  }
  return project;
}

export interface NewProject {
  readonly name: string;
  readonly public: boolean;
  readonly description?: string;
  readonly environment?: Environment;
  /** Its limit from the beginning; 0 or absent: none. */
  readonly quotaBytes?: number;
  readonly by: string;
  readonly now: number;
}

/** Makes a project; false if there is one of that name. */
export async function createProject(tx: Session, project: NewProject): Promise<boolean> {
  const { name, by, now, description = '', environment = 'development', quotaBytes = 0 } = project;
  if ((await tx.run(insertProject, { name, public: project.public ? 1 : 0, now, by, description, environment })) === 0) return false;
  const made = quotaBytes > 0 ? await findProject(tx, name) : undefined;
  if (made) await setProjectLimits(tx, made.id, { bytes: quotaBytes, repositories: null, tags: null });
  return true;
}

/** Makes a project readable without login, or not; false if there is none of that name. */
export async function setProjectVisibility(tx: Session, name: string, isPublic: boolean): Promise<boolean> {
  return (await tx.run(updateVisibility, { name, public: isPublic ? 1 : 0 })) === 1;
}

export type ProjectSettings = Pick<Project, 'public' | 'description' | 'environment' | 'pullNetworks' | 'pushNetworks'>;

/** Changes the settings of a project and gives it as it is now. */
export async function changeProject(tx: Session, project: Project, change: Partial<ProjectSettings>): Promise<Project> {
  const { id, name } = project;
  const { description, environment, pullNetworks, pushNetworks, public: isPublic } = { ...project, ...change };
  await tx.run(updateProject, { id, public: isPublic ? 1 : 0, description, environment, pullNetworks, pushNetworks });
  const changed = await findProject(tx, name);
  if (!changed) throw new Error('a project vanished in its own transaction');
  return changed;
}

/** Deletes a project. Throws `conflict` while it has repositories. */
export async function deleteProject(tx: Session, { id, name }: Project): Promise<void> {
  const [repository] = await pageOfRepositories(tx, id, '', 1);
  if (repository !== undefined) throw new AppError('conflict', `project ${name} still has repositories, such as ${repository}`);
  if (await hasTrash(tx, id)) throw new AppError('conflict', `project ${name} still has something in its trash; empty the trash first`);
  if (await tx.first(anyRepository, { projectId: id }))
    throw new AppError('conflict', `content of project ${name} is still being deleted; try again`);
  await dropProjectUsage(tx, id);
  await dropRulesOf(tx, id);
  await tx.run(deleteProjectRow, { id });
}

/** The repository of a name, made if need be; its project must exist. `silent`: it was there all along, so that it is no news. */
export async function ensureRepository(
  tx: Session,
  name: string,
  by: string,
  now: number,
  { silent = false, room }: { silent?: boolean; room?: Room | undefined } = {},
): Promise<Repository> {
  const found = await tx.first(repositoryByName, { name });
  if (found) return found;
  const project = await tx.first(projectByName, { name: projectOf(name) });
  if (!project) throw new AppError('name_unknown', `project ${projectOf(name)} does not exist`);
  await tx.run(insertRepository, { projectId: project.id, name, now });
  const made = await tx.first(repositoryByName, { name });
  if (!made) throw new Error('a repository vanished in its own transaction');
  await countUsage(tx, made.id, { repositories: 1 }, { now, room });
  await tx.run(insertChange, { id: made.id, projectId: project.id, now });
  if (!silent) await announce(tx, made.id, { topic: 'repository.created', payload: { by } }, now);
  return made;
}

/** Notes that the content of a repository changed. */
export async function touchRepository(tx: Session, id: number, now: number): Promise<void> {
  await tx.run(updateChange, { id, now });
}

/** Names of a project's repositories after `last` in byte order. */
export async function pageOfRepositories(session: Session, projectId: number, last: string, limit: number): Promise<string[]> {
  return (await session.all(listRepositories, { projectId, last, limit })).map((row) => row.name);
}
