import Type, { type Static } from 'typebox';
import { AppError, queriesOf, type Session } from '../../platform/index.ts';
import type { Access } from '../access.ts';
import { assign } from '../assignments.ts';
import { requireRole } from '../custom-roles.ts';
import type { Identity } from '../identity.ts';
import { isPermission, PERMISSIONS, type Permission } from '../permissions.ts';
import { requireGrantable } from '../role-routes.ts';
import { readPattern } from './limits.ts';
import { Pattern, Permissions } from './limits-schema.ts';
import type { Robot } from './robots.ts';
import type { MachineTables } from './schema.ts';

const query = queriesOf<MachineTables>('machines');
const rightsById = query<{ id: number }>()('rightsOfRobot', (db, p) =>
  db
    .selectFrom('role_assignment')
    .leftJoin('project', 'project.id', 'role_assignment.project_id')
    .select(['role_assignment.role', 'role_assignment.permissions', 'role_assignment.pattern', 'project.name as project'])
    .where('role_assignment.subject_kind', '=', 'robot')
    .where('role_assignment.subject_id', '=', p('id'))
    .orderBy('role_assignment.id'),
);
const projectId = query<{ name: string }>()('projectIdByName', (db, p) =>
  db.selectFrom('project').select('id').where('name', '=', p('name')),
);

const deleteRights = query<{ id: number }>()('deleteRightsOfRobot', (db, p) =>
  db.deleteFrom('role_assignment').where('subject_kind', '=', 'robot').where('subject_id', '=', p('id')),
);

export const Right = Type.Object(
  {
    role: Type.Optional(Type.String({ maxLength: 63, description: 'a role, or else permissions' })),
    permissions: Type.Optional(Permissions),
    project: Type.Optional(Type.String({ maxLength: 128, description: 'absent: on the system and every project' })),
    pattern: Type.Optional(Pattern),
  },
  { additionalProperties: false },
);

export type Right = Static<typeof Right>;

const MAX_RIGHTS = 50;
export const Rights = Type.Array(Right, { maxItems: MAX_RIGHTS, description: 'what the robot may; whoever gives a right must hold it' });

/** What a robot may by assignments, whoever gave them. */
export async function rightsOf(session: Session, robotId: number): Promise<Right[]> {
  return (await session.all(rightsById, { id: robotId })).map(({ role, permissions, pattern, project }) => ({
    ...(role === null ? {} : { role }),
    ...(permissions === null ? {} : { permissions: (JSON.parse(permissions) as string[]).filter(isPermission) }),
    ...(project === null ? {} : { project }),
    ...(pattern === null ? {} : { pattern }),
  }));
}

/** Gives a robot these rights in place of those it had. The caller has checked that it may give them. */
export async function setRights(
  tx: Session,
  robot: Robot,
  rights: readonly Right[],
  { by, now }: { readonly by: string; readonly now: number },
): Promise<void> {
  const subject = { kind: 'robot', id: robot.id } as const;
  await tx.run(deleteRights, { id: robot.id });
  for (const { role, permissions, project, pattern } of rights) {
    const home = project === undefined ? undefined : await tx.first(projectId, { name: project });
    if (project !== undefined && !home) throw new AppError('not_found', `there is no project ${project}`);
    await assign(tx, { subject, role, permissions, pattern, projectId: home?.id, by, now });
  }
}

/** Permissions of a right. Throws `bad_request` for one that makes no sense, `not_found` for a role that does not exist. */
async function permissionsOf(session: Session, { role, permissions, project, pattern }: Right): Promise<readonly Permission[]> {
  if ((role === undefined) === (permissions === undefined)) throw new AppError('bad_request', 'a right names a role, or permissions');
  if (pattern !== undefined) readPattern(pattern);
  if (role !== undefined) {
    const known = await requireRole(session, role);
    if (project !== undefined && known.level === 'system') throw new AppError('bad_request', `role ${role} is given on the system only`);
    return known.permissions;
  }
  const alien = project === undefined ? undefined : permissions?.find((permission) => PERMISSIONS[permission] === 'system');
  if (alien !== undefined) throw new AppError('bad_request', `${alien} is given on the system only`);
  return permissions ?? [];
}

/** Throws `denied` unless an identity holds each of these rights itself, on all that they are given on. */
export async function requireMayGive(
  { database, access }: { readonly database: Session; readonly access: Access },
  caller: Identity,
  rights: readonly Right[],
): Promise<void> {
  for (const right of rights) await requireGrantable(access, caller, await permissionsOf(database, right), right.project);
}
