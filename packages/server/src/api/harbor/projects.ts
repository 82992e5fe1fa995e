import Type, { type Static } from 'typebox';
import { type Identity, type Permission, pageOfProjects } from '../../access/index.ts';
import { findProject, type Project, repositoryCount } from '../../catalog/index.ts';
import { projectPolicyNamed } from '../../lifecycle/index.ts';
import { AppError, type Route, readCursor, routesFor } from '../../platform/index.ts';
import type { Adapter } from './adapt.ts';
import { answerList, gather, Items, ListQuery } from './lists.ts';
import { type HarborParts, locationOf, OfProject, time } from './parts.ts';
import { quotaOf } from './quotas.ts';
import { HARBOR_RETENTION } from './retentions.ts';

/** Of a project's settings those that this server has; of the others only what leaves them off. */
const ProjectBody = Type.Object({
  project_name: Type.Optional(Type.String({ maxLength: 255 })),
  public: Type.Optional(Type.Union([Type.Boolean(), Type.Null()])),
  metadata: Type.Optional(Type.Union([Type.Record(Type.String({ maxLength: 64 }), Type.Unknown(), { maxProperties: 64 }), Type.Null()])),
  storage_limit: Type.Optional(Type.Union([Type.Integer(), Type.Null()])),
  registry_id: Type.Optional(Type.Union([Type.Integer(), Type.Null()])),
});
type Body = Static<typeof ProjectBody>;

/** Harbor's roles by what they may that those below do not, the widest first. */
const ROLE_IDS: readonly [Permission, number][] = [
  ['member:manage', 1],
  ['repository:delete', 4],
  ['repository:push', 2],
  ['member:read', 3],
  ['repository:pull', 5],
];

const FIELDS = {
  name: ({ name }: Project) => name,
  public: (project: Project) => project.public,
  owner: ({ createdBy }: Project) => createdBy,
  project_id: ({ id }: Project) => id,
  creation_time: ({ createdAt }: Project) => createdAt,
};

/** What protects, and is not there, must not seem to be. */
const UNKNOWN_SETTINGS = ['enable_content_trust', 'enable_content_trust_cosign', 'prevent_vul', 'auto_scan', 'auto_sbom_generation'];

/** Settings as the management API takes them. Throws `bad_request` for those that this server does not have. */
function settingsOf({ public: isPublic, metadata, storage_limit: limit, registry_id: registry }: Body): { public?: boolean } {
  for (const name of UNKNOWN_SETTINGS) {
    if (![undefined, null, false, 'false', ''].includes(metadata?.[name] as string))
      throw new AppError('bad_request', `${name} is not supported here`);
  }
  if ((limit ?? 0) > 0) throw new AppError('bad_request', 'storage_limit is set by PUT /quotas/{id of the project}, by who manages quotas');
  if ((registry ?? 0) > 0) throw new AppError('bad_request', 'proxy projects are not supported here');
  const told = metadata?.public ?? isPublic ?? undefined;
  return told === undefined ? {} : { public: told === true || told === 'true' };
}

/** Projects that a caller sees, by name. */
export async function projectsSeen(
  { database, access }: Pick<HarborParts, 'database' | 'access'>,
  caller: Identity,
  most: number,
  filter: { readonly name?: string | undefined; readonly public?: boolean | undefined } = {},
): Promise<Project[]> {
  return await gather(most, async (after: string | undefined, limit) => {
    const last = after === undefined ? undefined : readCursor(after, [''])[0];
    const { projects, next } = await pageOfProjects(database, access, caller, { limit, last, descending: false, ...filter });
    return { items: projects, next };
  });
}

