import { sql } from 'kysely';
import { AppError, BEFORE_ALL, containing, holdsText, type Order, queriesOf, type Session } from '../platform/index.ts';
import { isAssigned } from './assignments.ts';
import { isPermission, PERMISSIONS, type Permission } from './permissions.ts';
import { isRole, ROLES } from './roles.ts';
import { touchAccess } from './rules.ts';
import type { AccessTables } from './schema.ts';

const query = queriesOf<AccessTables>('access');
const COLUMNS = ['name', 'description', 'permissions', 'created_at as createdAt', 'version'] as const;

const roleByName = query<{ name: string }>()('roleByName', (db, p) => db.selectFrom('role').select(COLUMNS).where('name', '=', p('name')));
const listRoles = (name: string, order: Order) =>
  query<{ last: string; name: string; limit: number }>()(name, (db, p) =>
    db
      .selectFrom('role')
      .select(COLUMNS)
      .where('name', order === 'asc' ? '>' : '<', p('last'))
      .where(holdsText(sql.ref('name'), p('name')))
      .orderBy('name', order)
      .limit(p('limit')),
  );
const LISTS = { asc: listRoles('roles', 'asc'), desc: listRoles('rolesDown', 'desc') };
const insertRole = query<{ name: string; description: string; permissions: string; now: number }>()('insertRole', (db, p) =>
  db
    .insertInto('role')
    .values({ name: p('name'), description: p('description'), permissions: p('permissions'), created_at: p('now'), version: 1 })
    .onConflict((conflict) => conflict.column('name').doNothing()),
);
const updateRole = query<{ name: string; description: string; permissions: string }>()('updateRole', (db, p) =>
  db
    .updateTable('role')
    .set((eb) => ({ description: p('description'), permissions: p('permissions'), version: eb('version', '+', 1) }))
    .where('name', '=', p('name')),
);
const deleteRole = query<{ name: string }>()('deleteRole', (db, p) => db.deleteFrom('role').where('name', '=', p('name')));

/** A role, built in or made by the administrators. */
export interface AnyRole {
  readonly name: string;
  readonly description: string;
  readonly permissions: readonly Permission[];
  readonly builtIn: boolean;
  /** Where it can be given: one with a permission on the system only there. */
  readonly level: 'system' | 'project';
  /** Milliseconds since 1970; undefined where built in. */
  readonly createdAt: number | undefined;
  /** 0 where built in. */
  readonly version: number;
}

const BUILT_IN: readonly AnyRole[] = Object.entries(ROLES).map(([name, { level, description, permissions }]) => {
  return { name, level, description, permissions, builtIn: true, createdAt: undefined, version: 0 };
});

interface Row {
  name: string;
  description: string;
  permissions: string;
  createdAt: number;
  version: number;
}

function toRole({ name, description, permissions, createdAt, version }: Row): AnyRole {
  const known = (JSON.parse(permissions) as string[]).filter((text): text is Permission => isPermission(text));
  const level = known.some((permission) => PERMISSIONS[permission] === 'system') ? 'system' : 'project';
  return { name, description, permissions: known, builtIn: false, level, createdAt, version };
}

/** A custom role's name: as those of the built-in ones look. */
const NAME = /^[a-z][a-z0-9-]{0,62}$/;

async function findRole(session: Session, name: string): Promise<AnyRole | undefined> {
  const builtIn = BUILT_IN.find((role) => role.name === name);
  if (builtIn) return builtIn;
  const row = await session.first(roleByName, { name });
  return row && toRole(row);
}

/** Roles by name after `last`; one more than the limit, where there is one. */
export async function pageOfRoles(
  session: Session,
  { last, order, name = '', limit }: { last: string | undefined; order: Order; name?: string | undefined; limit: number },
): Promise<AnyRole[]> {
  const after = last ?? BEFORE_ALL[order].text;
  const rows = await session.all(LISTS[order], { last: after, name: containing(name), limit: limit + 1 });
  const builtIn = BUILT_IN.filter(
    (role) => (order === 'asc' ? role.name > after : role.name < after) && role.name.includes(name.toLowerCase()),
  );
  const sign = order === 'asc' ? 1 : -1;
  return [...rows.map(toRole), ...builtIn].sort((a, b) => (a.name < b.name ? -sign : sign)).slice(0, limit + 1);
}

/** Makes a role. Throws `name_invalid`, or `conflict` where there is one of that name. */
export async function createRole(
  tx: Session,
  { name, description, permissions, now }: { name: string; description: string; permissions: readonly Permission[]; now: number },
): Promise<AnyRole> {
  if (!NAME.test(name))
    throw new AppError('name_invalid', 'a role name has lower-case letters, digits and hyphens, a letter first, 63 at most');
  const isNew = !isRole(name) && (await tx.run(insertRole, { name, description, permissions: JSON.stringify(permissions), now })) === 1;
  if (!isNew) throw new AppError('conflict', `there is a role ${name} already`);
  return await requireRole(tx, name);
}

/** Changes a role, and at once what all may who have it. */
export async function changeRole(
  tx: Session,
  role: AnyRole,
  change: { readonly description?: string; readonly permissions?: readonly Permission[] },
): Promise<AnyRole> {
  const { name, description, permissions } = { ...role, ...change };
  await tx.run(updateRole, { name, description, permissions: JSON.stringify(permissions) });
  await touchAccess(tx);
  return await requireRole(tx, name);
}

/** Deletes a role. Throws `conflict` while anybody has it. */
export async function dropRole(tx: Session, { name }: AnyRole): Promise<void> {
  if (await isAssigned(tx, name)) throw new AppError('conflict', `role ${name} is still given to somebody; take it away first`);
  await tx.run(deleteRole, { name });
  await touchAccess(tx);
}

/** Throws `not_found` where there is no such role. */
export async function requireRole(session: Session, name: string): Promise<AnyRole> {
  const role = await findRole(session, name);
  if (!role) throw new AppError('not_found', `there is no role ${name}`);
  return role;
}
