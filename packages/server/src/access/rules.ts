import { LRUCache } from 'lru-cache';
import { andThen, compileGlob, type MaybePromise, queriesOf, type Session } from '../platform/index.ts';
import type { Subject } from './identity.ts';
import { isPermission, type Permission } from './permissions.ts';
import { createPolicyRules } from './policies/policies-of.ts';
import { permissionsOfRole } from './roles.ts';
import type { AccessTables } from './schema.ts';
import type { Statement } from './statements.ts';

const query = queriesOf<AccessTables>('access');

const stateVersion = query()('stateVersion', (db) => db.selectFrom('access_state').select('version').where('id', '=', 1));
const raiseVersion = query()('raiseVersion', (db) =>
  db
    .updateTable('access_state')
    .set((eb) => ({ version: eb('version', '+', 1) }))
    .where('id', '=', 1),
);
const assignmentsOf = query<{ kind: 'user' | 'robot'; id: number; project: string }>()('assignmentsOf', (db, p) =>
  db
    .selectFrom('role_assignment')
    .leftJoin('project', 'project.id', 'role_assignment.project_id')
    .leftJoin('role', 'role.name', 'role_assignment.role')
    .leftJoin('user_group', (join) =>
      join.onRef('user_group.id', '=', 'role_assignment.subject_id').on('role_assignment.subject_kind', '=', 'group'),
    )
    .select([
      'role_assignment.role',
      'role_assignment.permissions',
      'role_assignment.pattern',
      'project.name as project',
      'role.permissions as custom',
      'user_group.name as group',
    ])
    .where((eb) =>
      eb.or([
        eb.and([eb('role_assignment.subject_kind', '=', p('kind')), eb('role_assignment.subject_id', '=', p('id'))]),
        eb.and([
          eb(p('kind'), '=', 'user'),
          eb('role_assignment.subject_kind', '=', 'group'),
          eb('role_assignment.subject_id', 'in', eb.selectFrom('group_member').select('group_id').where('user_id', '=', p('id'))),
        ]),
      ]),
    )
    .where((eb) => eb.or([eb('role_assignment.project_id', 'is', null), eb('project.name', '=', p('project'))])),
);

/** Tells every process that who may what has changed: rules known before are read again. Part of every such change. */
export async function touchAccess(tx: Session): Promise<void> {
  await tx.run(raiseVersion, {});
}

const MAX_KNOWN = 20_000;

type Bound = Pick<Subject, 'kind' | 'id' | 'name'>;

export interface Rules {
  /** All rules that bind a subject on the system and, where named, in a project. */
  of(subject: Bound, project: string | undefined): MaybePromise<readonly Statement[]>;
}

/** Rules by subject and project, kept until anything about access changes; a change counts from the next request on. */
export function createRules(session: Session): Rules {
  const known = new LRUCache<string, readonly Statement[]>({ max: MAX_KNOWN });
  const policyRules = createPolicyRules(session);
  let version = -1;
  return {
    of: (subject, project) =>
      andThen(session.first(stateVersion, {}), (state) => {
        const current = state?.version ?? 0;
        if (current !== version) {
          known.clear();
          version = current;
        }
        const key = `${subject.kind}:${subject.id}:${project ?? ''}`;
        return known.get(key) ?? read(subject, project, key, current);
      }),
  };

  async function read(subject: Bound, project: string | undefined, key: string, current: number): Promise<readonly Statement[]> {
    const { kind, id } = subject;
    const rows = await session.all(assignmentsOf, { kind, id, project: project ?? '' });
    const statements = [...rows.flatMap(toStatements), ...(await policyRules(subject))];
    if (version === current) known.set(key, statements);
    return statements;
  }
}

interface AssignmentRow {
  readonly role: string | null;
  readonly permissions: string | null;
  readonly pattern: string | null;
  readonly project: string | null;
  readonly custom: string | null;
  readonly group: string | null;
}

/** Who may do anything to some repositories of a project may see that there is this project. */
const SEES: ReadonlySet<Permission> = new Set(['project:read']);

function toStatements({ role, permissions, pattern, project, custom, group }: AssignmentRow): Statement[] {
  const what = role === null ? 'single permissions' : `role ${role}`;
  const where = pattern === null ? (project === null ? 'everywhere' : `in project ${project}`) : `on ${pattern} in project ${project}`;
  const effect = 'allow';
  const source = `${what} ${where}${group === null ? '' : ` through group ${group}`}`;
  const own: Statement = {
    effect,
    permissions: role === null ? listed(permissions) : (permissionsOfRole(role) ?? listed(custom)),
    project: project ?? undefined,
    repositories: pattern === null ? undefined : compileGlob(pattern),
    source,
  };
  if (pattern === null || project === null) return [own];
  return [own, { effect, permissions: SEES, project, repositories: undefined, source }];
}

/** Permissions that this version does not know grant nothing. */
function listed(json: string | null): ReadonlySet<Permission> {
  const names: unknown = JSON.parse(json ?? '[]');
  return new Set((Array.isArray(names) ? names : []).filter((name): name is Permission => typeof name === 'string' && isPermission(name)));
}
