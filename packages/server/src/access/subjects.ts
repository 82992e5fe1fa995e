import type { Session } from '../platform/index.ts';
import type { Subject } from './identity.ts';
import { findSecretByNumber } from './machines/access-keys.ts';
import { findRobotById, isLive } from './machines/robots.ts';
import type { Statement } from './statements.ts';
import type { TokenSubject } from './tokens.ts';
import { findUserById } from './users.ts';

/** A subject as it is now, and what the credential that a token came from narrows it to. */
export interface Known {
  readonly subject: Subject;
  readonly limits: readonly Statement[] | undefined;
}

/** A user or robot that may act now. */
export async function findOwner(session: Session, { kind, id }: Pick<Subject, 'kind' | 'id'>, now: number): Promise<Subject | undefined> {
  if (kind === 'robot') {
    const robot = await findRobotById(session, id);
    return robot && isLive(robot, now) ? { kind, id, name: robot.name, generation: robot.generation } : undefined;
  }
  const user = await findUserById(session, id);
  return user && !user.disabled ? { kind, id, name: user.name, generation: user.generation } : undefined;
}

/** Whom a token speaks for; undefined where that is void by now: disabled, deleted, or with other credentials since. */
export async function findSubject(session: Session, token: TokenSubject, now: number): Promise<Known | undefined> {
  const subject = await findOwner(session, token, now);
  if (!subject || subject.generation !== token.generation) return undefined;
  if (token.credential === null) return { subject, limits: undefined };
  const credential = await findCredential(session, token.credential, now);
  if (!credential || credential.owner.kind !== subject.kind || credential.owner.id !== subject.id) return undefined;
  return { subject, limits: credential.limits };
}

interface Credential {
  readonly owner: Pick<Subject, 'kind' | 'id'>;
  readonly limits: readonly Statement[] | undefined;
}

const KEY = /^key:([0-9]{1,15})\.([0-9]{1,15})$/;

/** The credential that a token came from, as it is now; one of no known kind is void. */
async function findCredential(session: Session, id: string, now: number): Promise<Credential | undefined> {
  const [, keyId, number] = KEY.exec(id) ?? [];
  return keyId === undefined ? undefined : await findSecretByNumber(session, Number(keyId), Number(number), now);
}
