import type { Session } from '../platform/index.ts';
import type { Subject } from './identity.ts';
import type { Statement } from './statements.ts';
import type { TokenSubject } from './tokens.ts';
import { findUserById } from './users.ts';

/** A subject as it is now, and what the credential that a token came from narrows it to. */
export interface Known {
  readonly subject: Subject;
  readonly limits: readonly Statement[] | undefined;
}

/** Whom a token speaks for; undefined where that is void by now: disabled, deleted, or with other credentials since. */
export async function findSubject(session: Session, { kind, id, generation }: TokenSubject): Promise<Known | undefined> {
  if (kind !== 'user') return undefined;
  const user = await findUserById(session, id);
  if (!user || user.disabled || user.generation !== generation) return undefined;
  return { subject: { kind, id, name: user.name, generation }, limits: undefined };
}
