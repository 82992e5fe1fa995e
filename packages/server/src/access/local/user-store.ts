import { type AliasableExpression, type ExpressionBuilder, type Kysely, sql } from 'kysely';
import { BEFORE_ALL, beyond, containing, holdsText, type Migration, type Order, queriesOf, type Session } from '../../platform/index.ts';
import { touchAccess } from '../rules.ts';
import type { AccessTables } from '../schema.ts';

interface Tables extends AccessTables {
  /** Earlier passwords, which a policy may forbid to take again. */
  password_history: { user_id: number; replaced_at: number; hash: string };
}

export const accountMigrations: readonly Migration[] = [
  {
    name: '0001-accounts',
    up: ({ db }) => [
      db.schema.createIndex('user_created').on('user').columns(['created_at', 'id']),
      db.schema
        .createTable('password_history')
        .addColumn('user_id', 'integer', (c) => c.notNull().references('user.id'))
        .addColumn('replaced_at', 'bigint', (c) => c.notNull())
        .addColumn('hash', 'text', (c) => c.notNull()),
      db.schema.createIndex('password_history_user').on('password_history').columns(['user_id', 'replaced_at']),
    ],
  },
];

const query = queriesOf<Tables>('access');

/** 1 for who has the role of system administrators by itself. */
function isAdmin(eb: ExpressionBuilder<Tables, 'user'>): AliasableExpression<number> {
  return eb
    .case()
    .when(
      eb.exists(
        eb
          .selectFrom('role_assignment')
          .select('role_assignment.id')
          .where('role_assignment.subject_kind', '=', 'user')
          .whereRef('role_assignment.subject_id', '=', 'user.id')
          .where('role_assignment.role', '=', 'system-admin')
          .where('role_assignment.project_id', 'is', null)
          .where('role_assignment.pattern', 'is', null),
      ),
    )
    .then(1)
    .else(0)
    .end();
}

function selectAccounts(db: Kysely<Tables>) {
  return db
    .selectFrom('user')
    .select((eb) => [
      'user.id',
      'user.name',
      'user.email',
      'user.full_name as fullName',
      'user.disabled',
      'user.created_at as createdAt',
      'user.version',
      'user.password_hash as passwordHash',
      isAdmin(eb).as('admin'),
    ]);
}

const accountByName = query<{ name: string }>()('accountByName', (db, p) => selectAccounts(db).where('user.name', '=', p('name')));

interface Filter {
  name: string;
  email: string;
  /** -1: either. */
  disabled: number;
  limit: number;
}

const byName = (name: string, order: Order) =>
  query<Filter & { last: string }>()(name, (db, p) =>
    selectAccounts(db)
      .where('user.name', order === 'asc' ? '>' : '<', p('last'))
      .where(holdsText(sql.ref('user.name'), p('name')))
      .where(holdsText(sql.ref('user.email'), p('email')))
      .where((eb) => eb.or([eb(p('disabled'), '=', -1), eb('user.disabled', '=', p('disabled'))]))
      .orderBy('user.name', order)
      .limit(p('limit')),
  );
const byAge = (name: string, order: Order) =>
  query<Filter & { lastAt: number; lastId: number }>()(name, (db, p) =>
    selectAccounts(db)
      .where(beyond(sql.ref('user.created_at'), sql.ref('user.id'), order, p('lastAt'), p('lastId')))
      .where(holdsText(sql.ref('user.name'), p('name')))
      .where(holdsText(sql.ref('user.email'), p('email')))
      .where((eb) => eb.or([eb(p('disabled'), '=', -1), eb('user.disabled', '=', p('disabled'))]))
      .orderBy('user.created_at', order)
      .orderBy('user.id', order)
      .limit(p('limit')),
  );
const BY_NAME = { asc: byName('accountsByName', 'asc'), desc: byName('accountsByNameDown', 'desc') };
const BY_AGE = { asc: byAge('accountsByAge', 'asc'), desc: byAge('accountsByAgeDown', 'desc') };

