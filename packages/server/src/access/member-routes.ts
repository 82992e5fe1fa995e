import Type, { type Static } from 'typebox';
import {
  AppError,
  compileGlob,
  listOf,
  listQuery,
  PAGE_DEFAULT,
  pageOf,
  type Route,
  readCursor,
  requireMatch,
  routesFor,
  type Session,
  sortOf,
} from '../platform/index.ts';
import type { Access } from './access.ts';
import { findAssignee, findAssignment, isAtHome, type NamedAssignment, pageOfAssignments } from './assignment-list.ts';
import { type AssignedRights, assign, assignmentEtag, dropAssignment, reassign, requireSingle, requireSystemAdmin } from './assignments.ts';
import { type AnyRole, requireRole } from './custom-roles.ts';
import type { Identity } from './identity.ts';
import { requireProject } from './project-routes.ts';
import { Permissions, requireGrantable } from './role-routes.ts';

const Kind = Type.Enum(['user', 'group', 'robot']);
const Name = Type.String({ minLength: 1, maxLength: 255 });
const RIGHTS = {
  role: Type.Optional(Type.String({ maxLength: 63, description: 'a role, or else permissions' })),
  permissions: Type.Optional(Permissions),
  pattern: Type.Optional(
    Type.String({ maxLength: 512, description: 'glob over full repository names, such as demo/team-a/**; absent: everything' }),
  ),
};
const AssignmentView = Type.Object({
  id: Type.Integer(),
  kind: Kind,
  name: Type.String(),
  role: Type.Optional(Type.String()),
  permissions: Type.Optional(Type.Array(Type.String())),
  pattern: Type.Optional(Type.String()),
  createdAt: Type.String({ format: 'date-time' }),
  createdBy: Type.String(),
});
const NewMember = Type.Object({ kind: Kind, name: Name, ...RIGHTS }, { additionalProperties: false });
const MemberChange = Type.Object(RIGHTS, { additionalProperties: false });
const { pattern: _, ...SYSTEM_RIGHTS } = RIGHTS;
const NewSystemAssignment = Type.Object({ kind: Kind, name: Name, ...SYSTEM_RIGHTS }, { additionalProperties: false });
const SystemAssignmentChange = Type.Object(SYSTEM_RIGHTS, { additionalProperties: false });

const Id = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });
const Batch = Type.Object(
  {
    add: Type.Optional(Type.Array(NewMember, { maxItems: 200 })),
    remove: Type.Optional(Type.Array(Id, { maxItems: 200, uniqueItems: true, description: 'ids' })),
  },
  { additionalProperties: false },
);
const BatchDone = Type.Object({ added: Type.Array(AssignmentView), removed: Type.Integer() });
const OfProject = Type.Object({ project: Type.String({ maxLength: 128 }) });
const OfMember = Type.Object({ project: Type.String({ maxLength: 128 }), id: Id });
const OfAssignment = Type.Object({ id: Id });
const FILTERS = {
  kind: Type.Optional(Kind),
  name: Type.Optional(Type.String({ maxLength: 255, description: 'only those whose name contains this' })),
  role: Type.Optional(Type.String({ maxLength: 63 })),
};

type Wanted = Static<typeof NewMember>;
/** Where assignments are made: a project by name and id, or else the system. */
type Place = { readonly id: number; readonly name: string } | undefined;

function viewOf({ id, subject, name, role, permissions, pattern, createdAt, createdBy }: NamedAssignment): Static<typeof AssignmentView> {
  const rights = {
    ...(role === undefined ? {} : { role }),
    ...(permissions === undefined ? {} : { permissions: [...permissions] }),
    ...(pattern === undefined ? {} : { pattern }),
  };
  return { id, kind: subject.kind, name, ...rights, createdAt: new Date(createdAt).toISOString(), createdBy };
}

