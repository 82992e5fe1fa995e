import { type MaybePromise, queriesOf, type Session } from '../platform/index.ts';
import { isRole, type Role } from './roles.ts';
import type { AccessTables } from './schema.ts';

const query = queriesOf<AccessTables>('access');
const COLUMNS = ['id', 'name', 'password_hash as passwordHash', 'admin', 'disabled', 'generation'] as const;

const userByName = query<{ name: string }>()('userByName', (db, p) => db.selectFrom('user').select(COLUMNS).where('name', '=', p('name')));
const userById = query<{ id: number }>()('userById', (db, p) => db.selectFrom('user').select(COLUMNS).where('id', '=', p('id')));
const countUsers = query()('countUsers', (db) => db.selectFrom('user').select((eb) => eb.fn.countAll<number>().as('count')));
const insertUser = query<{ name: string; hash: string; admin: number; now: number }>()('insertUser', (db, p) =>
  db
    .insertInto('user')
    .values({ name: p('name'), password_hash: p('hash'), admin: p('admin'), disabled: 0, generation: 1, created_at: p('now') })
    .onConflict((conflict) => conflict.column('name').doNothing()),
);
const updatePassword = query<{ name: string; hash: string }>()('updatePassword', (db, p) =>
  db
    .updateTable('user')
    .set((eb) => ({ password_hash: p('hash'), generation: eb('generation', '+', 1), disabled: 0 }))
    .where('name', '=', p('name')),
);
const updateDisabled = query<{ name: string; disabled: number }>()('updateDisabled', (db, p) =>
  db
    .updateTable('user')
    .set((eb) => ({ disabled: p('disabled'), generation: eb('generation', '+', 1) }))
    .where('name', '=', p('name')),
);
const memberRole = query<{ project: string; userId: number }>()('memberRole', (db, p) =>
  db
    .selectFrom('project')
    .leftJoin('project_member', (join) =>
      join.onRef('project_member.project_id', '=', 'project.id').on('project_member.user_id', '=', p('userId')),
    )
    .select(['project.public', 'project_member.role'])
    .where('project.name', '=', p('project')),
);
const seenProjects = query<{ last: string; userId: number; admin: number; limit: number }>()('seenProjects', (db, p) =>
  db
    .selectFrom('project')
    .leftJoin('project_member', (join) =>
      join.onRef('project_member.project_id', '=', 'project.id').on('project_member.user_id', '=', p('userId')),
    )
    .select(['project.id', 'project.name', 'project.public', 'project_member.role'])
    .where('project.name', '>', p('last'))
    .where((eb) => eb.or([eb('project.public', '=', 1), eb('project_member.role', 'is not', null), eb(p('admin'), '=', 1)]))
    .orderBy('project.name')
    .limit(p('limit')),
);
const upsertMember = query<{ project: string; user: string; role: string }>()('upsertMember', (db, p) =>
  db
    .insertInto('project_member')
    .columns(['project_id', 'user_id', 'role'])
    .expression((eb) =>
      eb
        .selectFrom(['project', 'user'])
        .select((s) => ['project.id as project_id', 'user.id as user_id', s.cast<string>(p('role'), 'text').as('role')])
        .where('project.name', '=', p('project'))
        .where('user.name', '=', p('user')),
    )
    .onConflict((conflict) => conflict.columns(['project_id', 'user_id']).doUpdateSet((eb) => ({ role: eb.ref('excluded.role') }))),
);

export interface User {
  readonly id: number;
  readonly name: string;
  readonly passwordHash: string;
  readonly admin: boolean;
  readonly disabled: boolean;
  readonly generation: number;
}

/** A user name: no character that a shell, URL or log could read as something else. */
const USER_NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/;

export function isUserName(text: string): boolean {
  return USER_NAME.test(text);
}

type UserRow = Omit<User, 'admin' | 'disabled'> & { admin: number; disabled: number };

/** A row read again from memory is the same object: it becomes a user once. */
const USERS = new WeakMap<UserRow, User>();

function toUser(row: UserRow): User {
  let user = USERS.get(row);
  if (user === undefined) {
    const { id, name, passwordHash, admin, disabled, generation } = row;
    user = { id, name, passwordHash, admin: admin === 1, disabled: disabled === 1, generation };
    USERS.set(row, user);
  }
  return user;
}

export async function findUser(session: Session, name: string): Promise<User | undefined> {
  const row = await session.first(userByName, { name });
  return row && toUser(row);
}

export async function findUserById(session: Session, id: number): Promise<User | undefined> {
  const row = await session.first(userById, { id });
  return row && toUser(row);
}

export async function userCount(session: Session): Promise<number> {
  return (await session.first(countUsers, {}))?.count ?? 0;
}

/** Makes a user; false if there is one of that name. */
export async function createUser(tx: Session, user: { name: string; hash: string; admin: boolean; now: number }): Promise<boolean> {
  return (await tx.run(insertUser, { name: user.name, hash: user.hash, admin: user.admin ? 1 : 0, now: user.now })) === 1;
}

/** Sets a password, voids all that was issued before, and enables the user; false if there is none of that name. */
export async function setPassword(tx: Session, name: string, hash: string): Promise<boolean> {
  return (await tx.run(updatePassword, { name, hash })) === 1;
}

/** Disables or enables a user; either voids all that was issued before. */
export async function setDisabled(tx: Session, name: string, disabled: boolean): Promise<boolean> {
  return (await tx.run(updateDisabled, { name, disabled: disabled ? 1 : 0 })) === 1;
}

/** A project as one user sees it: undefined if there is none. */
export function findMembership(
  session: Session,
  project: string,
  userId: number,
): MaybePromise<{ public: number; role: string | null } | undefined> {
  return session.first(memberRole, { project, userId });
}

/** Projects by name, after one, that a user may have rights in: those that are public, own ones, for an admin all. */
export async function pageOfSeenProjects(
  session: Session,
  page: { last: string; user: User | undefined; limit: number },
): Promise<{ id: number; name: string; public: number; role: string | null }[]> {
  const { last, user, limit } = page;
  return await session.all(seenProjects, { last, userId: user?.id ?? 0, admin: user?.admin ? 1 : 0, limit });
}

/** Gives a user a role in a project; false if either does not exist. */
export async function setMember(tx: Session, member: { project: string; user: string; role: Role }): Promise<boolean> {
  return (await tx.run(upsertMember, member)) === 1;
}

export function roleOf(text: string | null): Role | undefined {
  return text !== null && isRole(text) ? text : undefined;
}
