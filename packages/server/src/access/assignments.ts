import { queriesOf, type Session } from '../platform/index.ts';
import type { Permission } from './permissions.ts';
import type { Role } from './roles.ts';
import { touchAccess } from './rules.ts';
import type { AccessTables } from './schema.ts';

const query = queriesOf<AccessTables>('access');

const insertAssignment = query<{
  kind: 'user' | 'group' | 'robot';
  subjectId: number;
  role: string | null;
  permissions: string | null;
  projectId: number | null;
  pattern: string | null;
  now: number;
  by: string;
}>()('insertAssignment', (db, p) =>
  db
    .insertInto('role_assignment')
    .values({
      subject_kind: p('kind'),
      subject_id: p('subjectId'),
      role: p('role'),
      permissions: p('permissions'),
      project_id: p('projectId'),
      pattern: p('pattern'),
      created_at: p('now'),
      created_by: p('by'),
    })
    .returning('id'),
);
const deleteProjectRole = query<{ kind: 'user' | 'group' | 'robot'; subjectId: number; projectId: number }>()(
  'deleteProjectRole',
  (db, p) =>
    db
      .deleteFrom('role_assignment')
      .where('subject_kind', '=', p('kind'))
      .where('subject_id', '=', p('subjectId'))
      .where('project_id', '=', p('projectId'))
      .where('pattern', 'is', null),
);
const deleteOfProject = query<{ projectId: number }>()('deleteAssignmentsOfProject', (db, p) =>
  db.deleteFrom('role_assignment').where('project_id', '=', p('projectId')),
);
const memberOf = query<{ project: string; user: string }>()('memberOf', (db, p) =>
  db
    .selectFrom(['project', 'user'])
    .select(['project.id as projectId', 'user.id as userId'])
    .where('project.name', '=', p('project'))
    .where('user.name', '=', p('user')),
);

export interface SubjectKey {
  readonly kind: 'user' | 'group' | 'robot';
  readonly id: number;
}

export interface NewAssignment {
  readonly subject: SubjectKey;
  /** A role, or else single permissions. */
  readonly role?: string;
  readonly permissions?: readonly Permission[];
  /** Absent: on the system and every project. */
  readonly projectId?: number;
  /** Glob over full repository names; absent: everything. */
  readonly pattern?: string;
  readonly by: string;
  readonly now: number;
}

/** Gives a subject rights, and gives the id of the assignment. The caller has checked that it may give them. */
export async function assign(tx: Session, assignment: NewAssignment): Promise<number> {
  const { subject, role = null, permissions, projectId = null, pattern = null, by, now } = assignment;
  const made = await tx.first(insertAssignment, {
    kind: subject.kind,
    subjectId: subject.id,
    role,
    permissions: permissions ? JSON.stringify(permissions) : null,
    projectId,
    pattern,
    by,
    now,
  });
  if (!made) throw new Error('an inserted assignment has no id');
  await touchAccess(tx);
  return made.id;
}

/** Takes all rights on a project from everybody: part of its deletion. */
export async function dropProjectAssignments(tx: Session, projectId: number): Promise<void> {
  await tx.run(deleteOfProject, { projectId });
  await touchAccess(tx);
}

/** Gives a user one role in a whole project, in place of those it had there; false if either does not exist. */
export async function setMember(
  tx: Session,
  { project, user, role, by, now }: { project: string; user: string; role: Role; by: string; now: number },
): Promise<boolean> {
  const member = await tx.first(memberOf, { project, user });
  if (!member) return false;
  const { projectId, userId } = member;
  await tx.run(deleteProjectRole, { kind: 'user', subjectId: userId, projectId });
  await assign(tx, { subject: { kind: 'user', id: userId }, role, projectId, by, now });
  return true;
}
