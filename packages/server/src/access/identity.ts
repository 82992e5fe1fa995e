import { ANONYMOUS, type AuditActor, type AuditOrigin, type Caller, type MaybePromise } from '../platform/index.ts';
import type { Grant } from './scope.ts';
import type { Statement } from './statements.ts';

/** Who holds rights of its own. */
export interface Subject {
  readonly kind: 'user' | 'robot';
  readonly id: number;
  readonly name: string;
  /** Rises whenever credentials change: what was issued before is void. */
  readonly generation: number;
}

/** Who makes a request, and what the proof of that narrows it to. */
export interface Identity extends Caller {
  /** undefined: anonymous. */
  readonly subject: Subject | undefined;
  /** What a token of the token service carries; undefined where the request brought another proof. */
  readonly token: { readonly access: readonly Grant[]; readonly refused: readonly Grant[] } | undefined;
  /** What the credential narrows its subject to; undefined: everything that the subject may. */
  readonly limits: readonly Statement[] | undefined;
  /** When the proof ends, for one that no token may outlive; milliseconds since 1970. */
  readonly until?: number;
}

/** What of a request says who makes it. */
export interface RequestFacts {
  readonly authorization: string | undefined;
  readonly cookie: string | undefined;
  readonly origin: AuditOrigin;
}

/** A proof of identity as a request brings it. */
export type Proof =
  | { readonly scheme: 'basic'; readonly name: string; readonly password: string }
  | { readonly scheme: 'bearer'; readonly token: string }
  | { readonly scheme: 'cookie'; readonly cookie: string };

/** Knows one kind of proof. Gives undefined for what is not of its kind, and throws `unauthorized` for what is and is wrong. */
export type Authenticator = (proof: Proof, origin: AuditOrigin) => MaybePromise<Identity | undefined>;

export function anonymous(origin: AuditOrigin): Identity {
  return { actor: ANONYMOUS, origin, subject: undefined, token: undefined, limits: undefined };
}

export function identityOf(
  { kind, id, name, generation }: Subject,
  credential: AuditActor['credential'],
  origin: AuditOrigin,
  narrowed: { readonly token?: Identity['token']; readonly limits?: Identity['limits'] } = {},
): Identity {
  return {
    actor: { kind, id, name, credential },
    origin,
    subject: { kind, id, name, generation },
    token: narrowed.token,
    limits: narrowed.limits,
  };
}
