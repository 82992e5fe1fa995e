import Type from 'typebox';
import {
  ANONYMOUS,
  AppError,
  audit,
  type Clock,
  type Database,
  queriesOf,
  type Route,
  routesFor,
  type Seal,
  type Session,
} from '../../platform/index.ts';
import { type Identity, identityOf } from '../identity.ts';
import { sessionOf } from '../local/login-routes.ts';
import { endSession, type Sessions } from '../sessions.ts';
import { clearTicket, localTarget, readTicket, TICKET_MS, type Ticket, ticketCookie, useTicket } from './login-ticket.ts';
import type { Oidc, OidcClient } from './oidc.ts';
import type { Person } from './person.ts';
import { findProvider, isOfKind, type Provider, secretOf } from './provider-store.ts';
import type { ProviderTables } from './schema.ts';
import type { OidcSettings } from './settings.ts';
import { signIn } from './sign-in.ts';

export interface OidcRouteParts {
  readonly database: Database;
  readonly clock: Clock;
  readonly sessions: Sessions;
  readonly oidc: Oidc;
  /** Seals the secrets of providers. */
  readonly providerSeal: Seal;
  /** Seals what browsers carry during a login. */
  readonly loginSeal: Seal;
}

const query = queriesOf<ProviderTables>('providers');

const insertHint = query<{ sessionId: number; providerId: number; hint: string }>()('insertHint', (db, p) =>
  db.insertInto('oidc_hint').values({ session_id: p('sessionId'), provider_id: p('providerId'), hint: p('hint') }),
);
const hintOf = query<{ sessionId: number; providerId: number }>()('hint', (db, p) =>
  db.selectFrom('oidc_hint').select('hint').where('session_id', '=', p('sessionId')).where('provider_id', '=', p('providerId')),
);
const deleteOrphans = query()('deleteEndedHints', (db) =>
  db.deleteFrom('oidc_hint').where('session_id', 'not in', (eb) => eb.selectFrom('session').select('session.id')),
);

const OfProvider = Type.Object({ provider: Type.String({ maxLength: 32 }) });
const Target = Type.String({ maxLength: 512, description: 'path of this server where the browser goes in the end; / if absent' });
const Location = Type.Object({ location: Type.String({ description: 'where the browser goes, as in the header' }) });
const Value = Type.String({ maxLength: 4096 });
/** Providers add parameters of their own. */
const Callback = Type.Object(
  { state: Type.Optional(Value), code: Type.Optional(Value), error: Type.Optional(Value), iss: Type.Optional(Value) },
  { additionalProperties: false, patternProperties: { '^[A-Za-z0-9_.-]{1,64}$': Value }, maxProperties: 24 },
);
const Logout = Type.Object({ target: Type.Optional(Target) }, { additionalProperties: false });
const LogoutView = Type.Object({
  location: Type.Union([Type.String(), Type.Null()], { description: 'where the browser logs out of the provider too; null: it cannot' }),
});

const TAG = 'Sign-in';
const MAX_HINT = 8192;
const { read, change } = routesFor<Identity>();