/** Projects. */
export function projectRoutes({ database, access }: HarborParts, { change }: Adapter): Route[] {
  const { read } = routesFor<Identity>();
  const common = { tag: 'Harbor' } as const;

  async function viewOf(project: Project, caller: Identity) {
    const { id, name, createdAt, createdBy } = project;
    const roles: number[] = [];
    const retention = await projectPolicyNamed(database, id, HARBOR_RETENTION);
    for (const [permission, role] of caller.subject ? ROLE_IDS : []) {
      if (roles.length === 0 && (await access.holds(caller, permission, { project: name }))) roles.push(role);
    }
    return {
      project_id: id,
      name,
      owner_id: 0,
      owner_name: createdBy,
      registry_id: null,
      creation_time: time(createdAt),
      update_time: time(createdAt),
      deleted: false,
      togglable: roles[0] === 1,
      current_user_role_id: roles[0] ?? 0,
      current_user_role_ids: roles,
      repo_count: await repositoryCount(database, id),
      metadata: { public: String(project.public), ...(retention === undefined ? {} : { retention_id: String(retention) }) },
      cve_allowlist: { id, project_id: id, items: [] },
    };
  }

  async function requireProject(name: string): Promise<Project> {
    const project = await findProject(database, name);
    if (!project) throw new AppError('not_found', `there is no project ${name}`);
    return project;
  }

  return [
    read({
      ...common,
      method: 'GET',
      path: '/projects',
      summary: 'List projects',
      permission: 'public',
      query: Type.Object({
        ...ListQuery.properties,
        name: Type.Optional(Type.String({ maxLength: 255 })),
        public: Type.Optional(Type.Boolean()),
        owner: Type.Optional(Type.String({ maxLength: 255 })),
      }),
      answer: Items,
      async handle(call) {
        const { name, public: isPublic, owner } = call.query;
        return await answerList(call, {
          load: (most) => projectsSeen({ database, access }, call.caller, most, { name, public: isPublic }),
          fields: FIELDS,
          where: (project) => owner === undefined || project.createdBy === owner,
          view: (project) => viewOf(project, call.caller),
        });
      },
    }),
    read({
      ...common,
      method: 'HEAD',
      path: '/projects',
      summary: 'Ask whether there is a project',
      permission: 'public',
      query: Type.Object({ project_name: Type.String({ maxLength: 255 }) }),
      async handle({ query: { project_name: name }, caller }) {
        const sees = await access.holds(caller, 'project:read', { project: name });
        if (!sees || !(await findProject(database, name))) throw new AppError('not_found', `there is no project ${name}`);
        return {};
      },
      status: 200,
    }),
    read({
      ...common,
      method: 'GET',
      path: '/projects/:project',
      summary: 'Read a project',
      permission: 'project:read',
      params: OfProject,
      answer: Type.Unknown(),
      handle: async ({ params, caller }) => ({ body: await viewOf(await requireProject(params.project), caller) }),
    }),
    read({
      ...common,
      method: 'GET',
      path: '/projects/:project/summary',
      summary: 'Summary of a project',
      permission: 'project:read',
      params: OfProject,
      answer: Type.Unknown(),
      async handle({ params, caller }) {
        const { id, name } = await requireProject(params.project);
        const seesQuota = await access.holds(caller, 'quota:read', { project: name });
        const quota = seesQuota ? { quota: await quotaOf(database, id) } : {};
        return { body: { repo_count: await repositoryCount(database, id), ...quota } };
      },
    }),
    change('POST /projects', {
      method: 'POST',
      path: '/projects',
      params: Type.Object({}),
      body: ProjectBody,
      status: 201,
      call: async ({ body }) => {
        const { project_name: name = '' } = body as Body;
        return { body: { name, ...settingsOf(body as Body) } };
      },
      tell: (_, { body }) => ({ headers: locationOf(`/projects/${(body as Body).project_name}`) }),
    }),
    change('PATCH /projects/:project', {
      method: 'PUT',
      path: '/projects/:project',
      params: OfProject,
      body: ProjectBody,
      call: async ({ body }) => ({ body: settingsOf(body as Body) }),
    }),
    change('DELETE /projects/:project', {
      method: 'DELETE',
      path: '/projects/:project',
      params: OfProject,
      codes: { conflict: 'precondition_failed' },
    }),
  ];
}
