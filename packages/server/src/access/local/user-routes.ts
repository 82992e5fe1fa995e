import Type, { type Static } from 'typebox';
import {
  AppError,
  type Changed,
  listOf,
  listQuery,
  PAGE_DEFAULT,
  pageOf,
  type Route,
  readCursor,
  requireMatch,
  routesFor,
  type Session,
  sortOf,
} from '../../platform/index.ts';
import type { Access } from '../access.ts';
import { assign, requireSystemAdmin } from '../assignments.ts';
import type { Identity } from '../identity.ts';
import { hashPassword, randomPassword } from '../passwords.ts';
import { createUser, isUserName } from '../users.ts';
import { deleteUser } from './delete-user.ts';
import { Password, UserName } from './login-routes.ts';
import { checkNew, checkPassword, type PasswordRules } from './password-policy.ts';
import { requireEverything, requireRightsOf } from './rights-of.ts';
import { type Account, findAccount, listAccounts, replacePassword, takeSystemAdmin, updateAccountRow } from './user-store.ts';

export interface UserParts {
  readonly database: Session;
  readonly access: Access;
  readonly config: PasswordRules;
}

const Email = Type.String({ maxLength: 254, pattern: '^([^\\s@<>"]+@[^\\s@<>"]+)?$', description: 'may be empty' });
// Nothing that a list, log or terminal could read as something else.
const FullName = Type.String({ maxLength: 128, pattern: '^[^\\u0000-\\u001f\\u007f<>]*$' });
const View = Type.Object({
  name: Type.String(),
  email: Type.String(),
  fullName: Type.String(),
  disabled: Type.Boolean(),
  admin: Type.Boolean({ description: 'has the role system-admin by itself' }),
  password: Type.Boolean({ description: 'has a password here; otherwise a provider proves who it is' }),
  createdAt: Type.String({ format: 'date-time' }),
});
const Made = Type.Object({
  ...View.properties,
  newPassword: Type.Optional(Type.String({ description: 'random, where none was given; shown this once' })),
});
const NewUser = Type.Object(
  {
    name: UserName,
    password: Type.Optional(Password),
    email: Type.Optional(Email),
    fullName: Type.Optional(FullName),
    admin: Type.Optional(Type.Boolean({ default: false, description: 'give the role system-admin' })),
  },
  { additionalProperties: false },
);
const UserChange = Type.Object(
  {
    email: Type.Optional(Email),
    fullName: Type.Optional(FullName),
    disabled: Type.Optional(Type.Boolean()),
    admin: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
);
const Names = Type.Array(UserName, { minItems: 1, maxItems: 200, uniqueItems: true });
const Several = Type.Object({ names: Names }, { additionalProperties: false });
const SeveralDisabled = Type.Object({ names: Names, disabled: Type.Boolean() }, { additionalProperties: false });
const Done = Type.Object({ names: Type.Array(Type.String()) });
const Reset = Type.Object({ password: Type.Optional(Password) }, { additionalProperties: false });
const ResetDone = Type.Object({ newPassword: Type.Optional(Type.String({ description: 'shown this once' })) });
const OfUser = Type.Object({ user: UserName });

const { read, change } = routesFor<Identity>();

/** Users, for those who manage them. */
export function userRoutes(parts: UserParts): Route[] {
  const { database, access, config } = parts;

  /** Users that a caller may change, as they are now. */
  async function manageable(names: readonly string[], caller: Identity): Promise<void> {
    for (const name of names) await requireRightsOf(parts, caller, { kind: 'user', id: (await requireAccount(database, name)).id });
  }

  /** A password that was given, or a random one, as it is stored. */
  async function takePassword(given: string | undefined, owner: Pick<Account, 'name' | 'email' | 'fullName'>) {
    if (given !== undefined) checkPassword(config, given, owner);
    const password = given ?? randomPassword();
    return { hash: await hashPassword(password), shown: given === undefined ? { newPassword: password } : {} };
  }

  async function changeOne(tx: Session, before: Account, wanted: Static<typeof UserChange>, by: string, now: number): Promise<Account> {
    const { email = before.email, fullName = before.fullName, disabled = before.disabled, admin = before.admin } = wanted;
    const logOut = disabled !== before.disabled || admin !== before.admin;
    await updateAccountRow(tx, { id: before.id, email, fullName, disabled }, { logOut });
    if (admin && !before.admin) await assign(tx, { subject: { kind: 'user', id: before.id }, role: 'system-admin', by, now });
    if (!admin && before.admin) await takeSystemAdmin(tx, before.id);
    if (logOut) await requireSystemAdmin(tx);
    return await requireAccount(tx, before.name);
  }

  return [
    read({
      method: 'GET',
      path: '/users',
      summary: 'List users',
      tag: 'Users',
      permission: 'user:read',
      query: listQuery(['name', 'createdAt'], {
        name: Type.Optional(Type.String({ maxLength: 128, description: 'only those whose name contains this' })),
        email: Type.Optional(Type.String({ maxLength: 254, description: 'only those whose email contains this' })),
        disabled: Type.Optional(Type.Boolean()),
      }),
      answer: listOf(View),
      async handle({ query }) {
        const { limit = PAGE_DEFAULT, after, sort = 'name', ...filters } = query;
        const order = sortOf<'name' | 'createdAt'>(sort);
        const [name, createdAt, id] = after === undefined ? [] : readCursor(after, ['', 0, 0]);
        const last = name === undefined || createdAt === undefined || id === undefined ? undefined : { name, createdAt, id };
        const rows = await listAccounts(database, { ...filters, ...order, last, limit: limit + 1 });
        const { items, next } = pageOf(rows, limit, (row) => [row.name, row.createdAt, row.id]);
        return { body: { items: items.map(viewOf) }, next };
      },
    }),
    read({
      method: 'GET',
      path: '/users/:user',
      summary: 'Read a user',
      tag: 'Users',
      permission: 'user:read',
      params: OfUser,
      answer: View,
      async handle({ params }) {
        const account = await requireAccount(database, params.user);
        return { body: viewOf(account), etag: etagOf(account) };
      },
    }),
    change({
      method: 'POST',
      path: '/users',
      summary: 'Make a user',
      tag: 'Users',
      permission: 'user:manage',
      audit: 'user.create',
      body: NewUser,
      answer: Made,
      status: 201,
      async prepare({ body, caller }) {
        const { name, email = '', fullName = '', admin = false, password } = body;
        if (!isUserName(name)) throw new AppError('name_invalid', NAME_GRAMMAR);
        if (admin) await requireEverything(access, caller);
        return await takePassword(password, { name, email, fullName });
      },
      async change(tx, { body, caller, now }, { hash, shown }) {
        const { name, email = '', fullName = '', admin = false } = body;
        const id = await createUser(tx, { name, hash, admin: false, now, email, fullName });
        if (id === undefined) throw new AppError('conflict', `there is a user ${name} already`);
        if (admin) await assign(tx, { subject: { kind: 'user', id }, role: 'system-admin', by: caller.actor.name, now });
        const account = await requireAccount(tx, name);
        const view = viewOf(account);
        return { body: { ...view, ...shown }, replay: view, etag: etagOf(account), resource: { type: 'user', name }, after: view };
      },
    }),
    change({
      method: 'PATCH',
      path: '/users/:user',
      summary: 'Change a user',
      tag: 'Users',
      permission: 'user:manage',
      audit: 'user.update',
      params: OfUser,
      body: UserChange,
      answer: View,
      async prepare({ params, body, caller }) {
        await manageable([params.user], caller);
        if (body.admin === true) await requireEverything(access, caller);
      },
      async change(tx, call) {
        const before = await requireAccount(tx, call.params.user);
        requireMatch(call, etagOf(before));
        const after = await changeOne(tx, before, call.body, call.caller.actor.name, call.now);
        const views = { before: viewOf(before), after: viewOf(after) };
        return { body: views.after, etag: etagOf(after), resource: { type: 'user', name: before.name }, ...views };
      },
    }),
    change({
      method: 'DELETE',
      path: '/users/:user',
      summary: 'Delete a user; what it did stays in the audit trail',
      tag: 'Users',
      permission: 'user:manage',
      audit: 'user.delete',
      params: OfUser,
      prepare: async ({ params, caller }) => await manageable([params.user], caller),
      async change(tx, call) {
        const before = await requireAccount(tx, call.params.user);
        requireMatch(call, etagOf(before));
        await deleteUser(tx, before.id);
        return { resource: { type: 'user', name: before.name }, before: viewOf(before) };
      },
    }),
    change({
      method: 'POST',
      path: '/users/delete',
      summary: 'Delete several users: all or none',
      tag: 'Users',
      permission: 'user:manage',
      audit: 'user.delete',
      body: Several,
      answer: Done,
      prepare: async ({ body, caller }) => await manageable(body.names, caller),
      async change(tx, { body: { names } }): Promise<Changed<typeof Done>> {
        const before: Static<typeof View>[] = [];
        for (const name of names) {
          const account = await requireAccount(tx, name);
          await deleteUser(tx, account.id);
          before.push(viewOf(account));
        }
        return { body: { names }, resource: { type: 'user' }, before };
      },
    }),
    change({
      method: 'POST',
      path: '/users/disable',
      summary: 'Disable or enable several users: all or none',
      tag: 'Users',
      permission: 'user:manage',
      audit: 'user.update',
      body: SeveralDisabled,
      answer: Done,
      prepare: async ({ body, caller }) => await manageable(body.names, caller),
      async change(tx, { body: { names, disabled }, caller, now }): Promise<Changed<typeof Done>> {
        const before: Static<typeof View>[] = [];
        for (const name of names) {
          const account = await requireAccount(tx, name);
          await changeOne(tx, account, { disabled }, caller.actor.name, now);
          before.push(viewOf(account));
        }
        return { body: { names }, resource: { type: 'user' }, before, after: { disabled } };
      },
    }),
    change({
      method: 'POST',
      path: '/users/:user/password',
      summary: 'Set a new password for a user, who has to log in again everywhere',
      tag: 'Users',
      permission: 'user:manage',
      audit: 'user.password-reset',
      params: OfUser,
      body: Reset,
      answer: ResetDone,
      async prepare({ params, body, caller }) {
        const account = await requireAccount(database, params.user);
        await manageable([params.user], caller);
        if (body.password !== undefined) await checkNew(config, database, body.password, account);
        return await takePassword(body.password, account);
      },
      async change(tx, { params, now }, { hash, shown }) {
        const account = await requireAccount(tx, params.user);
        await replacePassword(tx, account, { hash, kept: config.passwordHistory, now });
        return { body: shown, replay: {}, resource: { type: 'user', name: account.name } };
      },
    }),
  ];
}

const NAME_GRAMMAR = 'a user name has 1 to 63 of a-z, 0-9, dot, dash and underscore, begins with a letter or digit, and not with robot-';

async function requireAccount(session: Session, name: string): Promise<Account> {
  const account = await findAccount(session, name);
  if (!account) throw new AppError('not_found', `there is no user ${name}`);
  return account;
}

function viewOf({ name, email, fullName, disabled, admin, passwordHash, createdAt }: Account): Static<typeof View> {
  const at = new Date(createdAt).toISOString();
  return { name, email, fullName, disabled, admin, password: passwordHash !== '', createdAt: at };
}

function etagOf({ id, version, admin }: Account): string {
  return `${id}.${version}.${admin ? 1 : 0}`;
}