/** Login by OpenID Connect: authorization code with PKCE (RFC 7636), bound to the browser that began it. */
export function oidcRoutes(parts: OidcRouteParts): Route[] {
  const { database, clock, sessions, oidc, providerSeal, loginSeal } = parts;
  const clientOf = (provider: Provider<OidcSettings>): OidcClient => ({
    key: `${provider.id}.${provider.version}`,
    settings: provider.settings,
    secret: secretOf(providerSeal, provider),
  });
  const callbackOf = (baseUrl: string, name: string) => `${baseUrl}/api/v1/oidc/${name}/callback`;

  return [
    read({
      method: 'GET',
      path: '/oidc/:provider/login',
      summary: 'Lead the browser to a provider to log in',
      tag: TAG,
      permission: 'public',
      params: OfProvider,
      query: Type.Object({ target: Type.Optional(Target) }, { additionalProperties: false }),
      answer: Location,
      status: 302,
      async handle({ params, query: { target = '/' }, now, baseUrl }) {
        const provider = await requireOidc(database, params.provider);
        const local = localTarget(target);
        if (local === undefined) throw new AppError('bad_request', 'target is a path of this server, beginning with one /');
        const { url, ...begun } = await oidc.begin(clientOf(provider), callbackOf(baseUrl, provider.name));
        const ticket: Ticket = { ...begun, providerId: provider.id, target: local, expires: now + TICKET_MS };
        return { body: { location: url }, headers: { Location: url }, cookies: [ticketCookie(loginSeal, ticket, baseUrl)] };
      },
    }),
    read({
      method: 'GET',
      path: '/oidc/:provider/callback',
      summary: 'Where a provider sends the browser back to, with a session as the outcome',
      tag: TAG,
      permission: 'public',
      params: OfProvider,
      query: Callback,
      answer: Location,
      status: 302,
      async handle({ params, query: answer, now, baseUrl, headers, caller: { origin } }) {
        const provider = await requireOidc(database, params.provider);
        const ticket = readTicket(loginSeal, headers.cookie, now);
        if (ticket?.providerId !== provider.id || answer.state !== ticket.state) {
          throw new AppError('unauthorized', 'this browser has not begun the login, or too long ago; begin it again');
        }
        const url = new URL(callbackOf(baseUrl, provider.name));
        for (const [name, value] of Object.entries(answer as Record<string, string>)) url.searchParams.set(name, value);
        const { person, idToken } = await oidc.finish(clientOf(provider), url, ticket);
        const cookie = await enter(provider, ticket, person, idToken, { origin, now });
        const { target } = ticket;
        return {
          body: { location: target },
          headers: { Location: target },
          cookies: [sessions.setCookie(cookie, baseUrl), clearTicket(baseUrl)],
        };
      },
    }),
    change({
      method: 'POST',
      path: '/oidc/:provider/logout',
      summary: 'End the session that asks, and say where the browser logs out of the provider too',
      tag: TAG,
      permission: 'login',
      audit: 'session.delete',
      params: OfProvider,
      body: Logout,
      answer: LogoutView,
      async prepare({ params, body: { target = '/' }, caller, baseUrl }) {
        const id = sessionOf(caller);
        if (id === undefined) throw new AppError('bad_request', 'only a session can be logged out');
        const local = localTarget(target);
        if (local === undefined) throw new AppError('bad_request', 'target is a path of this server, beginning with one /');
        const provider = await requireOidc(database, params.provider);
        const sealed = await database.first(hintOf, { sessionId: id, providerId: provider.id });
        const hint = sealed && providerSeal.open(sealed.hint, `hint:${id}`);
        // A provider that is down keeps nobody from ending the session here.
        const location = await oidc.logoutUrl(clientOf(provider), hint, new URL(local, baseUrl).href).catch(() => undefined);
        return { id, location: location ?? null };
      },
      async change(tx, { caller, baseUrl }, { id, location }) {
        if (caller.subject) await endSession(tx, caller.subject.id, id);
        return {
          body: { location },
          cookies: [sessions.clearCookie(baseUrl)],
          resource: { type: 'session', name: String(id) },
        };
      },
    }),
  ];

  /** Makes the session of somebody whom a provider has proved, and gives its cookie. */
  async function enter(
    provider: Provider,
    ticket: Ticket,
    person: Person,
    idToken: string,
    { origin, now }: Pick<Identity, 'origin'> & { now: number },
  ): Promise<string> {
    try {
      return await database.write(async (tx) => {
        if (!(await useTicket(tx, ticket, now)))
          throw new AppError('unauthorized', 'this login has come to its end before; begin it again');
        await requireSame(tx, provider);
        const user = await signIn(tx, provider, person, { clock, origin });
        const { id, cookie } = await sessions.create(tx, { user, provider: provider.name, origin, now });
        await tx.run(deleteOrphans, {});
        if (idToken.length <= MAX_HINT) {
          const hint = providerSeal.seal(idToken, `hint:${id}`);
          await tx.run(insertHint, { sessionId: id, providerId: provider.id, hint });
        }
        const { actor } = identityOf({ kind: 'user', ...user }, { kind: 'oidc', id: provider.name }, origin);
        const resource = { type: 'session', name: String(id) };
        await audit(tx, { actor, origin, action: 'session.create', resource, outcome: 'success' }, clock);
        return cookie;
      });
    } catch (error) {
      if (error instanceof AppError && error.code === 'denied') await recordDenial(provider, person, error.message, origin);
      throw error;
    }
  }

  async function recordDenial({ name }: Provider, { subject }: Person, reason: string, origin: Identity['origin']): Promise<void> {
    const actor = { ...ANONYMOUS, credential: { kind: 'oidc', id: name } };
    const entry = { actor, origin, action: 'session.create', resource: { type: 'session' }, after: { provider: name, subject } };
    await database.write((tx) => audit(tx, { ...entry, outcome: 'denied', reason }, clock), { scope: [] });
  }
}

async function requireOidc(session: Session, name: string): Promise<Provider<OidcSettings>> {
  const provider = await findProvider(session, name);
  if (!provider?.enabled || !isOfKind(provider, 'oidc')) throw new AppError('not_found', `there is no provider ${name} to log in with`);
  return provider;
}

/** What was proved under other settings, or by a provider that is gone by now, counts no more. */
async function requireSame(tx: Session, { name, version }: Provider): Promise<void> {
  const provider = await findProvider(tx, name);
  if (!provider?.enabled || provider.version !== version)
    throw new AppError('unauthorized', 'the provider was changed meanwhile; begin the login again');
}
