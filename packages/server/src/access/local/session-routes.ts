import Type, { type Static } from 'typebox';
import { AppError, type Changed, listOf, type Route, routesFor, type Session } from '../../platform/index.ts';
import type { Identity } from '../identity.ts';
import { endSession, endSessions, type Sessions, type SessionView } from '../sessions.ts';
import { findUser, type User } from '../users.ts';
import { requireOwner, sessionOf, UserName } from './login-routes.ts';

const Time = Type.String({ format: 'date-time' });
const View = Type.Object({
  id: Type.Integer(),
  provider: Type.String({ description: 'what proved the identity: local, or the name of a provider' }),
  current: Type.Boolean({ description: 'it is the one that asks' }),
  createdAt: Time,
  lastSeenAt: Time,
  expiresAt: Time,
  client: Type.String({ description: 'address at login' }),
  userAgent: Type.String({ description: 'at login' }),
});
const Id = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });
const OfUser = Type.Object({ user: UserName });

const { read, change } = routesFor<Identity>();

/** Sessions of the caller, and of any user for administrators. */
export function sessionRoutes({ database, sessions }: { database: Session; sessions: Sessions }): Route[] {
  async function page(user: { id: number }, now: number, caller: Identity): Promise<{ body: { items: Static<typeof View>[] } }> {
    const current = sessionOf(caller);
    return { body: { items: (await sessions.list(database, user.id, now)).map((session) => viewOf(session, current)) } };
  }

  /** What any of these changes tells. */
  function ended(user: { name: string }, what: unknown): Changed<undefined> {
    return { resource: { type: 'session', name: user.name }, before: what };
  }

  async function endOne(tx: Session, user: { id: number; name: string }, id: number): Promise<Changed<undefined>> {
    if (!(await endSession(tx, user.id, id))) throw new AppError('not_found', `there is no session ${id}`);
    return ended(user, { session: id });
  }

  return [
    read({
      method: 'GET',
      path: '/sessions',
      summary: "List the caller's sessions, the newest first",
      tag: 'Sessions',
      permission: 'login',
      answer: listOf(View),
      handle: async ({ caller, now }) => await page(requireOwner(caller), now, caller),
    }),
    change({
      method: 'DELETE',
      path: '/sessions/:id',
      summary: "End one of the caller's sessions",
      tag: 'Sessions',
      permission: 'login',
      audit: 'session.delete',
      params: Type.Object({ id: Id }),
      change: async (tx, { caller, params }) => await endOne(tx, requireOwner(caller), params.id),
    }),
    change({
      method: 'DELETE',
      path: '/sessions',
      summary: "End all of the caller's sessions but the one that asks",
      tag: 'Sessions',
      permission: 'login',
      audit: 'session.delete-others',
      async change(tx, { caller }) {
        const user = requireOwner(caller);
        return ended(user, { ended: await endSessions(tx, user.id, sessionOf(caller)) });
      },
    }),
    read({
      method: 'GET',
      path: '/users/:user/sessions',
      summary: 'List the sessions of a user, the newest first',
      tag: 'Users',
      permission: 'user:read',
      params: OfUser,
      answer: listOf(View),
      handle: async ({ params, caller, now }) => await page(await requireUser(database, params.user), now, caller),
    }),
    change({
      method: 'DELETE',
      path: '/users/:user/sessions/:id',
      summary: 'End a session of a user',
      tag: 'Users',
      permission: 'user:manage',
      audit: 'session.delete',
      params: Type.Object({ user: UserName, id: Id }),
      change: async (tx, { params }) => await endOne(tx, await requireUser(tx, params.user), params.id),
    }),
    change({
      method: 'DELETE',
      path: '/users/:user/sessions',
      summary: 'End all sessions of a user',
      tag: 'Users',
      permission: 'user:manage',
      audit: 'session.delete-all',
      params: OfUser,
      async change(tx, { params }) {
        const user = await requireUser(tx, params.user);
        return ended(user, { ended: await endSessions(tx, user.id) });
      },
    }),
  ];
}

function viewOf({ createdAt, lastSeenAt, expiresAt, ...session }: SessionView, current: number | undefined): Static<typeof View> {
  const at = (time: number) => new Date(time).toISOString();
  return { ...session, current: session.id === current, createdAt: at(createdAt), lastSeenAt: at(lastSeenAt), expiresAt: at(expiresAt) };
}

/** The user of a path. Throws `not_found` where there is none. */
export async function requireUser(session: Session, name: string): Promise<User> {
  const user = await findUser(session, name);
  if (!user) throw new AppError('not_found', `there is no user ${name}`);
  return user;
}
