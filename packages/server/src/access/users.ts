import { andThen, type MaybePromise, queriesOf, type Session } from '../platform/index.ts';
import { assign } from './assignments.ts';
import { touchAccess } from './rules.ts';
import type { AccessTables } from './schema.ts';

const query = queriesOf<AccessTables>('access');
const COLUMNS = ['id', 'name', 'password_hash as passwordHash', 'disabled', 'generation'] as const;

const userByName = query<{ name: string }>()('userByName', (db, p) => db.selectFrom('user').select(COLUMNS).where('name', '=', p('name')));
const userById = query<{ id: number }>()('userById', (db, p) => db.selectFrom('user').select(COLUMNS).where('id', '=', p('id')));
const countUsers = query()('countUsers', (db) => db.selectFrom('user').select((eb) => eb.fn.countAll<number>().as('count')));
const insertUser = query<{ name: string; hash: string; now: number; email: string; fullName: string }>()('insertUser', (db, p) =>
  db
    .insertInto('user')
    .values({
      name: p('name'),
      password_hash: p('hash'),
      disabled: 0,
      generation: 1,
      created_at: p('now'),
      email: p('email'),
      full_name: p('fullName'),
      version: 1,
    })
    .onConflict((conflict) => conflict.column('name').doNothing())
    .returning('id'),
);
const updatePassword = query<{ name: string; hash: string }>()('updatePassword', (db, p) =>
  db
    .updateTable('user')
    .set((eb) => ({ password_hash: p('hash'), generation: eb('generation', '+', 1), version: eb('version', '+', 1), disabled: 0 }))
    .where('name', '=', p('name')),
);
const updateDisabled = query<{ name: string; disabled: number }>()('updateDisabled', (db, p) =>
  db
    .updateTable('user')
    .set((eb) => ({ disabled: p('disabled'), generation: eb('generation', '+', 1), version: eb('version', '+', 1) }))
    .where('name', '=', p('name')),
);

export interface User {
  readonly id: number;
  readonly name: string;
  /** argon2id in PHC form; empty for who proves identity elsewhere only. */
  readonly passwordHash: string;
  readonly disabled: boolean;
  readonly generation: number;
}

/** A user name: no character that a shell, URL or log could read as something else, and no name of a robot. */
const USER_NAME = /^(?!robot-)[a-z0-9][a-z0-9._-]{0,62}$/;

export function isUserName(text: string): boolean {
  return USER_NAME.test(text);
}

type UserRow = Omit<User, 'disabled'> & { disabled: number };

/** A row read again from memory is the same object: it becomes a user once. */
const USERS = new WeakMap<UserRow, User>();

function toUser(row: UserRow): User {
  let user = USERS.get(row);
  if (user === undefined) {
    const { id, name, passwordHash, disabled, generation } = row;
    user = { id, name, passwordHash, disabled: disabled === 1, generation };
    USERS.set(row, user);
  }
  return user;
}

export async function findUser(session: Session, name: string): Promise<User | undefined> {
  const row = await session.first(userByName, { name });
  return row && toUser(row);
}

export function findUserById(session: Session, id: number): MaybePromise<User | undefined> {
  return andThen(session.first(userById, { id }), (row) => row && toUser(row));
}

export async function userCount(session: Session): Promise<number> {
  return (await session.first(countUsers, {}))?.count ?? 0;
}

export interface NewUser {
  readonly name: string;
  readonly hash: string;
  readonly admin: boolean;
  readonly now: number;
  readonly email?: string;
  readonly fullName?: string;
}

/** Makes a user and gives its id; undefined if there is one of that name. */
export async function createUser(tx: Session, { name, hash, admin, now, email = '', fullName = '' }: NewUser): Promise<number | undefined> {
  const made = await tx.first(insertUser, { name, hash, now, email, fullName });
  if (made && admin) await assign(tx, { subject: { kind: 'user', id: made.id }, role: 'system-admin', by: 'system', now });
  return made?.id;
}

/** Sets a password, voids all that was issued before, and enables the user; false if there is none of that name. */
export async function setPassword(tx: Session, name: string, hash: string): Promise<boolean> {
  await touchAccess(tx);
  return (await tx.run(updatePassword, { name, hash })) === 1;
}

/** Disables or enables a user; either voids all that was issued before. */
export async function setDisabled(tx: Session, name: string, disabled: boolean): Promise<boolean> {
  await touchAccess(tx);
  return (await tx.run(updateDisabled, { name, disabled: disabled ? 1 : 0 })) === 1;
}
