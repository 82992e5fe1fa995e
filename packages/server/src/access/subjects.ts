import { andThen, type MaybePromise, type Session } from '../platform/index.ts';
import type { Subject } from './identity.ts';
import { findSecretByNumber } from './machines/access-keys.ts';
import { findRobotKey } from './machines/robot-keys.ts';
import { findRobotById, isLive } from './machines/robots.ts';
import { findTrustRule } from './machines/trust-rules.ts';
import type { Statement } from './statements.ts';
import type { TokenSubject } from './tokens.ts';
import { findUserById } from './users.ts';

/** A subject as it is now, and what the credential that a token came from narrows it to. */
export interface Known {
  readonly subject: Subject;
  readonly limits: readonly Statement[] | undefined;
}

/** A user or robot that may act now. */
export function findOwner(session: Session, { kind, id }: Pick<Subject, 'kind' | 'id'>, now: number): MaybePromise<Subject | undefined> {
  if (kind === 'robot') {
    return andThen(findRobotById(session, id), (robot) =>
      robot && isLive(robot, now) ? { kind, id, name: robot.name, generation: robot.generation } : undefined,
    );
  }
  return andThen(findUserById(session, id), (user) =>
    user && !user.disabled ? { kind, id, name: user.name, generation: user.generation } : undefined,
  );
}

/** Whom a token speaks for; undefined where that is void by now: disabled, deleted, or with other credentials since. */
export function findSubject(session: Session, token: TokenSubject, now: number): MaybePromise<Known | undefined> {
  return andThen(findOwner(session, token, now), (subject) => {
    if (!subject || subject.generation !== token.generation) return undefined;
    if (token.credential === null) return { subject, limits: undefined };
    return andThen(findCredential(session, token.credential, now), (credential) =>
      credential?.owner.kind === subject.kind && credential.owner.id === subject.id ? { subject, limits: credential.limits } : undefined,
    );
  });
}

interface Credential {
  readonly owner: Pick<Subject, 'kind' | 'id'>;
  readonly limits: readonly Statement[] | undefined;
}

/** Of a secret of an access key, a version of a trust rule, or a service-account key. */
const CREDENTIAL = /^(key|trust|file):([0-9]{1,15})(?:\.([0-9]{1,15}))?$/;

/** The credential that a token came from, as it is now; one of no known kind is void. */
async function findCredential(session: Session, id: string, now: number): Promise<Credential | undefined> {
  const [, kind, at, part = '0'] = CREDENTIAL.exec(id) ?? []; // numbers begin with one
  switch (kind) {
    case 'key':
      return await findSecretByNumber(session, Number(at), Number(part), now);
    case 'trust': {
      // Each change raises the version, disabling too.
      const rule = await findTrustRule(session, Number(at));
      return rule?.version === Number(part) ? ofRobot(rule.robotId) : undefined;
    }
    case 'file': {
      const key = await findRobotKey(session, { id: Number(at) }, now);
      return key && ofRobot(key.robotId);
    }
    default:
      return undefined;
  }
}

function ofRobot(id: number): Credential {
  return { owner: { kind: 'robot', id }, limits: undefined };
}
