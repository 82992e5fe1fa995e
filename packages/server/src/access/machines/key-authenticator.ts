import { AppError, type Session } from '../../platform/index.ts';
import { type Authenticator, identityOf } from '../identity.ts';
import { findOwner } from '../subjects.ts';
import { findSecret } from './access-keys.ts';
import { isKeySecret } from './key-secret.ts';
import type { KeyUse } from './key-use.ts';

/**
 * Access keys of users and robots: as Bearer, or as password of Basic with the owner's name. A text that has not the form of
 * a key is somebody else's business.
 */
export function keyAuthenticator(session: Session, use: KeyUse, now: () => number): Authenticator {
  return async (proof, origin) => {
    const text = proof.scheme === 'basic' ? proof.password : proof.scheme === 'bearer' ? proof.token : undefined;
    if (text === undefined || !isKeySecret(text)) return undefined;
    const at = now();
    const secret = await findSecret(session, text, at);
    const subject = secret && (await findOwner(session, secret.owner, at));
    if (!secret || !subject || (proof.scheme === 'basic' && proof.name !== subject.name)) {
      throw new AppError('unauthorized', 'user name or password is wrong');
    }
    use.note(secret, at, origin.client);
    return identityOf(subject, { kind: 'access-key', id: `key:${secret.keyId}.${secret.number}` }, origin, { limits: secret.limits });
  };
}