/** Throws `bad_request` for a pattern outside the grammar, or outside its project. */
function checkPattern(pattern: string | undefined, place: Place): void {
  if (pattern === undefined) return;
  try {
    compileGlob(pattern);
  } catch (cause) {
    throw new AppError('bad_request', `pattern: ${(cause as Error).message}`, { cause });
  }
  if (!place || (pattern !== place.name && !pattern.startsWith(`${place.name}/`))) {
    throw new AppError('bad_request', `a pattern begins with its project, as in ${place?.name}/**`);
  }
}

/** Looked at before a change: what an identity would give, which it must hold itself. */
async function prepareRights(
  session: Session,
  access: Access,
  identity: Identity,
  rights: AssignedRights,
  place: Place,
): Promise<AnyRole | undefined> {
  if ((rights.role === undefined) === (rights.permissions === undefined))
    throw new AppError('bad_request', 'give a role or else permissions');
  checkPattern(rights.pattern, place);
  const role = rights.role === undefined ? undefined : await requireRole(session, rights.role);
  if (place && role?.level === 'system') throw new AppError('bad_request', `role ${role.name} is given on the system, not in a project`);
  await requireGrantable(access, identity, role?.permissions ?? rights.permissions ?? [], place?.name);
  return role;
}

/** Throws `conflict` where a role is no longer what was looked at. */
async function requireUnchanged(tx: Session, role: AnyRole | undefined): Promise<void> {
  if (role && (await requireRole(tx, role.name)).version !== role.version)
    throw new AppError('conflict', 'the role was changed meanwhile; try again');
}

async function requireAssignment(session: Session, place: Place, id: number): Promise<NamedAssignment> {
  const found = await findAssignment(session, place?.id, id);
  if (!found) throw new AppError('not_found', `there is no ${place ? 'member' : 'assignment'} ${id}`);
  return found;
}

async function add(tx: Session, wanted: Wanted, place: Place, { by, now }: { by: string; now: number }): Promise<NamedAssignment> {
  const { kind, name, ...rights } = wanted;
  const id = await findAssignee(tx, { kind, name });
  const isHere = kind !== 'robot' || (await isAtHome(tx, name, place?.id));
  if (id === undefined || !isHere) throw new AppError('not_found', `there is no ${kind} ${name}`);
  const assignment = { ...rights, subject: { kind, id }, projectId: place?.id };
  await requireSingle(tx, assignment);
  return await requireAssignment(tx, place, await assign(tx, { ...assignment, by, now }));
}

/** Rights as they will be: what a change does not name stays, and a role takes the place of permissions or the other way. */
function changed(before: NamedAssignment, change: AssignedRights): AssignedRights {
  const { role, permissions, pattern = before.pattern } = change;
  if (role === undefined && permissions === undefined) return { role: before.role, permissions: before.permissions, pattern };
  return { role, permissions, pattern };
}

interface Parts {
  readonly database: Session;
  readonly access: Access;
}

type Filters = { kind?: string; name?: string; role?: string };

async function list(database: Session, place: Place, query: { limit?: number; after?: string; sort?: string } & Filters) {
  const { limit = PAGE_DEFAULT, after, sort = 'name', ...filters } = query;
  const { field, order } = sortOf(sort as 'name' | 'created');
  const last = after === undefined ? undefined : readCursor(after, field === 'name' ? (['', 0] as const) : ([0, 0] as const));
  const rows = await pageOfAssignments(database, { projectId: place?.id, sort: field, order, last, limit, ...filters });
  const { items, next } = pageOf(rows, limit, (row) => [field === 'name' ? row.name : row.createdAt, row.id]);
  return { body: { items: items.map(viewOf) }, next };
}

const { read, change } = routesFor<Identity>();

