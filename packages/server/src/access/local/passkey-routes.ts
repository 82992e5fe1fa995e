import type { AuthenticationResponseJSON, RegistrationResponseJSON } from '@simplewebauthn/server';
import Type, { type Static } from 'typebox';
import { AppError, type Database, listOf, type Route, routesFor } from '../../platform/index.ts';
import type { Access } from '../access.ts';
import { type Identity, identityOf } from '../identity.ts';
import type { PasswordChecker } from '../passwords.ts';
import type { Sessions } from '../sessions.ts';
import { requireOwnPassword } from './account-routes.ts';
import type { Challenges } from './challenges.ts';
import { CallerView, describeCaller, Password, requireOwner } from './login-routes.ts';
import {
  addPasskey,
  countPasskeys,
  dropPasskey,
  findPasskey,
  listPasskeys,
  markUsed,
  type Passkey,
  spendChallenge,
} from './passkey-store.ts';

export interface PasskeyParts {
  readonly database: Database;
  readonly access: Access;
  readonly sessions: Sessions;
  readonly passwords: PasswordChecker;
  readonly challenges: Challenges;
}

/** Passkeys one user may have. */
const MAX_PASSKEYS = 20;

const Id = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });
const Name = Type.String({ minLength: 1, maxLength: 63, pattern: '^[^\\u0000-\\u001f\\u007f<>]*$', description: 'for people' });
const Time = Type.String({ format: 'date-time' });
const View = Type.Object({ id: Id, name: Type.String(), createdAt: Time, lastUsedAt: Type.Optional(Time) });
const Base64 = (maxLength: number) => Type.String({ maxLength, pattern: '^[A-Za-z0-9_-]*$' });
const CREDENTIAL = {
  id: Base64(1400),
  rawId: Base64(1400),
  type: Type.Literal('public-key'),
  authenticatorAttachment: Type.Optional(Type.Union([Type.String({ maxLength: 32 }), Type.Null()])),
  clientExtensionResults: Type.Optional(Type.Object({}, { additionalProperties: false, description: 'nothing of it is used' })),
};
const closed = { additionalProperties: false };
/** `PublicKeyCredential.toJSON()` of a browser (WebAuthn 3, section 5.1), as far as it is used. */
const Registration = Type.Object(
  {
    name: Name,
    response: Type.Object(
      {
        ...CREDENTIAL,
        response: Type.Object(
          {
            clientDataJSON: Base64(4096),
            attestationObject: Base64(32_768),
            transports: Type.Optional(Type.Array(Type.String({ maxLength: 32 }), { maxItems: 10 })),
          },
          closed,
        ),
      },
      closed,
    ),
  },
  closed,
);
const Assertion = Type.Object(
  {
    response: Type.Object(
      {
        ...CREDENTIAL,
        response: Type.Object(
          {
            clientDataJSON: Base64(4096),
            authenticatorData: Base64(8192),
            signature: Base64(8192),
            userHandle: Type.Optional(Type.Union([Base64(128), Type.Null()])),
          },
          closed,
        ),
      },
      closed,
    ),
  },
  closed,
);
const Options = Type.Object({
  publicKey: Type.Unknown({ description: 'for navigator.credentials, in its JSON form (WebAuthn 3, section 5.4)' }),
});
const Proof = Type.Object({ password: Password }, closed);

const { read, change } = routesFor<Identity>();