const updateAccount = query<{ id: number; email: string; fullName: string; disabled: number; raise: number }>()('updateAccount', (db, p) =>
  db
    .updateTable('user')
    .set((eb) => ({
      email: p('email'),
      full_name: p('fullName'),
      disabled: p('disabled'),
      generation: eb('generation', '+', p('raise')),
      version: eb('version', '+', 1),
    }))
    .where('id', '=', p('id')),
);
const updateHash = query<{ id: number; hash: string }>()('updatePasswordHash', (db, p) =>
  db
    .updateTable('user')
    .set((eb) => ({ password_hash: p('hash'), generation: eb('generation', '+', 1), version: eb('version', '+', 1) }))
    .where('id', '=', p('id'))
    .returning('generation'),
);
const raiseUser = query<{ id: number }>()('raiseGeneration', (db, p) =>
  db
    .updateTable('user')
    .set((eb) => ({ generation: eb('generation', '+', 1), version: eb('version', '+', 1) }))
    .where('id', '=', p('id'))
    .returning('generation'),
);
const takeAdmin = query<{ id: number }>()('takeSystemAdmin', (db, p) =>
  db
    .deleteFrom('role_assignment')
    .where('subject_kind', '=', 'user')
    .where('subject_id', '=', p('id'))
    .where('role', '=', 'system-admin')
    .where('project_id', 'is', null)
    .where('pattern', 'is', null),
);
const insertHistory = query<{ userId: number; now: number; hash: string }>()('insertPasswordHistory', (db, p) =>
  db.insertInto('password_history').values({ user_id: p('userId'), replaced_at: p('now'), hash: p('hash') }),
);
const historyOf = query<{ userId: number; limit: number }>()('passwordHistory', (db, p) =>
  db.selectFrom('password_history').select('hash').where('user_id', '=', p('userId')).orderBy('replaced_at', 'desc').limit(p('limit')),
);
const trimHistory = query<{ userId: number; kept: number }>()('trimPasswordHistory', (db, p) =>
  db
    .deleteFrom('password_history')
    .where('user_id', '=', p('userId'))
    .where('replaced_at', 'not in', (eb) =>
      eb
        .selectFrom('password_history as newest')
        .select('newest.replaced_at')
        .where('newest.user_id', '=', p('userId'))
        .orderBy('newest.replaced_at', 'desc')
        .limit(p('kept')),
    ),
);
const deleteHistory = query<{ userId: number }>()('deletePasswordHistory', (db, p) =>
  db.deleteFrom('password_history').where('user_id', '=', p('userId')),
);
const deleteMemberships = query<{ userId: number }>()('deleteMemberships', (db, p) =>
  db.deleteFrom('group_member').where('user_id', '=', p('userId')),
);
const deleteRow = query<{ id: number }>()('deleteUser', (db, p) => db.deleteFrom('user').where('id', '=', p('id')));

/** A user as administrators see it. */
export interface Account {
  readonly id: number;
  readonly name: string;
  readonly email: string;
  readonly fullName: string;
  readonly disabled: boolean;
  readonly admin: boolean;
  readonly createdAt: number;
  readonly version: number;
  /** argon2id in PHC form; empty for who proves identity elsewhere only. */
  readonly passwordHash: string;
}

type Row = Omit<Account, 'disabled' | 'admin'> & { disabled: number; admin: number };

function toAccount(row: Row): Account {
  return { ...row, disabled: row.disabled === 1, admin: row.admin === 1 };
}

export async function findAccount(session: Session, name: string): Promise<Account | undefined> {
  const row = await session.first(accountByName, { name });
  return row && toAccount(row);
}

export interface AccountList {
  readonly limit: number;
  readonly field: 'name' | 'createdAt';
  readonly order: Order;
  readonly last: Pick<Account, 'name' | 'createdAt' | 'id'> | undefined;
  readonly name?: string | undefined;
  readonly email?: string | undefined;
  readonly disabled?: boolean | undefined;
}

export async function listAccounts(session: Session, list: AccountList): Promise<Account[]> {
  const { limit, field, order, last, name = '', email = '', disabled } = list;
  const filter = { limit, name: containing(name), email: containing(email), disabled: disabled === undefined ? -1 : Number(disabled) };
  const start = BEFORE_ALL[order];
  const rows =
    field === 'name'
      ? await session.all(BY_NAME[order], { ...filter, last: last?.name ?? start.text })
      : await session.all(BY_AGE[order], { ...filter, lastAt: last?.createdAt ?? start.number, lastId: last?.id ?? start.number });
  return rows.map(toAccount);
}

/** Sets what may be changed of a user. Whoever is disabled or enabled, or told otherwise, has to log in again. */
export async function updateAccountRow(
  tx: Session,
  { id, email, fullName, disabled }: Pick<Account, 'id' | 'email' | 'fullName' | 'disabled'>,
  { logOut }: { logOut: boolean },
): Promise<void> {
  await tx.run(updateAccount, { id, email, fullName, disabled: disabled ? 1 : 0, raise: logOut ? 1 : 0 });
  if (logOut) await touchAccess(tx);
}

/** Replaces a password, voids all that was issued before, and gives the new generation. Keeps so many old ones for the policy. */
export async function replacePassword(
  tx: Session,
  { id, passwordHash }: Pick<Account, 'id' | 'passwordHash'>,
  { hash, kept, now }: { hash: string; kept: number; now: number },
): Promise<number> {
  if (kept > 0 && passwordHash !== '') await tx.run(insertHistory, { userId: id, now, hash: passwordHash });
  await tx.run(trimHistory, { userId: id, kept });
  await touchAccess(tx);
  return (await tx.first(updateHash, { id, hash }))?.generation ?? 0;
}

/** Hashes of so many passwords before the present one, the newest first. */
export async function formerPasswords(session: Session, userId: number, limit: number): Promise<string[]> {
  return limit === 0 ? [] : (await session.all(historyOf, { userId, limit })).map(({ hash }) => hash);
}

/** Voids all that was issued to a user, and gives the new generation. */
export async function raiseGeneration(tx: Session, id: number): Promise<number> {
  await touchAccess(tx);
  return (await tx.first(raiseUser, { id }))?.generation ?? 0;
}

export async function takeSystemAdmin(tx: Session, id: number): Promise<void> {
  await tx.run(takeAdmin, { id });
  await touchAccess(tx);
}

/** Deletes the row of a user and what of it lies here; the rest must be gone before. */
export async function deleteUserRow(tx: Session, id: number): Promise<void> {
  await tx.run(deleteHistory, { userId: id });
  await tx.run(deleteMemberships, { userId: id });
  await tx.run(deleteRow, { id });
  await touchAccess(tx);
}