/** Who may what in a project. */
export function memberRoutes({ database, access }: Parts): Route[] {
  const resourceOf = (place: Place, view: Static<typeof AssignmentView>) => ({
    type: 'member',
    project: place?.name ?? '',
    name: `${view.kind}:${view.name}`,
  });
  const common = { tag: 'Members' } as const;
  return [
    read({
      ...common,
      method: 'GET',
      path: '/projects/:project/members',
      summary: 'List who has rights of its own in a project',
      permission: 'member:read',
      params: OfProject,
      query: listQuery(['name', 'created'], FILTERS),
      answer: listOf(AssignmentView),
      handle: async ({ params, query }) => list(database, await requireProject(database, params.project), query),
    }),
    read({
      ...common,
      method: 'GET',
      path: '/projects/:project/members/:id',
      summary: 'Read a member',
      permission: 'member:read',
      params: OfMember,
      answer: AssignmentView,
      async handle({ params }) {
        const found = await requireAssignment(database, await requireProject(database, params.project), params.id);
        return { body: viewOf(found), etag: assignmentEtag(found) };
      },
    }),
    change({
      ...common,
      method: 'POST',
      path: '/projects/:project/members',
      summary: 'Give a user, group or robot a role or single permissions, in the whole project or on a pattern',
      description: 'Nobody gives more than it holds itself.',
      permission: 'member:manage',
      audit: 'member.create',
      params: OfProject,
      body: NewMember,
      answer: AssignmentView,
      status: 201,
      prepare: async ({ params, body, caller }) =>
        prepareRights(database, access, caller, body, await requireProject(database, params.project)),
      async change(tx, { params, body, caller, now }, role) {
        const place = await requireProject(tx, params.project);
        await requireUnchanged(tx, role);
        const made = await add(tx, body, place, { by: caller.actor.name, now });
        const view = viewOf(made);
        return { body: view, etag: assignmentEtag(made), resource: resourceOf(place, view), after: view };
      },
    }),
    change({
      ...common,
      method: 'POST',
      path: '/projects/:project/members/batch',
      summary: 'Add and remove several members, all or none',
      permission: 'member:manage',
      audit: 'member.batch',
      params: OfProject,
      body: Batch,
      answer: BatchDone,
      async prepare({ params, body, caller }) {
        const place = await requireProject(database, params.project);
        const roles = new Map<string, AnyRole>();
        for (const wanted of body.add ?? []) {
          const role = await prepareRights(database, access, caller, wanted, place);
          if (role) roles.set(role.name, role);
        }
        return roles;
      },
      async change(tx, { params, body, caller, now }, roles) {
        const place = await requireProject(tx, params.project);
        for (const role of roles.values()) await requireUnchanged(tx, role);
        const removed: NamedAssignment[] = [];
        for (const id of body.remove ?? []) {
          removed.push(await requireAssignment(tx, place, id));
          await dropAssignment(tx, id);
        }
        const added: NamedAssignment[] = [];
        for (const wanted of body.add ?? []) added.push(await add(tx, wanted, place, { by: caller.actor.name, now }));
        const [before, after] = [removed.map(viewOf), added.map(viewOf)];
        return { body: { added: after, removed: removed.length }, resource: { type: 'member', project: place.name }, before, after };
      },
    }),
    change({
      ...common,
      method: 'PATCH',
      path: '/projects/:project/members/:id',
      summary: 'Change what a member may',
      permission: 'member:manage',
      audit: 'member.update',
      params: OfMember,
      body: MemberChange,
      answer: AssignmentView,
      async prepare({ params, body, caller }) {
        const place = await requireProject(database, params.project);
        const rights = changed(await requireAssignment(database, place, params.id), body);
        return { rights, role: await prepareRights(database, access, caller, rights, place) };
      },
      async change(tx, call, { rights, role }) {
        const place = await requireProject(tx, call.params.project);
        const before = await requireAssignment(tx, place, call.params.id);
        requireMatch(call, assignmentEtag(before));
        await requireUnchanged(tx, role);
        await requireSingle(tx, { ...before, ...rights });
        await reassign(tx, before.id, rights);
        const after = await requireAssignment(tx, place, before.id);
        const view = viewOf(after);
        return { body: view, etag: assignmentEtag(after), resource: resourceOf(place, view), before: viewOf(before), after: view };
      },
    }),
    change({
      ...common,
      method: 'DELETE',
      path: '/projects/:project/members/:id',
      summary: 'Take from a member what one assignment gives',
      permission: 'member:manage',
      audit: 'member.delete',
      params: OfMember,
      async change(tx, call) {
        const place = await requireProject(tx, call.params.project);
        const before = await requireAssignment(tx, place, call.params.id);
        requireMatch(call, assignmentEtag(before));
        await dropAssignment(tx, before.id);
        return { resource: resourceOf(place, viewOf(before)), before: viewOf(before) };
      },
    }),
  ];
}

