import Type, { type Static } from 'typebox';
import { AppError, type Route, routesFor, type Session } from '../../platform/index.ts';
import type { Access } from '../access.ts';
import { type Identity, identityOf } from '../identity.ts';
import { PASSWORD_MAX_LENGTH, type PasswordChecker } from '../passwords.ts';
import { ALL_PERMISSIONS } from '../permissions.ts';
import { endSession, type Sessions } from '../sessions.ts';

export interface LoginParts {
  readonly database: Session;
  readonly access: Access;
  readonly sessions: Sessions;
  readonly passwords: PasswordChecker;
}

export const UserName = Type.String({ maxLength: 128 });
export const Password = Type.String({ maxLength: PASSWORD_MAX_LENGTH });

const Login = Type.Object({ name: UserName, password: Password }, { additionalProperties: false });

export const CallerView = Type.Object({
  kind: Type.Enum(['user', 'robot']),
  name: Type.String(),
  permissions: Type.Array(Type.String(), { description: 'what the caller may do on the whole system' }),
});

const { read, change } = routesFor<Identity>();

/** Who is logged in, and what that identity may do on the system. */
export async function describeCaller(access: Access, identity: Identity): Promise<Static<typeof CallerView>> {
  const { subject } = identity;
  if (!subject) throw new AppError('unauthorized', 'authentication required');
  const permissions: string[] = [];
  for (const permission of ALL_PERMISSIONS) if (await access.holds(identity, permission, {})) permissions.push(permission);
  return { kind: subject.kind, name: subject.name, permissions };
}

/** Login and logout of the console. */
export function loginRoutes({ access, sessions, passwords }: LoginParts): Route[] {
  return [
    change({
      method: 'POST',
      path: '/login',
      summary: 'Log in with name and password, and get a session in a cookie',
      tag: 'Sessions',
      permission: 'public',
      audit: 'session.create',
      body: Login,
      answer: CallerView,
      async prepare({ body, caller: { origin } }) {
        const user = await passwords.check(body.name, body.password, origin.client);
        if (!user) throw new AppError('unauthorized', 'user name or password is wrong');
        const identity = identityOf({ kind: 'user', ...user }, { kind: 'password', id: null }, origin);
        return { user, identity, view: await describeCaller(access, identity) };
      },
      async change(tx, { caller: { origin }, now, baseUrl }, { user, identity, view }) {
        const { id, cookie } = await sessions.create(tx, { user, provider: 'local', origin, now });
        return {
          body: view,
          cookies: [sessions.setCookie(cookie, baseUrl)],
          actor: identity.actor,
          resource: { type: 'session', name: String(id) },
        };
      },
    }),
    change({
      method: 'POST',
      path: '/logout',
      summary: 'End the session that asks',
      tag: 'Sessions',
      permission: 'login',
      audit: 'session.delete',
      async change(tx, { caller, baseUrl }) {
        const id = sessionOf(caller);
        if (!caller.subject || id === undefined) throw new AppError('bad_request', 'only a session can be logged out');
        await endSession(tx, caller.subject.id, id);
        return { cookies: [sessions.clearCookie(baseUrl)], resource: { type: 'session', name: String(id) } };
      },
    }),
    read({
      method: 'GET',
      path: '/session',
      summary: 'Who am I',
      tag: 'Sessions',
      permission: 'login',
      answer: CallerView,
      handle: async ({ caller }) => ({ body: await describeCaller(access, caller) }),
    }),
  ];
}

/** Id of the session by which a caller proved who it is. */
export function sessionOf({ actor: { credential } }: Identity): number | undefined {
  return credential?.kind === 'session' ? Number(credential.id) : undefined;
}

/** The user that asks for itself. Throws `denied` for a credential that only lends some of its user's rights: it must not change who may log in. */
export function requireOwner({ subject, actor: { credential } }: Identity): { readonly id: number; readonly name: string } {
  if (subject?.kind !== 'user' || (credential?.kind !== 'session' && credential?.kind !== 'password')) {
    throw new AppError('denied', 'this needs a user with a session or password');
  }
  return subject;
}
