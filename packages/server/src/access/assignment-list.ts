import { sql } from 'kysely';
import { BEFORE_ALL, beyond, containing, holdsText, type Order, type Query, queriesOf, type Session } from '../platform/index.ts';
import type { Assignment } from './assignments.ts';
import { isPermission, type Permission } from './permissions.ts';
import type { AccessTables } from './schema.ts';

interface Tables extends AccessTables {
  robot: { id: number; name: string; project_id: number | null; disabled: number; generation: number };
}

const query = queriesOf<Tables>('access');

/** An assignment with the name of whom it is given to. */
export interface NamedAssignment extends Assignment {
  readonly name: string;
  readonly createdAt: number;
  readonly createdBy: string;
}

export type AssignmentSort = 'name' | 'created';

export interface AssignmentPage {
  /** undefined: assignments on the system. */
  readonly projectId: number | undefined;
  readonly sort: AssignmentSort;
  readonly order: Order;
  /** Value and id of the last before the page. */
  readonly last: readonly [string | number, number] | undefined;
  readonly limit: number;
  readonly kind?: string | undefined;
  readonly name?: string | undefined;
  readonly role?: string | undefined;
}

interface Params {
  projectId: number;
  at: string | number;
  id: number;
  kind: string;
  name: string;
  role: string;
  limit: number;
}

interface Row {
  id: number;
  kind: 'user' | 'group' | 'robot';
  subjectId: number;
  name: string;
  role: string | null;
  permissions: string | null;
  pattern: string | null;
  projectId: number | null;
  createdAt: number;
  createdBy: string;
}

const ID = sql.ref('role_assignment.id');
const NAME = sql<string>`coalesce("user".name, user_group.name, robot.name, '')`;
const SORTED = { name: NAME, created: sql.ref('role_assignment.created_at') } as const;

function named(name: string, on: 'system' | 'project', sort: AssignmentSort, order: Order): Query<Params, Row> {
  return query<Params>()(name, (db, p) =>
    db
      .selectFrom('role_assignment')
      .leftJoin('user', (join) => join.onRef('user.id', '=', 'role_assignment.subject_id').on('role_assignment.subject_kind', '=', 'user'))
      .leftJoin('user_group', (join) =>
        join.onRef('user_group.id', '=', 'role_assignment.subject_id').on('role_assignment.subject_kind', '=', 'group'),
      )
      .leftJoin('robot', (join) =>
        join.onRef('robot.id', '=', 'role_assignment.subject_id').on('role_assignment.subject_kind', '=', 'robot'),
      )
      .select([
        'role_assignment.id',
        'role_assignment.subject_kind as kind',
        'role_assignment.subject_id as subjectId',
        NAME.as('name'),
        'role_assignment.role',
        'role_assignment.permissions',
        'role_assignment.pattern',
        'role_assignment.project_id as projectId',
        'role_assignment.created_at as createdAt',
        'role_assignment.created_by as createdBy',
      ])
      .where((eb) =>
        on === 'system'
          ? eb.and([eb('role_assignment.project_id', 'is', null), eb(p('projectId'), '=', 0)])
          : eb('role_assignment.project_id', '=', p('projectId')),
      )
      .where(beyond(SORTED[sort], ID, order, p('at'), p('id')))
      .where((eb) => eb.or([eb(p('kind'), '=', ''), eb(eb.ref('role_assignment.subject_kind'), '=', p('kind') as never)]))
      .where((eb) => eb.or([eb(p('role'), '=', ''), eb('role_assignment.role', '=', p('role'))]))
      .where(holdsText(NAME, p('name')))
      .orderBy(SORTED[sort], order)
      .orderBy('role_assignment.id', order)
      .limit(p('limit')),
  );
}

