import { AppError, andThen, type MaybePromise, type Session } from '../platform/index.ts';
import { type Authenticator, anonymous, identityOf } from './identity.ts';
import type { PasswordChecker } from './passwords.ts';
import { findSubject } from './subjects.ts';
import type { TokenIssuer } from './tokens.ts';

/**
 * Name and password of a user. Takes every Basic proof, so it stands behind all others that do. Who has a second factor cannot
 * give it by Basic, and so is told to take an access key.
 */
export function passwordAuthenticator(
  passwords: PasswordChecker,
  hasSecondFactor: (userId: number) => MaybePromise<boolean>,
): Authenticator {
  return async (proof, origin) => {
    if (proof.scheme !== 'basic') return undefined;
    const user = await passwords.check(proof.name, proof.password, origin.client);
    if (!user) throw new AppError('unauthorized', 'user name or password is wrong');
    if (await hasSecondFactor(user.id)) throw new AppError('unauthorized', 'this user has a second factor: use an access key as password');
    return identityOf({ kind: 'user', ...user }, { kind: 'password', id: null }, origin);
  };
}

/** How every JWT begins: a header that is a JSON object. */
const JWT = 'eyJ';

/** Tokens of the token service. Takes every Bearer proof that is a JWT; stands first, as most requests bring one. */
export function tokenAuthenticator(session: Session, tokens: TokenIssuer, now: () => number): Authenticator {
  return (proof, origin) => {
    if (proof.scheme !== 'bearer' || !proof.token.startsWith(JWT)) return undefined;
    return andThen(tokens.verifyAccess(proof.token), (claims) => {
      if (claims === undefined) throw invalid();
      const { subject } = claims;
      if (subject === undefined) return { ...anonymous(origin), token: claims };
      return andThen(findSubject(session, subject, now()), (known) => {
        if (!known) throw invalid();
        return identityOf(known.subject, { kind: 'token', id: subject.credential }, origin, { token: claims, limits: known.limits });
      });
    });
  };
}

function invalid(): AppError {
  return new AppError('unauthorized', 'the token is not valid or has expired');
}
