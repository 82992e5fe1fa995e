import Type, { type Static } from 'typebox';
import { AppError, type Database, type Route, routesFor } from '../../platform/index.ts';
import type { Access } from '../access.ts';
import { type Identity, identityOf } from '../identity.ts';
import { PASSWORD_MAX_LENGTH, type PasswordChecker } from '../passwords.ts';
import { ALL_PERMISSIONS } from '../permissions.ts';
import { endSession, type Sessions } from '../sessions.ts';
import { hasSecondFactor, type RightCode, type SecondFactors } from './second-factor.ts';
import type { Throttle } from './throttle.ts';

export interface LoginParts {
  readonly database: Database;
  readonly access: Access;
  readonly sessions: Sessions;
  readonly passwords: PasswordChecker;
  readonly secondFactors: SecondFactors;
  readonly throttle: Throttle;
}

export const UserName = Type.String({ maxLength: 128 });
export const Password = Type.String({ maxLength: PASSWORD_MAX_LENGTH });

export const Code = Type.String({ maxLength: 32, description: 'six digits of the moment, or a recovery code' });

const Login = Type.Object({ name: UserName, password: Password, code: Type.Optional(Code) }, { additionalProperties: false });

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

/** A right code of a user's second factor, not yet used up. Throws for any other, and counts it as a guess. */
export async function takeCode(
  { database, secondFactors, throttle }: Pick<LoginParts, 'database' | 'secondFactors' | 'throttle'>,
  guess: { readonly userId: number; readonly code: string; readonly client: string; readonly now: number; readonly unconfirmed?: boolean },
  refusal: () => AppError = wrongCode,
): Promise<RightCode> {
  const { userId, code, client, now, unconfirmed = false } = guess;
  const right = await throttle.code({ userId, client }, () => secondFactors.check(database, userId, code, now, { unconfirmed }));
  if (!right) throw refusal();
  return right;
}

function wrongCode(): AppError {
  return new AppError('unauthorized', 'the code is wrong, or was used before');
}

/** Login and logout of the console. */
export function loginRoutes(parts: LoginParts): Route[] {
  const { database, access, sessions, passwords, secondFactors } = parts;
  return [
    change({
      method: 'POST',
      path: '/login',
      summary: 'Log in with name and password, and get a session in a cookie',
      description: 'Who has a second factor also gives a code; without one the answer is 401 with the code second_factor_required.',
      tag: 'Sessions',
      permission: 'public',
      audit: 'session.create',
      body: Login,
      answer: CallerView,
      async prepare({ body, caller: { origin }, now }) {
        const user = await passwords.check(body.name, body.password, origin.client);
        if (!user) throw new AppError('unauthorized', 'user name or password is wrong');
        let right: RightCode | undefined;
        if (await hasSecondFactor(database, user.id)) {
          if (body.code === undefined) throw new AppError('second_factor_required', 'a code of the second factor is needed besides');
          right = await takeCode(parts, { userId: user.id, code: body.code, client: origin.client, now });
        }
        const identity = identityOf({ kind: 'user', ...user }, { kind: 'password', id: null }, origin);
        return { user, identity, right, view: await describeCaller(access, identity) };
      },
      async change(tx, { caller: { origin }, now, baseUrl }, { user, identity, right, view }) {
        if (right && !(await secondFactors.take(tx, user.id, right))) throw wrongCode();
        const { id, cookie } = await sessions.create(tx, { user, provider: user.provider ?? 'local', origin, now });
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