/** Passkeys: registration, login with nothing else, and the list of one's own. */
export function passkeyRoutes(parts: PasskeyParts): Route[] {
  const { database, access, sessions, challenges } = parts;
  // Loaded when it is first needed: a registry that only moves images stays small.
  const library = () => import('@simplewebauthn/server');

  return [
    read({
      method: 'POST',
      path: '/account/passkeys/options',
      summary: "Begin to register a passkey: what a browser's navigator.credentials.create takes",
      tag: 'Account',
      permission: 'login',
      body: Proof,
      answer: Options,
      async handle({ body, caller, now, baseUrl }) {
        const account = await requireOwnPassword(parts, caller, body.password);
        // Else it would let in whom the provider no longer does.
        if (account.passwordHash === '') throw new AppError('bad_request', 'only users with a password of this registry have passkeys');
        const { generateRegistrationOptions } = await library();
        const publicKey = await generateRegistrationOptions({
          rpName: 'Entrepot',
          rpID: new URL(baseUrl).hostname,
          userName: account.name,
          userDisplayName: account.fullName || account.name,
          userID: handleOf(account.id),
          challenge: new Uint8Array(Buffer.from(challenges.make(registering(account.id), now), 'base64url')),
          excludeCredentials: (await listPasskeys(database, account.id)).map(({ credentialId }) => ({ id: credentialId })),
          authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
        });
        return { body: { publicKey } };
      },
    }),
    change({
      method: 'POST',
      path: '/account/passkeys',
      summary: 'Register a passkey with what the browser gave',
      tag: 'Account',
      permission: 'login',
      audit: 'passkey.create',
      body: Registration,
      answer: View,
      status: 201,
      async prepare({ body, caller, now, baseUrl }) {
        const { id } = requireOwner(caller);
        const { verifyRegistrationResponse } = await library();
        const response = { ...body.response, clientExtensionResults: {} } as RegistrationResponseJSON;
        const expected = expecting(challenges, registering(id), now);
        const verified = await verifyRegistrationResponse({
          response,
          expectedChallenge: expected.takes,
          expectedOrigin: baseUrl,
          expectedRPID: new URL(baseUrl).hostname,
          requireUserVerification: true,
        }).catch((cause: unknown) => {
          throw new AppError('bad_request', 'this is not the answer to a challenge of a moment ago', { cause });
        });
        const spent = expected.spent();
        if (!verified.verified || !spent) throw new AppError('bad_request', 'this is not the answer to a challenge of a moment ago');
        const { id: credentialId, publicKey, counter } = verified.registrationInfo.credential;
        return { credentialId, publicKey: Buffer.from(publicKey).toString('base64url'), counter, spent };
      },
      async change(tx, { body, caller, now }, { spent, ...made }) {
        const owner = requireOwner(caller);
        if (!(await spendChallenge(tx, spent.challenge, spent.expires, now)))
          throw new AppError('bad_request', 'the challenge was answered before');
        if ((await countPasskeys(tx, owner.id)) >= MAX_PASSKEYS)
          throw new AppError('conflict', `a user has ${MAX_PASSKEYS} passkeys at most`);
        const { transports = [] } = body.response.response;
        const id = await addPasskey(tx, { ...made, userId: owner.id, transports, name: body.name, now });
        if (id === undefined) throw new AppError('conflict', 'this authenticator is registered already');
        const view = viewOf({ id, name: body.name, createdAt: now, lastUsedAt: null });
        return { body: view, resource: { type: 'passkey', name: owner.name }, after: view };
      },
    }),
    read({
      method: 'GET',
      path: '/account/passkeys',
      summary: "List the caller's passkeys",
      tag: 'Account',
      permission: 'login',
      answer: listOf(View),
      handle: async ({ caller }) => ({ body: { items: (await listPasskeys(database, requireOwner(caller).id)).map(viewOf) } }),
    }),
    change({
      method: 'DELETE',
      path: '/account/passkeys/:id',
      summary: "Revoke one of the caller's passkeys",
      tag: 'Account',
      permission: 'login',
      audit: 'passkey.delete',
      params: Type.Object({ id: Id }),
      async change(tx, { caller, params }) {
        const owner = requireOwner(caller);
        if (!(await dropPasskey(tx, owner.id, params.id))) throw new AppError('not_found', `there is no passkey ${params.id}`);
        return { resource: { type: 'passkey', name: owner.name }, before: { id: params.id } };
      },
    }),
    read({
      method: 'POST',
      path: '/login/passkey/options',
      summary: "Begin to log in with a passkey: what a browser's navigator.credentials.get takes",
      tag: 'Sessions',
      permission: 'public',
      answer: Options,
      async handle({ now, baseUrl }) {
        const { generateAuthenticationOptions } = await library();
        const publicKey = await generateAuthenticationOptions({
          rpID: new URL(baseUrl).hostname,
          challenge: new Uint8Array(Buffer.from(challenges.make(LOGIN, now), 'base64url')),
          userVerification: 'required',
        });
        return { body: { publicKey } };
      },
    }),
    change({
      method: 'POST',
      path: '/login/passkey',
      summary: 'Log in with a passkey, and get a session in a cookie',
      tag: 'Sessions',
      permission: 'public',
      audit: 'session.create',
      body: Assertion,
      answer: CallerView,
      async prepare({ body, caller: { origin }, now, baseUrl }) {
        const { verifyAuthenticationResponse } = await library();
        const passkey = await findPasskey(database, body.response.id);
        if (!passkey || passkey.disabled === 1) throw refused();
        const expected = expecting(challenges, LOGIN, now);
        const verified = await verifyAuthenticationResponse({
          response: { ...body.response, clientExtensionResults: {} } as AuthenticationResponseJSON,
          expectedChallenge: expected.takes,
          expectedOrigin: baseUrl,
          expectedRPID: new URL(baseUrl).hostname,
          credential: {
            id: body.response.id,
            publicKey: new Uint8Array(Buffer.from(passkey.publicKey, 'base64url')),
            counter: passkey.counter,
          },
          requireUserVerification: true,
        }).catch((cause: unknown) => {
          throw refused(cause);
        });
        const { userHandle } = body.response.response;
        const isTheirs = userHandle == null || userHandle === Buffer.from(handleOf(passkey.userId)).toString('base64url');
        const spent = expected.spent();
        if (!verified.verified || !spent || !isTheirs) throw refused();
        const user = { kind: 'user', id: passkey.userId, name: passkey.userName, generation: passkey.generation } as const;
        const identity = identityOf(user, { kind: 'passkey', id: String(passkey.id) }, origin);
        const view = await describeCaller(access, identity);
        return { passkey, user, identity, view, spent, counter: verified.authenticationInfo.newCounter };
      },
      async change(tx, { caller: { origin }, now, baseUrl }, { passkey, user, identity, view, spent, counter }) {
        const isFirst = await spendChallenge(tx, spent.challenge, spent.expires, now);
        if (!isFirst || !(await markUsed(tx, { id: passkey.id, before: passkey.counter, counter, now }))) throw refused();
        const { id, cookie } = await sessions.create(tx, { user, provider: 'local', origin, now });
        return {
          body: view,
          cookies: [sessions.setCookie(cookie, baseUrl)],
          actor: identity.actor,
          resource: { type: 'session', name: String(id) },
        };
      },
    }),
  ];
}

