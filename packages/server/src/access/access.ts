import { setImmediate as nextTurn } from 'node:timers/promises';
import { projectOf } from '@entrepot/oci';
import { AppError, type MaybePromise, type Session } from '../platform/index.ts';
import type { PasswordChecker } from './passwords.ts';
import { type Action, actionsOf } from './roles.ts';
import type { Grant } from './scope.ts';
import type { TokenIssuer } from './tokens.ts';
import { findMembership, findUserById, pageOfSeenProjects, roleOf, type User } from './users.ts';

/** Who makes a request. */
export interface Identity {
  /** undefined: anonymous. */
  readonly user: User | undefined;
  /** What a token narrows the user to; undefined where the user proved the password with this request. */
  readonly token: { readonly access: readonly Grant[]; readonly refused: readonly Grant[] } | undefined;
}

/** `denied`: this identity may never; `challenge`: a token with the right scope could. */
export type Decision = 'allowed' | 'denied' | 'challenge';

/** Projects read at once. */
const PROJECTS = 200;
const ANONYMOUS: Identity = { user: undefined, token: undefined };

export interface Access {
  /** Identity of an `Authorization` header. Throws `unauthorized` for credentials that are wrong: those never turn into anonymous. */
  identify(authorization: string | undefined): MaybePromise<Identity>;
  /** May this identity do this to a repository of this name, whether or not it exists? */
  decide(identity: Identity, action: Action, repository: string): Promise<Decision>;
  /** What a user, or anonymous, may do in a project, by role alone. Undefined: there is no such project. */
  rights(user: User | undefined, project: string): Promise<ReadonlySet<Action> | undefined>;
  /** Projects in which a user, or anonymous, may pull, by name after `last`. Costs nothing for those that are not seen. */
  pullable(user: User | undefined, last: string): AsyncIterable<{ readonly id: number; readonly name: string }>;
  /** Whether the user may make a project by pushing to it. */
  mayCreateProject(user: User | undefined): boolean;
  /** May this identity list the catalogue (what it then sees is filtered)? */
  decideCatalog(identity: Identity): Decision;
  /** Name under which an identity's deeds are recorded. */
  actor(identity: Identity): string;
}

interface Parts {
  readonly session: Session;
  readonly passwords: PasswordChecker;
  readonly tokens: TokenIssuer;
}

export function createAccess({ session, passwords, tokens }: Parts): Access {
  async function bearer(token: string): Promise<Identity> {
    const claims = await tokens.verifyAccess(token);
    if (claims === undefined) throw new AppError('unauthorized', 'the token is not valid or has expired');
    const { access, refused } = claims;
    if (claims.subject === 0) return { user: undefined, token: { access, refused } };
    const user = await findUserById(session, claims.subject);
    if (!user || user.disabled || user.generation !== claims.generation) {
      throw new AppError('unauthorized', 'the token is not valid or has expired');
    }
    return { user, token: { access, refused } };
  }

  async function basic(encoded: string): Promise<Identity> {
    const text = Buffer.from(encoded, 'base64').toString('utf8');
    const colon = text.indexOf(':');
    const user = colon < 0 ? undefined : await passwords.check(text.slice(0, colon), text.slice(colon + 1));
    if (!user) throw new AppError('unauthorized', 'user name or password is wrong');
    return { user, token: undefined };
  }

  async function rights(user: User | undefined, project: string): Promise<ReadonlySet<Action> | undefined> {
    const membership = await findMembership(session, project, user?.id ?? 0);
    return membership && rightsOf(user, membership);
  }

  function rightsOf(user: User | undefined, membership: { public: number; role: string | null }): ReadonlySet<Action> {
    return actionsOf(user?.admin ? 'admin' : user && roleOf(membership.role), membership.public === 1);
  }

  async function* pullable(user: User | undefined, last: string): AsyncGenerator<{ id: number; name: string }> {
    for (let after = last; ; ) {
      const rows = await pageOfSeenProjects(session, { last: after, user, limit: PROJECTS });
      for (const row of rows) if (rightsOf(user, row).has('pull')) yield { id: row.id, name: row.name };
      const end = rows.at(-1);
      if (end === undefined || rows.length < PROJECTS) return;
      after = end.name;
      await nextTurn(); // many projects must not keep others waiting
    }
  }

  return {
    identify(authorization) {
      if (authorization === undefined) return ANONYMOUS;
      const space = authorization.indexOf(' ');
      const scheme = authorization.slice(0, space).toLowerCase();
      const value = authorization.slice(space + 1).trim();
      if (scheme === 'bearer') return bearer(value);
      if (scheme === 'basic') return basic(value);
      throw new AppError('unauthorized', 'the authorization scheme is neither Basic nor Bearer');
    },

    async decide({ user, token }, action, repository) {
      const held = await rights(user, projectOf(repository));
      const may = held === undefined ? user?.admin === true : held.has(action);
      if (token === undefined) return may ? 'allowed' : user ? 'denied' : 'challenge';
      const granted = token.access.some((grant) => covers(grant, action, repository));
      if (granted && may) return 'allowed';
      // Public content needs no scope at all, so a token for something else does not hide it.
      if (action === 'pull' && held?.has('pull') && (await rights(undefined, projectOf(repository)))?.has('pull')) return 'allowed';
      return 'challenge';
    },

    rights,
    pullable,
    mayCreateProject: (user) => user?.admin === true,

    decideCatalog({ user, token }) {
      if (token === undefined) return user ? 'allowed' : 'challenge';
      return token.access.some((grant) => grant.type === 'registry' && grant.name === 'catalog') ? 'allowed' : 'challenge';
    },

    actor: ({ user }) => user?.name ?? 'anonymous',
  };
}

function covers(grant: Grant, action: Action, repository: string): boolean {
  return grant.type === 'repository' && (grant.name === repository || grant.name === '*') && grant.actions.includes(action);
}
