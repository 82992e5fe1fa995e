import Type, { type Static } from 'typebox';
import {
  AppError,
  type Caller,
  cursorOf,
  listOf,
  listQuery,
  PAGE_DEFAULT,
  type Route,
  readCursor,
  repositoryIn,
  requireMatch,
  routesFor,
  type Session,
  sortOf,
} from '../platform/index.ts';
import { OfProject, OfRepository, resourceIn } from './paths.ts';
import { describeRepository, findRepositoryFacts, listRepositories, type RepositoryFacts } from './repository-list.ts';
import { deleteRepository } from './repository-removal.ts';

/** A project as far as a caller sees it: its id, and which repositories, by full name. */
export interface SeenProject {
  readonly id: number;
  allows(repository: string): boolean;
}

export interface RepositoryRouteParts<C extends Caller> {
  readonly database: Session;
  /** What a caller sees of a project; throws for one that it does not see at all. */
  seen(caller: C, project: string): Promise<SeenProject>;
}

const Description = Type.String({ maxLength: 4096 });
const RepositoryView = Type.Object({
  name: Type.String({ description: 'full name' }),
  description: Type.String(),
  createdAt: Type.String({ format: 'date-time' }),
  updatedAt: Type.String({ format: 'date-time', description: 'when its content last changed' }),
});
const RepositoryChange = Type.Object({ description: Type.Optional(Description) }, { additionalProperties: false });

function viewOf({ name, description, createdAt, updatedAt }: RepositoryFacts): Static<typeof RepositoryView> {
  return { name, description, createdAt: new Date(createdAt).toISOString(), updatedAt: new Date(updatedAt).toISOString() };
}

const etagOf = ({ id, version }: RepositoryFacts) => `${id}.${version}`;

async function requireFacts(session: Session, { project, repository }: Static<typeof OfRepository>): Promise<RepositoryFacts> {
  const facts = await findRepositoryFacts(session, repositoryIn(project, repository));
  if (!facts) throw new AppError('not_found', `there is no repository ${repositoryIn(project, repository)}`);
  return facts;
}

/** Repositories. */
export function repositoryRoutes<C extends Caller>({ database, seen }: RepositoryRouteParts<C>): Route[] {
  const { read, change } = routesFor<C>();
  const common = { tag: 'Repositories' } as const;
  return [
    read({
      ...common,
      method: 'GET',
      path: '/projects/:project/repositories',
      summary: 'List the repositories of a project that the caller may see',
      description: 'A page of a filtered list may hold less than limit, and still go on.',
      permission: 'public',
      params: OfProject,
      query: listQuery(['name', 'created', 'updated'], {
        name: Type.Optional(Type.String({ maxLength: 255, description: 'only those whose full name contains this' })),
      }),
      answer: listOf(RepositoryView),
      async handle({ params, query: { limit = PAGE_DEFAULT, after, sort = 'name', name = '' }, caller }) {
        const project = await seen(caller, params.project);
        const { field, order } = sortOf(sort);
        const last = after === undefined ? undefined : readCursor(after, field === 'name' ? (['', 0] as const) : ([0, 0] as const));
        const includes = (full: string) => full.includes(name) && project.allows(full);
        const { repositories, next } = await listRepositories(database, {
          projectId: project.id,
          sort: field,
          order,
          last,
          limit,
          includes,
        });
        return { body: { items: repositories.map(viewOf) }, next: next && cursorOf(...next) };
      },
    }),
    read({
      ...common,
      method: 'GET',
      path: '/projects/:project/repositories/:repository',
      summary: 'Read a repository',
      permission: 'artifact:read',
      params: OfRepository,
      answer: RepositoryView,
      async handle({ params }) {
        const facts = await requireFacts(database, params);
        return { body: viewOf(facts), etag: etagOf(facts) };
      },
    }),
    change({
      ...common,
      method: 'PATCH',
      path: '/projects/:project/repositories/:repository',
      summary: 'Describe a repository',
      permission: 'repository:update',
      audit: 'repository.update',
      params: OfRepository,
      body: RepositoryChange,
      answer: RepositoryView,
      async change(tx, call) {
        const before = await requireFacts(tx, call.params);
        requireMatch(call, etagOf(before));
        const after = await describeRepository(tx, before, call.body.description ?? before.description);
        const told = { resource: resourceIn(before, 'repository'), before: viewOf(before), after: viewOf(after) };
        return { body: viewOf(after), etag: etagOf(after), ...told };
      },
    }),
    change({
      ...common,
      method: 'DELETE',
      path: '/projects/:project/repositories/:repository',
      summary: 'Delete a repository with all its content',
      description: 'It is gone at once; what it held is cleared away afterwards.',
      permission: 'repository:delete',
      audit: 'repository.delete',
      params: OfRepository,
      async change(tx, call) {
        const facts = await requireFacts(tx, call.params);
        requireMatch(call, etagOf(facts));
        await deleteRepository(tx, facts, call.caller.actor.name, call.now);
        return { resource: resourceIn(facts, 'repository'), before: viewOf(facts) };
      },
    }),
  ];
}
