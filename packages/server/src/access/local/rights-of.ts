import { AppError, queriesOf, type Session } from '../../platform/index.ts';
import type { Access } from '../access.ts';
import type { Identity } from '../identity.ts';
import { ALL_PERMISSIONS, isPermission, type Permission } from '../permissions.ts';
import { permissionsOfRole } from '../roles.ts';
import type { AccessTables } from '../schema.ts';

const query = queriesOf<AccessTables>('access');

const COLUMNS = ['role_assignment.role', 'role_assignment.permissions', 'project.name as project', 'role.permissions as custom'] as const;

const rightsOfUser = query<{ id: number }>()('rightsOfUser', (db, p) =>
  db
    .selectFrom('role_assignment')
    .leftJoin('project', 'project.id', 'role_assignment.project_id')
    .leftJoin('role', 'role.name', 'role_assignment.role')
    .select(COLUMNS)
    .where((eb) =>
      eb.or([
        eb.and([eb('role_assignment.subject_kind', '=', 'user'), eb('role_assignment.subject_id', '=', p('id'))]),
        eb.and([
          eb('role_assignment.subject_kind', '=', 'group'),
          eb('role_assignment.subject_id', 'in', eb.selectFrom('group_member').select('group_id').where('user_id', '=', p('id'))),
        ]),
      ]),
    ),
);
const rightsOfGroup = query<{ id: number }>()('rightsOfGroup', (db, p) =>
  db
    .selectFrom('role_assignment')
    .leftJoin('project', 'project.id', 'role_assignment.project_id')
    .leftJoin('role', 'role.name', 'role_assignment.role')
    .select(COLUMNS)
    .where('role_assignment.subject_kind', '=', 'group')
    .where('role_assignment.subject_id', '=', p('id')),
);

/**
 * Throws `denied` unless a caller holds every right that a user or group has. Who sets another's password can become that user, and
 * who puts somebody into a group gives what the group may: nobody gives or gets more than it holds.
 */
export async function requireRightsOf(
  { database, access }: { database: Session; access: Access },
  caller: Identity,
  { kind, id }: { readonly kind: 'user' | 'group'; readonly id: number },
): Promise<void> {
  const rights = await database.all(kind === 'user' ? rightsOfUser : rightsOfGroup, { id });
  const asked = new Map<string | undefined, Set<Permission>>();
  for (const { role, permissions, project, custom } of rights) {
    const held = asked.get(project ?? undefined) ?? new Set();
    for (const permission of (role === null ? undefined : permissionsOfRole(role)) ?? listed(permissions ?? custom)) held.add(permission);
    asked.set(project ?? undefined, held);
  }
  for (const [project, permissions] of asked) await requireHeld(access, caller, permissions, project);
}

/** Throws `denied` unless a caller may do everything everywhere. */
export async function requireEverything(access: Access, caller: Identity): Promise<void> {
  await requireHeld(access, caller, ALL_PERMISSIONS, undefined);
}

async function requireHeld(
  access: Access,
  caller: Identity,
  permissions: Iterable<Permission>,
  project: string | undefined,
): Promise<void> {
  const [lacking] = await access.lacks(caller, permissions, project);
  if (lacking === undefined) return;
  const where = project === undefined ? 'on the system' : `in project ${project}`;
  throw new AppError('denied', `this concerns the right ${lacking} ${where}, which the caller does not hold`);
}

function listed(json: string | null): Permission[] {
  const names: unknown = JSON.parse(json ?? '[]');
  return (Array.isArray(names) ? names : []).filter((name): name is Permission => typeof name === 'string' && isPermission(name));
}