/** Who may what on the system and in every project. */
export function assignmentRoutes({ database, access }: Parts): Route[] {
  const resourceOf = (view: Static<typeof AssignmentView>) => ({ type: 'assignment', name: `${view.kind}:${view.name}` });
  const common = { tag: 'System assignments' } as const;
  return [
    read({
      ...common,
      method: 'GET',
      path: '/assignments',
      summary: 'List who has rights on the system and in every project',
      permission: 'role:read',
      query: listQuery(['name', 'created'], FILTERS),
      answer: listOf(AssignmentView),
      handle: ({ query }) => list(database, undefined, query),
    }),
    read({
      ...common,
      method: 'GET',
      path: '/assignments/:id',
      summary: 'Read an assignment',
      permission: 'role:read',
      params: OfAssignment,
      answer: AssignmentView,
      async handle({ params }) {
        const found = await requireAssignment(database, undefined, params.id);
        return { body: viewOf(found), etag: assignmentEtag(found) };
      },
    }),
    change({
      ...common,
      method: 'POST',
      path: '/assignments',
      summary: 'Give a user, group or robot a role or single permissions on the system and in every project',
      description: 'Nobody gives more than it holds itself.',
      permission: 'role:manage',
      audit: 'assignment.create',
      body: NewSystemAssignment,
      answer: AssignmentView,
      status: 201,
      prepare: ({ body, caller }) => prepareRights(database, access, caller, body, undefined),
      async change(tx, { body, caller, now }, role) {
        await requireUnchanged(tx, role);
        const made = await add(tx, body, undefined, { by: caller.actor.name, now });
        const view = viewOf(made);
        return { body: view, etag: assignmentEtag(made), resource: resourceOf(view), after: view };
      },
    }),
    change({
      ...common,
      method: 'PATCH',
      path: '/assignments/:id',
      summary: 'Change what an assignment gives',
      permission: 'role:manage',
      audit: 'assignment.update',
      params: OfAssignment,
      body: SystemAssignmentChange,
      answer: AssignmentView,
      async prepare({ params, body, caller }) {
        const rights = changed(await requireAssignment(database, undefined, params.id), body);
        return { rights, role: await prepareRights(database, access, caller, rights, undefined) };
      },
      async change(tx, call, { rights, role }) {
        const before = await requireAssignment(tx, undefined, call.params.id);
        requireMatch(call, assignmentEtag(before));
        await requireUnchanged(tx, role);
        await reassign(tx, before.id, rights);
        await requireSystemAdmin(tx);
        const after = await requireAssignment(tx, undefined, before.id);
        const view = viewOf(after);
        return { body: view, etag: assignmentEtag(after), resource: resourceOf(view), before: viewOf(before), after: view };
      },
    }),
    change({
      ...common,
      method: 'DELETE',
      path: '/assignments/:id',
      summary: 'Take away what an assignment gives; the last user who administers the system stays',
      permission: 'role:manage',
      audit: 'assignment.delete',
      params: OfAssignment,
      async change(tx, call) {
        const before = await requireAssignment(tx, undefined, call.params.id);
        requireMatch(call, assignmentEtag(before));
        await dropAssignment(tx, before.id);
        await requireSystemAdmin(tx);
        return { resource: resourceOf(viewOf(before)), before: viewOf(before) };
      },
    }),
  ];
}