const LOGIN = 'login';

interface Spent {
  readonly challenge: string;
  readonly expires: number;
}

/** The password was asked for before the challenge was given, so the challenge is good for that user alone. */
function registering(userId: number): string {
  return `register:${userId}`;
}

/** What the library asks of a challenge, and which one it then was. */
function expecting(challenges: Challenges, purpose: string, now: number) {
  let spent: Spent | undefined;
  return {
    takes: (challenge: string): boolean => {
      const expires = challenges.expiry(challenge, purpose, now);
      spent = expires === undefined ? undefined : { challenge, expires };
      return spent !== undefined;
    },
    spent: () => spent,
  };
}

/** How authenticators know a user: says nothing to anybody else (WebAuthn 3, section 14.6.1). */
function handleOf(userId: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(`user:${userId}`));
}

function viewOf({ id, name, createdAt, lastUsedAt }: Omit<Passkey, 'credentialId' | 'transports'>): Static<typeof View> {
  const at = (time: number) => new Date(time).toISOString();
  return { id, name, createdAt: at(createdAt), ...(lastUsedAt === null ? {} : { lastUsedAt: at(lastUsedAt) }) };
}

/** Of whatever was wrong, it says the same. */
function refused(cause?: unknown): AppError {
  return new AppError('unauthorized', 'the passkey is not known here, or its proof is wrong', { cause });
}
