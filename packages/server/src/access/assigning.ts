import Type, { type Static } from 'typebox';
import { AppError, compileGlob, PAGE_DEFAULT, pageOf, readCursor, type Session, sortOf } from '../platform/index.ts';
import type { Access } from './access.ts';
import { findAssignee, findAssignment, isAtHome, type NamedAssignment, pageOfAssignments } from './assignment-list.ts';
import { type AssignedRights, assign, assignmentEtag, requireSingle } from './assignments.ts';
import { type AnyRole, requireRole } from './custom-roles.ts';
import type { Identity } from './identity.ts';
import { PERMISSIONS } from './permissions.ts';
import { Permissions, requireGrantable } from './role-routes.ts';

export const Kind = Type.Enum(['user', 'group', 'robot']);
export const Name = Type.String({ minLength: 1, maxLength: 255 });
export const RIGHTS = {
  role: Type.Optional(Type.String({ maxLength: 63, description: 'a role, or else permissions' })),
  permissions: Type.Optional(Permissions),
  pattern: Type.Optional(
    Type.String({ maxLength: 512, description: 'glob over full repository names, such as demo/team-a/**; absent: everything' }),
  ),
};
export const AssignmentView = Type.Object({
  id: Type.Integer(),
  kind: Kind,
  name: Type.String(),
  role: Type.Optional(Type.String()),
  permissions: Type.Optional(Type.Array(Type.String())),
  pattern: Type.Optional(Type.String()),
  createdAt: Type.String({ format: 'date-time' }),
  createdBy: Type.String(),
});
export const NewMember = Type.Object({ kind: Kind, name: Name, ...RIGHTS }, { additionalProperties: false });
export const MemberChange = Type.Object(RIGHTS, { additionalProperties: false });

export const Id = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });
export const FILTERS = {
  kind: Type.Optional(Kind),
  name: Type.Optional(Type.String({ maxLength: 255, description: 'only those whose name contains this' })),
  role: Type.Optional(Type.String({ maxLength: 63 })),
};

type Wanted = Static<typeof NewMember>;
/** Where assignments are made: a project by name and id, or else the system. */
export type Place = { readonly id: number; readonly name: string } | undefined;

export function assignmentView({
  id,
  subject,
  name,
  role,
  permissions,
  pattern,
  createdAt,
  createdBy,
}: NamedAssignment): Static<typeof AssignmentView> {
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
export async function prepareRights(
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
  const foreign = place && rights.permissions?.find((permission) => PERMISSIONS[permission] === 'system');
  if (foreign !== undefined) throw new AppError('bad_request', `${foreign} is given on the system, not in a project`);
  await requireGrantable(access, identity, role?.permissions ?? rights.permissions ?? [], place?.name);
  return role;
}

/** Throws `conflict` where a role is no longer what was looked at. */
export async function requireUnchanged(tx: Session, role: AnyRole | undefined): Promise<void> {
  if (role && (await requireRole(tx, role.name)).version !== role.version)
    throw new AppError('conflict', 'the role was changed meanwhile; try again');
}

export async function requireAssignment(session: Session, place: Place, id: number): Promise<NamedAssignment> {
  const found = await findAssignment(session, place?.id, id);
  if (!found) throw new AppError('not_found', `there is no ${place ? 'member' : 'assignment'} ${id}`);
  return found;
}

export async function addAssignment(
  tx: Session,
  wanted: Wanted,
  place: Place,
  { by, now }: { by: string; now: number },
): Promise<NamedAssignment> {
  const { kind, name, ...rights } = wanted;
  const id = await findAssignee(tx, { kind, name });
  const isHere = kind !== 'robot' || (await isAtHome(tx, name, place?.id));
  if (id === undefined || !isHere) throw new AppError('not_found', `there is no ${kind} ${name}`);
  const assignment = { ...rights, subject: { kind, id }, projectId: place?.id };
  await requireSingle(tx, assignment);
  return await requireAssignment(tx, place, await assign(tx, { ...assignment, by, now }));
}

/** Throws `conflict` where an assignment is no longer what was looked at. */
export function requireSame(looked: NamedAssignment, now: NamedAssignment): void {
  if (assignmentEtag(looked) !== assignmentEtag(now)) throw new AppError('conflict', 'this was changed meanwhile; read it again');
}

/** Rights as they will be: what a change does not name stays, and a role takes the place of permissions or the other way. */
export function changedRights(before: NamedAssignment, change: AssignedRights): AssignedRights {
  const { role, permissions, pattern = before.pattern } = change;
  if (role === undefined && permissions === undefined) return { role: before.role, permissions: before.permissions, pattern };
  return { role, permissions, pattern };
}

export interface AssigningParts {
  readonly database: Session;
  readonly access: Access;
}

type Filters = { kind?: string; name?: string; role?: string };

export async function listAssignments(database: Session, place: Place, query: { limit?: number; after?: string; sort?: string } & Filters) {
  const { limit = PAGE_DEFAULT, after, sort = 'name', ...filters } = query;
  const { field, order } = sortOf(sort as 'name' | 'created');
  const last = after === undefined ? undefined : readCursor(after, field === 'name' ? (['', 0] as const) : ([0, 0] as const));
  const rows = await pageOfAssignments(database, { projectId: place?.id, sort: field, order, last, limit, ...filters });
  const { items, next } = pageOf(rows, limit, (row) => [field === 'name' ? row.name : row.createdAt, row.id]);
  return { body: { items: items.map(assignmentView) }, next };
}
