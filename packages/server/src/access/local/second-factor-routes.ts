import Type from 'typebox';
import { AppError, type Changed, type Database, type Route, routesFor, type Session } from '../../platform/index.ts';
import type { Identity } from '../identity.ts';
import type { PasswordChecker } from '../passwords.ts';
import type { Sessions } from '../sessions.ts';
import { requireOwnPassword } from './account-routes.ts';
import { Code, Password, requireOwner, sessionOf, takeCode, UserName } from './login-routes.ts';
import { countPasskeys, dropPasskeys } from './passkey-store.ts';
import { requireRightsOf } from './rights-of.ts';
import { countRecoveryCodes, dropSecondFactor, hasSecondFactor, type SecondFactors } from './second-factor.ts';
import { requireUser } from './session-routes.ts';
import type { Throttle } from './throttle.ts';
import type { UserParts } from './user-routes.ts';
import { type Account, raiseGeneration } from './user-store.ts';

export interface SecondFactorParts extends Pick<UserParts, 'access'> {
  readonly database: Database;
  readonly sessions: Sessions;
  readonly passwords: PasswordChecker;
  readonly secondFactors: SecondFactors;
  readonly throttle: Throttle;
}

const State = Type.Object({
  totp: Type.Boolean({ description: 'a code is asked for besides the password' }),
  recoveryCodes: Type.Integer({ description: 'how many are left' }),
  passkeys: Type.Integer(),
});
const Enrolment = Type.Object({
  secret: Type.Optional(Type.String({ description: 'base32; shown this once' })),
  uri: Type.Optional(Type.String({ description: 'otpauth://…, for a QR code; shown this once' })),
});
const Codes = Type.Object({ recoveryCodes: Type.Optional(Type.Array(Type.String(), { description: 'shown this once' })) });
const Proof = Type.Object({ password: Password }, { additionalProperties: false });
const Confirmation = Type.Object({ code: Code }, { additionalProperties: false });
const FullProof = Type.Object({ password: Password, code: Code }, { additionalProperties: false });

const { read, change } = routesFor<Identity>();

