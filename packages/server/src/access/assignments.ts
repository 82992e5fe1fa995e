import { createHash } from 'node:crypto';
import { sql } from 'kysely';
import { AppError, type Migration, queriesOf, type Session } from '../platform/index.ts';
import type { Permission } from './permissions.ts';
import type { Role } from './roles.ts';
import { touchAccess } from './rules.ts';
import type { AccessTables } from './schema.ts';

const query = queriesOf<AccessTables>('access');

export const assignmentMigrations: readonly Migration[] = [
  {
    name: '0003-assignments-by-role',
    up: ({ db }) => [db.schema.createIndex('role_assignment_role').on('role_assignment').columns(['role', 'project_id'])],
  },
];

type Kind = 'user' | 'group' | 'robot';

interface Rights {
  role: string | null;
  permissions: string | null;
  pattern: string | null;
}

const insertAssignment = query<Rights & { kind: Kind; subjectId: number; projectId: number | null; now: number; by: string }>()(
  'insertAssignment',
  (db, p) =>
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
const updateAssignment = query<Rights & { id: number }>()('updateAssignment', (db, p) =>
  db
    .updateTable('role_assignment')
    .set({ role: p('role'), permissions: p('permissions'), pattern: p('pattern') })
    .where('id', '=', p('id')),
);
const deleteAssignment = query<{ id: number }>()('deleteAssignment', (db, p) => db.deleteFrom('role_assignment').where('id', '=', p('id')));
const deleteProjectRole = query<{ kind: Kind; subjectId: number; projectId: number }>()('deleteProjectRole', (db, p) =>
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
const deleteOfSubject = query<{ kind: Kind; subjectId: number }>()('deleteAssignmentsOfSubject', (db, p) =>
  db.deleteFrom('role_assignment').where('subject_kind', '=', p('kind')).where('subject_id', '=', p('subjectId')),
);
const deleteAttachmentsOfSubject = query<{ kind: Kind; subjectId: number }>()('deletePolicyAttachmentsOfSubject', (db, p) =>
  db.deleteFrom('policy_attachment').where('subject_kind', '=', p('kind')).where('subject_id', '=', p('subjectId')),
);
/** Project 0 stands for none, pattern '' for everything: neither can be one. */
const sameAssignment = query<{ kind: Kind; subjectId: number; projectId: number; pattern: string; except: number }>()(
  'sameAssignment',
  (db, p) =>
    db
      .selectFrom('role_assignment')
      .select('id')
      .where('subject_kind', '=', p('kind'))
      .where('subject_id', '=', p('subjectId'))
      .where(sql<number>`coalesce(project_id, 0)`, '=', p('projectId'))
      .where(sql<string>`coalesce(pattern, '')`, '=', p('pattern'))
      .where('id', '!=', p('except'))
      .limit(1),
);
const anyOfRole = query<{ role: string }>()('anyAssignmentOfRole', (db, p) =>
  db.selectFrom('role_assignment').select('id').where('role', '=', p('role')).limit(1),
);
const anySystemAdmin = query()('anySystemAdmin', (db) =>
  db
    .selectFrom('role_assignment')
    .innerJoin('user', 'user.id', 'role_assignment.subject_id')
    .select('user.id')
    .where('role_assignment.role', '=', 'system-admin')
    .where('role_assignment.project_id', 'is', null)
    .where('role_assignment.pattern', 'is', null)
    .where('role_assignment.subject_kind', '=', 'user')
    .where('user.disabled', '=', 0)
    .limit(1),
);
const memberOf = query<{ project: string; user: string }>()('memberOf', (db, p) =>
  db
    .selectFrom(['project', 'user'])
    .select(['project.id as projectId', 'user.id as userId'])
    .where('project.name', '=', p('project'))
    .where('user.name', '=', p('user')),
);

export interface SubjectKey {
  readonly kind: Kind;
  readonly id: number;
}

/** What an assignment gives, and on what of its project or of the system. */
export interface AssignedRights {
  /** A role, or else single permissions. */
  readonly role?: string | undefined;
  readonly permissions?: readonly Permission[] | undefined;
  /** Glob over full repository names; absent: everything. */
  readonly pattern?: string | undefined;
}

export interface NewAssignment extends AssignedRights {
  readonly subject: SubjectKey;
  /** Absent: on the system and every project. */
  readonly projectId?: number | undefined;
  readonly by: string;
  readonly now: number;
}

/** An assignment as it is kept. */
export interface Assignment extends AssignedRights {
  readonly id: number;
  readonly subject: SubjectKey;
  readonly projectId: number | undefined;
}

function stored({ role = null, permissions, pattern = null }: { [K in keyof AssignedRights]: AssignedRights[K] | null }): Rights {
  return { role, permissions: permissions ? JSON.stringify(permissions) : null, pattern };
}

/** Gives a subject rights, and gives the id of the assignment. The caller has checked that it may give them. */
export async function assign(tx: Session, assignment: NewAssignment): Promise<number> {
  const { subject, projectId = null, by, now } = assignment;
  const made = await tx.first(insertAssignment, { ...stored(assignment), kind: subject.kind, subjectId: subject.id, projectId, by, now });
  if (!made) throw new Error('an inserted assignment has no id');
  await touchAccess(tx);
  return made.id;
}

/** Gives other rights in place of those that an assignment gave. The caller has checked that it may give them. */
export async function reassign(tx: Session, id: number, rights: AssignedRights): Promise<void> {
  await tx.run(updateAssignment, { ...stored(rights), id });
  await touchAccess(tx);
}

export async function dropAssignment(tx: Session, id: number): Promise<void> {
  await tx.run(deleteAssignment, { id });
  await touchAccess(tx);
}

/** Takes all rights on a project from everybody: part of its deletion. */
export async function dropProjectAssignments(tx: Session, projectId: number): Promise<void> {
  await tx.run(deleteOfProject, { projectId });
  await touchAccess(tx);
}

/** Takes all rights and policies from a user, group or robot: part of its deletion. */
export async function dropSubjectAssignments(tx: Session, { kind, id }: SubjectKey): Promise<void> {
  await tx.run(deleteOfSubject, { kind, subjectId: id });
  await tx.run(deleteAttachmentsOfSubject, { kind, subjectId: id });
  await touchAccess(tx);
}

/** Throws `conflict` where another assignment has the same subject, project and pattern: one says what a subject may there. */
export async function requireSingle(tx: Session, assignment: Omit<Assignment, 'id'> & { readonly id?: number }): Promise<void> {
  const { subject, projectId = 0, pattern = '', id = 0 } = assignment;
  const other = await tx.first(sameAssignment, { kind: subject.kind, subjectId: subject.id, projectId, pattern, except: id });
  if (other) throw new AppError('conflict', `assignment ${other.id} gives this ${subject.kind} rights there already; change that one`);
}

/** Whether anybody has a role anywhere. */
export async function isAssigned(tx: Session, role: string): Promise<boolean> {
  return (await tx.first(anyOfRole, { role })) !== undefined;
}

/** Throws `conflict` where no user who can log in administers the system: the end of every change that could lead there. */
export async function requireSystemAdmin(tx: Session): Promise<void> {
  if (!(await tx.first(anySystemAdmin, {}))) throw new AppError('conflict', 'the last user who administers the system must stay');
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

/** Names a state of an assignment, for `ETag`. */
export function assignmentEtag({ id, role, permissions, pattern }: Assignment): string {
  const state = JSON.stringify([role, permissions, pattern]);
  return `${id}.${createHash('sha256').update(state).digest('base64url').slice(0, 16)}`;
}
