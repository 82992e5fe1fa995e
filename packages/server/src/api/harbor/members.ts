import Type, { type Static } from 'typebox';
import { findAssignment, type Identity, type NamedAssignment, pageOfAssignments } from '../../access/index.ts';
import { findProject, type Project } from '../../catalog/index.ts';
import { AppError, type Route, routesFor } from '../../platform/index.ts';
import type { Adapter } from './adapt.ts';
import { answerList, gather, Items, ListQuery } from './lists.ts';
import { type HarborParts, locationOf, OfMember, OfProject } from './parts.ts';

/** Harbor's roles: number, name there, name here. */
const ROLES = [
  [1, 'projectAdmin', 'admin'],
  [2, 'developer', 'developer'],
  [3, 'guest', 'guest'],
  [4, 'maintainer', 'maintainer'],
  [5, 'limitedGuest', 'limited-guest'],
] as const;
const BY_NAME = new Map<string, (typeof ROLES)[number]>(ROLES.map((role) => [role[2], role]));

const RoleId = Type.Integer({ minimum: 1, maximum: 5 });
const NewMember = Type.Object({
  role_id: RoleId,
  member_user: Type.Optional(Type.Object({ username: Type.Optional(Type.String({ maxLength: 255 })) })),
  member_group: Type.Optional(Type.Object({ group_name: Type.Optional(Type.String({ maxLength: 255 })) })),
});
const RoleBody = Type.Object({ role_id: RoleId });

function roleNamed(id: number): string {
  return ROLES.find(([number]) => number === id)?.[2] ?? '';
}

/** A member whom Harbor could have: a user or group with one of its roles in the whole project. */
function isHarbors({ subject, role, pattern }: NamedAssignment): boolean {
  return subject.kind !== 'robot' && pattern === undefined && role !== undefined && BY_NAME.has(role);
}

function viewOf({ id, subject, name, role = '', projectId }: NamedAssignment) {
  const [roleId, roleName] = BY_NAME.get(role) ?? [0, role];
  return {
    id,
    project_id: projectId,
    entity_name: name,
    entity_id: subject.id,
    entity_type: subject.kind === 'group' ? 'g' : 'u',
    role_id: roleId,
    role_name: roleName,
  };
}

/** Members of projects. */
export function memberRoutes({ database }: HarborParts, { change }: Adapter): Route[] {
  const { read } = routesFor<Identity>();
  const common = { tag: 'Harbor', permission: 'member:read' } as const;

  async function requireProject(name: string): Promise<Project> {
    const project = await findProject(database, name);
    if (!project) throw new AppError('not_found', `there is no project ${name}`);
    return project;
  }

  return [
    read({
      ...common,
      method: 'GET',
      path: '/projects/:project/members',
      summary: 'List members',
      params: OfProject,
      query: Type.Object({ ...ListQuery.properties, entityname: Type.Optional(Type.String({ maxLength: 255 })) }),
      answer: Items,
      async handle(call) {
        const { id: projectId } = await requireProject(call.params.project);
        return await answerList(call, {
          load: (most) =>
            gather(most, async (last: readonly [string, number] | undefined, limit) => {
              const page = { projectId, sort: 'name', order: 'asc', last, limit, name: call.query.entityname } as const;
              const rows = await pageOfAssignments(database, page);
              const items = rows.slice(0, limit);
              const end = items.at(-1);
              return { items, next: rows.length > limit && end ? ([end.name, end.id] as const) : undefined };
            }),
          fields: { entity_name: ({ name }) => name, role_id: ({ role = '' }) => BY_NAME.get(role)?.[0] ?? 0 },
          where: isHarbors,
          view: async (member) => viewOf(member),
        });
      },
    }),
    read({
      ...common,
      method: 'GET',
      path: '/projects/:project/members/:id',
      summary: 'Read a member',
      params: OfMember,
      answer: Type.Unknown(),
      async handle({ params }) {
        const member = await findAssignment(database, (await requireProject(params.project)).id, params.id);
        if (!member || !isHarbors(member)) throw new AppError('not_found', `there is no member ${params.id}`);
        return { body: viewOf(member) };
      },
    }),
    change('POST /projects/:project/members', {
      method: 'POST',
      path: '/projects/:project/members',
      params: OfProject,
      body: NewMember,
      status: 201,
      call: async ({ body }) => {
        const { role_id: role, member_user: user, member_group: group } = body as Static<typeof NewMember>;
        const name = user?.username ?? group?.group_name;
        if (name === undefined) throw new AppError('bad_request', 'name a member_user by username, or a member_group by group_name');
        return { body: { kind: user?.username === undefined ? 'group' : 'user', name, role: roleNamed(role) } };
      },
      tell: (body, { params }) => ({ headers: locationOf(`/projects/${params.project}/members/${(body as { id: number }).id}`) }),
    }),
    change('PATCH /projects/:project/members/:id', {
      method: 'PUT',
      path: '/projects/:project/members/:id',
      params: OfMember,
      body: RoleBody,
      call: async ({ body }) => ({ body: { role: roleNamed((body as Static<typeof RoleBody>).role_id) } }),
    }),
    change('DELETE /projects/:project/members/:id', { method: 'DELETE', path: '/projects/:project/members/:id', params: OfMember }),
  ];
}