/** The second factor of the caller: codes by time, and recovery codes. */
export function secondFactorRoutes(parts: SecondFactorParts): Route[] {
  const { database, sessions, secondFactors } = parts;

  /** What all changes here end with: what was issued by fewer proofs is void, and the session that asks is replaced. */
  async function renew(tx: Session, caller: Identity, id: number, now: number, baseUrl: string): Promise<string[]> {
    const generation = await raiseGeneration(tx, id);
    if (sessionOf(caller) === undefined) return [];
    const { cookie } = await sessions.create(tx, { user: { id, generation }, provider: 'local', origin: caller.origin, now });
    return [sessions.setCookie(cookie, baseUrl)];
  }

  /** Password and code of the caller, both right. */
  async function requireBoth(caller: Identity, { password, code }: { password: string; code: string }, now: number) {
    const account = await requireOwnPassword(parts, caller, password);
    if (!(await hasSecondFactor(database, account.id))) throw new AppError('conflict', 'there is no second factor');
    return { account, right: await takeCode(parts, { userId: account.id, code, client: caller.origin.client, now }, wrong) };
  }

  function told({ name }: Pick<Account, 'name'>, what: string): Pick<Changed<undefined>, 'resource' | 'after'> {
    return { resource: { type: 'user', name }, after: { secondFactor: what } };
  }

  return [
    read({
      method: 'GET',
      path: '/account/second-factor',
      summary: 'How the caller proves itself besides the password',
      tag: 'Account',
      permission: 'login',
      answer: State,
      async handle({ caller }) {
        const { id } = requireOwner(caller);
        const [totp, recoveryCodes, passkeys] = await Promise.all([
          hasSecondFactor(database, id),
          countRecoveryCodes(database, id),
          countPasskeys(database, id),
        ]);
        return { body: { totp, recoveryCodes, passkeys } };
      },
    }),
    change({
      method: 'POST',
      path: '/account/totp',
      summary: 'Begin with codes by time: gives the seed for a program, which then proves itself with a code',
      tag: 'Account',
      permission: 'login',
      audit: 'second-factor.begin',
      body: Proof,
      answer: Enrolment,
      prepare: async ({ body, caller }) => await requireOwnPassword(parts, caller, body.password),
      async change(tx, { now, baseUrl }, account) {
        if (await hasSecondFactor(tx, account.id)) throw new AppError('conflict', 'there is a second factor already');
        const body = await secondFactors.begin(tx, account, `Entrepot ${new URL(baseUrl).hostname}`, now);
        return { body, replay: {}, ...told(account, 'begun') };
      },
    }),
    change({
      method: 'POST',
      path: '/account/totp/confirm',
      summary: 'Turn codes by time on; from then on the password alone lets nobody in, and docker takes access keys only',
      tag: 'Account',
      permission: 'login',
      audit: 'second-factor.enable',
      body: Confirmation,
      answer: Codes,
      async prepare({ body, caller, now }) {
        const { id } = requireOwner(caller);
        if (await hasSecondFactor(database, id)) throw new AppError('conflict', 'there is a second factor already');
        return await takeCode(parts, { userId: id, code: body.code, client: caller.origin.client, now, unconfirmed: true }, wrong);
      },
      async change(tx, { caller, now, baseUrl }, right) {
        const owner = requireOwner(caller);
        if (!(await secondFactors.take(tx, owner.id, right)) || !(await secondFactors.confirm(tx, owner.id))) {
          throw new AppError('conflict', 'somebody was quicker');
        }
        const recoveryCodes = await secondFactors.recoveryCodes(tx, owner.id);
        const cookies = await renew(tx, caller, owner.id, now, baseUrl);
        return { body: { recoveryCodes }, replay: {}, cookies, ...told(owner, 'on') };
      },
    }),
    change({
      method: 'POST',
      path: '/account/totp/disable',
      summary: 'Turn codes by time off',
      tag: 'Account',
      permission: 'login',
      audit: 'second-factor.disable',
      body: FullProof,
      prepare: async ({ body, caller, now }) => await requireBoth(caller, body, now),
      async change(tx, { caller, now, baseUrl }, { account, right }) {
        if (!(await secondFactors.take(tx, account.id, right))) throw new AppError('conflict', 'somebody was quicker');
        await dropSecondFactor(tx, account.id);
        return { cookies: await renew(tx, caller, account.id, now, baseUrl), ...told(account, 'off') };
      },
    }),
    change({
      method: 'POST',
      path: '/account/recovery-codes',
      summary: 'Make new recovery codes in place of all there are',
      tag: 'Account',
      permission: 'login',
      audit: 'second-factor.recovery-codes',
      body: FullProof,
      answer: Codes,
      prepare: async ({ body, caller, now }) => await requireBoth(caller, body, now),
      async change(tx, _, { account, right }) {
        if (!(await secondFactors.take(tx, account.id, right))) throw new AppError('conflict', 'somebody was quicker');
        const recoveryCodes = await secondFactors.recoveryCodes(tx, account.id);
        return { body: { recoveryCodes }, replay: {}, ...told(account, 'new recovery codes') };
      },
    }),
    change({
      method: 'DELETE',
      path: '/users/:user/second-factor',
      summary: 'Take codes, recovery codes and passkeys from a user who has lost them',
      tag: 'Users',
      permission: 'user:manage',
      audit: 'second-factor.reset',
      params: Type.Object({ user: UserName }),
      async prepare({ params, caller }) {
        await requireRightsOf(parts, caller, { kind: 'user', id: (await requireUser(database, params.user)).id });
      },
      async change(tx, { params }) {
        const user = await requireUser(tx, params.user);
        await dropSecondFactor(tx, user.id);
        await dropPasskeys(tx, user.id);
        await raiseGeneration(tx, user.id);
        return told(user, 'reset');
      },
    }),
  ];
}

/** Not 401: the session is sound, and a browser must not take it for ended. */
function wrong(): AppError {
  return new AppError('denied', 'the code is wrong, or was used before');
}
