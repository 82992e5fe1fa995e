import Type from 'typebox';
import { AppError, type Route, routesFor, type Session } from '../../platform/index.ts';
import type { Identity } from '../identity.ts';
import { hashPassword, type PasswordChecker } from '../passwords.ts';
import type { Sessions } from '../sessions.ts';
import { Password, requireOwner, sessionOf } from './login-routes.ts';
import { checkNew, checkPassword, type PasswordRules } from './password-policy.ts';
import { type Account, findAccount, replacePassword } from './user-store.ts';

export interface AccountParts {
  readonly database: Session;
  readonly sessions: Sessions;
  readonly passwords: PasswordChecker;
  readonly config: PasswordRules;
}

const PasswordChange = Type.Object({ password: Password, newPassword: Password }, { additionalProperties: false });

const { change } = routesFor<Identity>();

/** What users change of themselves. */
export function accountRoutes({ database, sessions, passwords, config }: AccountParts): Route[] {
  return [
    change({
      method: 'POST',
      path: '/account/password',
      summary: "Change the caller's own password, which ends all its sessions; the one that asks is replaced",
      tag: 'Account',
      permission: 'login',
      audit: 'user.password-change',
      body: PasswordChange,
      async prepare({ body, caller }) {
        const account = await requireOwnPassword({ database, passwords }, caller, body.password);
        if (account.passwordHash === '') throw new AppError('bad_request', 'the password is kept by a provider, and changed there');
        checkPassword(config, body.newPassword, account);
        if (body.newPassword === body.password) throw new AppError('password_rejected', 'this is the password there is');
        await checkNew(config, database, body.newPassword, account);
        return { account, hash: await hashPassword(body.newPassword) };
      },
      async change(tx, { caller, now, baseUrl }, { account, hash }) {
        const current = await findAccount(tx, account.name);
        // Set by somebody else meanwhile: then the password that was proved is not the one there is.
        if (current?.passwordHash !== account.passwordHash) throw wrong();
        const generation = await replacePassword(tx, account, { hash, kept: config.passwordHistory, now });
        const cookies: string[] = [];
        if (sessionOf(caller) !== undefined) {
          const user = { id: account.id, generation };
          const { cookie } = await sessions.create(tx, { user, provider: 'local', origin: caller.origin, now });
          cookies.push(sessions.setCookie(cookie, baseUrl));
        }
        return { cookies, resource: { type: 'user', name: account.name } };
      },
    }),
  ];
}

/** The caller's account, after it proved itself once more. Throws `denied` for a wrong password. */
export async function requireOwnPassword(
  { database, passwords }: Pick<AccountParts, 'database' | 'passwords'>,
  caller: Identity,
  password: string,
): Promise<Account> {
  const { id, name } = requireOwner(caller);
  const user = await passwords.check(name, password, caller.origin.client);
  const account = user?.id === id && (await findAccount(database, name));
  if (!account) throw wrong();
  return account;
}

/** Not 401: the session is sound, and a browser must not take it for ended. */
function wrong(): AppError {
  return new AppError('denied', 'the password is wrong');
}
