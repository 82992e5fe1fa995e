import Type, { type Static } from 'typebox';
import {
  AppError,
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
import { type AnyRole, changeRole, createRole, dropRole, pageOfRoles, requireRole } from './custom-roles.ts';
import type { Identity } from './identity.ts';
import { ALL_PERMISSIONS, PERMISSIONS, type Permission } from './permissions.ts';

/** A permission, or several, as they stand in a body. */
export const Permissions = Type.Array(Type.Enum(ALL_PERMISSIONS), { minItems: 1, maxItems: ALL_PERMISSIONS.length, uniqueItems: true });

const RoleView = Type.Object({
  name: Type.String(),
  description: Type.String(),
  permissions: Type.Array(Type.String()),
  builtIn: Type.Boolean({ description: 'built-in roles cannot be changed' }),
  level: Type.Enum(['system', 'project'], { description: 'where it can be given; what can be given in a project can on the system too' }),
  createdAt: Type.Optional(Type.String({ format: 'date-time' })),
});
const Description = Type.String({ maxLength: 1000 });
const NewRole = Type.Object(
  { name: Type.String({ maxLength: 63 }), description: Type.Optional(Description), permissions: Permissions },
  { additionalProperties: false },
);
const RoleChange = Type.Object(
  { description: Type.Optional(Description), permissions: Type.Optional(Permissions) },
  { additionalProperties: false },
);
const OfRole = Type.Object({ role: Type.String({ maxLength: 63 }) });

function viewOf({ createdAt, version: _, ...role }: AnyRole): Static<typeof RoleView> {
  const at = createdAt === undefined ? {} : { createdAt: new Date(createdAt).toISOString() };
  return { ...role, permissions: [...role.permissions], ...at };
}

/** Throws `denied` where an identity would give what it does not hold itself, on a project or else on the system. */
export async function requireGrantable(
  access: Access,
  identity: Identity,
  permissions: Iterable<Permission>,
  project: string | undefined,
): Promise<void> {
  const missing = await access.lacks(identity, permissions, project);
  if (missing.length > 0)
    throw new AppError('denied', `nobody gives more than it holds itself; you lack ${missing.slice(0, 5).join(', ')}`);
}

const { read, change } = routesFor<Identity>();
const etagOf = ({ name, version }: AnyRole) => `${name}.${version}`;
const resourceOf = (name: string) => ({ type: 'role', name });

/** Throws `conflict` for a built-in role. */
async function requireCustom(session: Session, name: string): Promise<AnyRole> {
  const role = await requireRole(session, name);
  if (role.builtIn) throw new AppError('conflict', `role ${name} is built in`);
  return role;
}

/** Roles, and what can be in one. */
export function roleRoutes({ database, access }: { database: Session; access: Access }): Route[] {
  return [
    read({
      method: 'GET',
      path: '/permissions',
      summary: 'List everything that can be allowed, and on what it is asked',
      tag: 'Roles',
      permission: 'login',
      answer: listOf(Type.Object({ name: Type.String(), level: Type.Enum(['system', 'project', 'repository']) })),
      handle: async () => ({ body: { items: ALL_PERMISSIONS.map((name) => ({ name, level: PERMISSIONS[name] })) } }),
    }),
    read({
      method: 'GET',
      path: '/roles',
      summary: 'List the roles, built-in ones and others',
      tag: 'Roles',
      permission: 'login',
      query: listQuery(['name'], {
        name: Type.Optional(Type.String({ maxLength: 63, description: 'only those whose name contains this' })),
      }),
      answer: listOf(RoleView),
      async handle({ query: { limit = PAGE_DEFAULT, after, sort = 'name', name } }) {
        const [last] = after === undefined ? [undefined] : readCursor(after, ['']);
        const { items, next } = pageOf(await pageOfRoles(database, { last, order: sortOf(sort).order, name, limit }), limit, (role) => [
          role.name,
        ]);
        return { body: { items: items.map(viewOf) }, next };
      },
    }),
    read({
      method: 'GET',
      path: '/roles/:role',
      summary: 'Read a role',
      tag: 'Roles',
      permission: 'login',
      params: OfRole,
      answer: RoleView,
      async handle({ params }) {
        const role = await requireRole(database, params.role);
        return { body: viewOf(role), etag: etagOf(role) };
      },
    }),
    change({
      method: 'POST',
      path: '/roles',
      summary: 'Make a role of permissions that the caller holds',
      tag: 'Roles',
      permission: 'role:manage',
      audit: 'role.create',
      body: NewRole,
      answer: RoleView,
      status: 201,
      prepare: ({ body, caller }) => requireGrantable(access, caller, body.permissions, undefined),
      async change(tx, { body: { name, description = '', permissions }, now }) {
        const role = await createRole(tx, { name, description, permissions, now });
        return { body: viewOf(role), etag: etagOf(role), resource: resourceOf(name), after: viewOf(role) };
      },
    }),
    change({
      method: 'PATCH',
      path: '/roles/:role',
      summary: 'Change a role, and at once what all may who have it',
      tag: 'Roles',
      permission: 'role:manage',
      audit: 'role.update',
      params: OfRole,
      body: RoleChange,
      answer: RoleView,
      async prepare({ params, body, caller }) {
        const held = new Set((await requireCustom(database, params.role)).permissions);
        const added = (body.permissions ?? []).filter((permission) => !held.has(permission));
        await requireGrantable(access, caller, added, undefined);
        return { added };
      },
      async change(tx, call, { added }) {
        const before = await requireCustom(tx, call.params.role);
        requireMatch(call, etagOf(before));
        const unlooked = call.body.permissions?.some(
          (permission) => !added.includes(permission) && !before.permissions.includes(permission),
        );
        if (unlooked) throw new AppError('conflict', 'the role was changed meanwhile; read it again');
        const after = await changeRole(tx, before, call.body);
        return {
          body: viewOf(after),
          etag: etagOf(after),
          resource: resourceOf(before.name),
          before: viewOf(before),
          after: viewOf(after),
        };
      },
    }),
    change({
      method: 'DELETE',
      path: '/roles/:role',
      summary: 'Delete a role that nobody has',
      tag: 'Roles',
      permission: 'role:manage',
      audit: 'role.delete',
      params: OfRole,
      async change(tx, call) {
        const role = await requireCustom(tx, call.params.role);
        requireMatch(call, etagOf(role));
        await dropRole(tx, role);
        return { resource: resourceOf(role.name), before: viewOf(role) };
      },
    }),
  ];
}