const LISTS = {
  system: {
    name: {
      asc: named('systemAssignmentsByName', 'system', 'name', 'asc'),
      desc: named('systemAssignmentsByNameDown', 'system', 'name', 'desc'),
    },
    created: {
      asc: named('systemAssignments', 'system', 'created', 'asc'),
      desc: named('systemAssignmentsDown', 'system', 'created', 'desc'),
    },
  },
  project: {
    name: { asc: named('membersByName', 'project', 'name', 'asc'), desc: named('membersByNameDown', 'project', 'name', 'desc') },
    created: { asc: named('members', 'project', 'created', 'asc'), desc: named('membersDown', 'project', 'created', 'desc') },
  },
} as const;

const oneAssignment = query<{ projectId: number; id: number }>()('assignment', (db, p) =>
  db
    .selectFrom('role_assignment')
    .leftJoin('user', (join) => join.onRef('user.id', '=', 'role_assignment.subject_id').on('role_assignment.subject_kind', '=', 'user'))
    .leftJoin('user_group', (join) =>
      join.onRef('user_group.id', '=', 'role_assignment.subject_id').on('role_assignment.subject_kind', '=', 'group'),
    )
    .leftJoin('robot', (join) => join.onRef('robot.id', '=', 'role_assignment.subject_id').on('role_assignment.subject_kind', '=', 'robot'))
    .select([
      'role_assignment.id',
      'role_assignment.subject_kind as kind',
      'role_assignment.subject_id as subjectId',
      NAME.as('name'),
      'role_assignment.role',
      'role_assignment.permissions',
      'role_assignment.pattern',
      'role_assignment.project_id as projectId',
      'role_assignment.created_at as createdAt',
      'role_assignment.created_by as createdBy',
    ])
    .where('role_assignment.id', '=', p('id'))
    .where(sql<number>`coalesce(role_assignment.project_id, 0)`, '=', p('projectId')),
);

const userKey = query<{ name: string }>()('userKey', (db, p) => db.selectFrom('user').select('id').where('name', '=', p('name')));
const groupKey = query<{ name: string }>()('groupKey', (db, p) => db.selectFrom('user_group').select('id').where('name', '=', p('name')));
const robotKey = query<{ name: string }>()('robotKey', (db, p) =>
  db.selectFrom('robot').select(['id', 'project_id as projectId']).where('name', '=', p('name')),
);

function toAssignment({ kind, subjectId, role, permissions, pattern, projectId, ...rest }: Row): NamedAssignment {
  return {
    ...rest,
    subject: { kind, id: subjectId },
    projectId: projectId ?? undefined,
    role: role ?? undefined,
    permissions:
      permissions === null ? undefined : (JSON.parse(permissions) as string[]).filter((name): name is Permission => isPermission(name)),
    pattern: pattern ?? undefined,
  };
}

/** Assignments after a position; one more than the limit, where there is one. */
export async function pageOfAssignments(session: Session, page: AssignmentPage): Promise<NamedAssignment[]> {
  const { projectId, sort, order, last, limit, kind = '', name = '', role = '' } = page;
  const begin = BEFORE_ALL[order];
  const [at, id] = last ?? [sort === 'name' ? begin.text : begin.number, begin.number];
  const list = LISTS[projectId === undefined ? 'system' : 'project'][sort][order];
  const rows = await session.all(list, { projectId: projectId ?? 0, at, id, kind, role, name: containing(name), limit: limit + 1 });
  return rows.map(toAssignment);
}

/** One assignment of a project, or else of the system. */
export async function findAssignment(session: Session, projectId: number | undefined, id: number): Promise<NamedAssignment | undefined> {
  const row = await session.first(oneAssignment, { projectId: projectId ?? 0, id });
  return row && toAssignment(row);
}

/** Id of a user, group or robot. */
export async function findAssignee(
  session: Session,
  { kind, name }: { readonly kind: Row['kind']; readonly name: string },
): Promise<number | undefined> {
  const key = kind === 'user' ? userKey : kind === 'group' ? groupKey : robotKey;
  return (await session.first(key, { name }))?.id;
}

/** Whether a robot may have rights in a project, or else on the system: one of a project has them in that only. */
export async function isAtHome(session: Session, robot: string, projectId: number | undefined): Promise<boolean> {
  const home = (await session.first(robotKey, { name: robot }))?.projectId ?? null;
  return home === null || home === projectId;
}
