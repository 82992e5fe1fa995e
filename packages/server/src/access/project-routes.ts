import { isRepositoryName, projectOf } from '@entrepot/oci';
import Type, { type Static } from 'typebox';
import { changeProject, createProject, deleteProject, findProject, type Project } from '../catalog/index.ts';
import {
  AppError,
  listOf,
  listQuery,
  PAGE_DEFAULT,
  parseRanges,
  type Route,
  readCursor,
  requireMatch,
  routesFor,
  type Session,
} from '../platform/index.ts';
import type { Access } from './access.ts';
import { assign, dropProjectAssignments } from './assignments.ts';
import type { Identity } from './identity.ts';
import { dropProjectRobots } from './machines/robots.ts';
import { pageOfProjects } from './project-list.ts';

const Environment = Type.Enum(['development', 'test', 'production'], { description: 'what the images of the project are for' });
const Networks = Type.String({ maxLength: 4096, description: 'CIDR ranges by comma; empty: from anywhere' });
const Description = Type.String({ maxLength: 1000 });

const ProjectView = Type.Object({
  name: Type.String(),
  public: Type.Boolean({ description: 'anybody may pull, without login' }),
  description: Type.String(),
  environment: Environment,
  pullNetworks: Networks,
  pushNetworks: Networks,
  createdAt: Type.String({ format: 'date-time' }),
  createdBy: Type.String(),
});

const NewProject = Type.Object(
  {
    name: Type.String({ maxLength: 128, description: 'one component of a repository name' }),
    public: Type.Optional(Type.Boolean({ default: false })),
    description: Type.Optional(Description),
    environment: Type.Optional(Environment),
    pullNetworks: Type.Optional(Networks),
    pushNetworks: Type.Optional(Networks),
  },
  { additionalProperties: false },
);

const ProjectChange = Type.Object(
  {
    public: Type.Optional(Type.Boolean()),
    description: Type.Optional(Description),
    environment: Type.Optional(Environment),
    pullNetworks: Type.Optional(Networks),
    pushNetworks: Type.Optional(Networks),
  },
  { additionalProperties: false },
);

const OfProject = Type.Object({ project: Type.String({ maxLength: 128 }) });

/** A project as the API shows it. */
function viewOf(project: Project): Static<typeof ProjectView> {
  const { name, public: isPublic, description, environment, pullNetworks, pushNetworks, createdAt, createdBy } = project;
  const at = new Date(createdAt).toISOString();
  return { name, public: isPublic, description, environment, pullNetworks, pushNetworks, createdAt: at, createdBy };
}

/** The project of a path. Throws `not_found` where there is none. */
export async function requireProject(session: Session, name: string): Promise<Project> {
  const project = await findProject(session, name);
  if (!project) throw new AppError('not_found', `there is no project ${name}`);
  return project;
}

/** Networks as they are stored. Throws `bad_request` for what is no list of CIDR ranges. */
function checkNetworks(change: { readonly pullNetworks?: string; readonly pushNetworks?: string }): void {
  for (const list of [change.pullNetworks, change.pushNetworks]) {
    try {
      parseRanges(list ?? '');
    } catch (cause) {
      throw new AppError('bad_request', (cause as Error).message, { cause });
    }
  }
}

const { read, change } = routesFor<Identity>();

interface ProjectRouteParts {
  readonly database: Session;
  readonly access: Access;
  readonly config: { readonly projectQuotaBytes: number };
}

/** Projects. */
export function projectRoutes({ database, access, config }: ProjectRouteParts): Route[] {
  const { projectQuotaBytes: quotaBytes } = config;
  return [
    read({
      method: 'GET',
      path: '/projects',
      summary: 'List the projects that the caller may see',
      tag: 'Projects',
      permission: 'public',
      query: listQuery(['name'], {
        name: Type.Optional(Type.String({ maxLength: 128, description: 'only those whose name contains this' })),
        public: Type.Optional(Type.Boolean()),
        environment: Type.Optional(Environment),
      }),
      answer: listOf(ProjectView),
      async handle({ query, caller }) {
        const { limit = PAGE_DEFAULT, after, sort = 'name', ...filters } = query;
        const [last] = after === undefined ? [undefined] : readCursor(after, ['']);
        const { projects, next } = await pageOfProjects(database, access, caller, {
          limit,
          last,
          descending: sort === '-name',
          ...filters,
        });
        return { body: { items: projects.map(viewOf) }, next };
      },
    }),
    read({
      method: 'GET',
      path: '/projects/:project',
      summary: 'Read a project',
      tag: 'Projects',
      permission: 'project:read',
      params: OfProject,
      answer: ProjectView,
      async handle({ params }) {
        const project = await requireProject(database, params.project);
        return { body: viewOf(project), etag: etagOf(project) };
      },
    }),
    change({
      method: 'POST',
      path: '/projects',
      summary: 'Make a project, which the caller then administers',
      tag: 'Projects',
      permission: 'project:create',
      audit: 'project.create',
      body: NewProject,
      answer: ProjectView,
      status: 201,
      async change(tx, { body, caller, now }) {
        const { name, public: isPublic = false, description = '', environment = 'development', ...networks } = body;
        if (!isRepositoryName(name) || projectOf(name) !== name)
          throw new AppError('name_invalid', 'a project name is one component of a repository name');
        checkNetworks(networks);
        const by = caller.actor.name;
        if (!(await createProject(tx, { name, public: isPublic, description, environment, quotaBytes, by, now }))) {
          throw new AppError('conflict', `there is a project ${name} already`);
        }
        const project = await changeProject(tx, await requireProject(tx, name), networks);
        if (caller.subject) await assign(tx, { subject: caller.subject, role: 'admin', projectId: project.id, by, now });
        const view = viewOf(project);
        return { body: view, etag: etagOf(project), resource: { type: 'project', project: name }, after: view };
      },
    }),
    change({
      method: 'PATCH',
      path: '/projects/:project',
      summary: 'Change settings of a project',
      tag: 'Projects',
      permission: 'project:update',
      audit: 'project.update',
      params: OfProject,
      body: ProjectChange,
      answer: ProjectView,
      async change(tx, call) {
        const before = await requireProject(tx, call.params.project);
        requireMatch(call, etagOf(before));
        checkNetworks(call.body);
        const after = await changeProject(tx, before, call.body);
        const resource = { type: 'project', project: before.name };
        return { body: viewOf(after), etag: etagOf(after), resource, before: viewOf(before), after: viewOf(after) };
      },
    }),
    change({
      method: 'DELETE',
      path: '/projects/:project',
      summary: 'Delete a project that has no repositories',
      tag: 'Projects',
      permission: 'project:delete',
      audit: 'project.delete',
      params: OfProject,
      async change(tx, call) {
        const project = await requireProject(tx, call.params.project);
        requireMatch(call, etagOf(project));
        await dropProjectRobots(tx, project.id);
        await dropProjectAssignments(tx, project.id);
        await deleteProject(tx, project);
        return { resource: { type: 'project', project: project.name }, before: viewOf(project) };
      },
    }),
  ];
}

function etagOf({ id, version }: Project): string {
  return `${id}.${version}`;
}
