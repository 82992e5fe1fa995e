import { setImmediate as nextTurn } from 'node:timers/promises';
import { projectOf } from '@entrepot/oci';
import { LRUCache } from 'lru-cache';
import { findProject, type Project } from '../catalog/index.ts';
import { AppError, type AuditOrigin, andThen, inRanges, type MaybePromise, parseRanges, type Session } from '../platform/index.ts';
import { type Authenticator, anonymous, type Identity, type Proof, type RequestFacts, type Subject } from './identity.ts';
import { type Action, PERMISSION_OF, type Permission } from './permissions.ts';
import { pageOfSeen } from './project-list.ts';
import { PUBLIC } from './roles.ts';
import type { Rules } from './rules.ts';
import type { Grant } from './scope.ts';
import { type Ask, allows, mismatch, type Statement } from './statements.ts';

/** `denied`: this identity may never; `challenge`: another proof, or a token with the right scope, could. */
export type Decision = 'allowed' | 'denied' | 'challenge';

/** On what a permission is asked: the system, a project, or a repository by its full name. */
export interface Resource {
  readonly project?: string | undefined;
  readonly repository?: string | undefined;
}

/** One rule and whether it applied. */
export interface Step {
  readonly rule: string;
  readonly effect: 'allow' | 'deny';
  readonly applies: boolean;
  /** Why it did not apply, or what it did. */
  readonly why: string;
}

export interface Explanation {
  readonly allowed: boolean;
  /** In one sentence. */
  readonly reason: string;
  readonly steps: readonly Step[];
}

export interface Access {
  /** Identity of a request. Throws `unauthorized` for a proof that is wrong: that never turns into anonymous. */
  identify(facts: RequestFacts): MaybePromise<Identity>;
  /** May this identity do this to a repository of this name, whether or not it exists? */
  decide(identity: Identity, action: Action, repository: string): MaybePromise<Decision>;
  /** Does this identity hold a permission, whatever a token of the token service narrows it to? */
  holds(identity: Identity, permission: Permission, resource: Resource): MaybePromise<boolean>;
  /**
   * Which of these permissions an identity may not give to others, on a whole project or else on the system: each that it
   * does not hold there by a right of its own, without exceptions. From where it asks does not count.
   */
  lacks(identity: Identity, permissions: Iterable<Permission>, project: string | undefined): Promise<Permission[]>;
  /** Whether an identity may have a permission in projects besides those in which it was given rights. */
  reaches(identity: Identity, permission: Permission): Promise<boolean>;
  /** The same for a subject as such, rule by rule. */
  explain(subject: Subject | undefined, permission: Permission, resource: Resource, client: string): Promise<Explanation>;
  /** Projects after `last`, by name, in which an identity may pull something, and which repositories. Costs nothing for those that are not seen. */
  pullable(identity: Identity, last: string): AsyncIterable<PullableProject>;
  /** The same of one project; undefined where it may pull nothing there. */
  pullableIn(identity: Identity, project: string): Promise<PullableProject | undefined>;
  /** The same of one project and any permission on its repositories. */
  seenIn(identity: Identity, project: string, permission: Permission): Promise<PullableProject | undefined>;
  /** May this identity list the catalogue (what it then sees is filtered)? */
  decideCatalog(identity: Identity): Decision;
}

export interface PullableProject {
  readonly id: number;
  readonly name: string;
  /** Whether one of its repositories, by full name, may be pulled. */
  allows(repository: string): boolean;
}

interface Parts {
  readonly session: Session;
  readonly rules: Rules;
  /** In the order in which they are asked. */
  readonly authenticators: readonly Authenticator[];
  readonly now: () => number;
}

/** Projects read at once. */
const PROJECTS = 200;
/** What a push into a project that does not exist yet needs. */
const PUSHES: ReadonlySet<Permission> = new Set(['repository:pull', 'repository:push']);
/** What moves content, and so is bound to a project's networks, by which of its lists. */
const WALLS: Partial<Record<Permission, 'pullNetworks' | 'pushNetworks'>> = {
  'repository:pull': 'pullNetworks',
  'repository:push': 'pushNetworks',
  'artifact:delete': 'pushNetworks',
  'tag:create': 'pushNetworks',
  'tag:delete': 'pushNetworks',
};

const NO_RULES: readonly Statement[] = [];

export function createAccess({ session, rules, authenticators, now }: Parts): Access {
  const networks = new LRUCache<string, ReturnType<typeof parseRanges>>({ max: 1000 });

  function isOutside(project: Project | undefined, { permission, client }: Ask): boolean {
    const wall = WALLS[permission];
    const text = wall && project?.[wall];
    if (text === undefined || text === '') return false;
    let ranges = networks.get(text);
    if (ranges === undefined) {
      ranges = parseRanges(text);
      networks.set(text, ranges);
    }
    return !inRanges(ranges, client);
  }

  function identify({ authorization, cookie, origin }: RequestFacts): MaybePromise<Identity> {
    const proof = authorization === undefined ? cookieProof(cookie) : proofOf(authorization);
    return proof === undefined ? anonymous(origin) : ask(0, proof, origin);
  }

  /** Asks authenticators from one on. */
  function ask(at: number, proof: Proof, origin: AuditOrigin): MaybePromise<Identity> {
    const authenticator = authenticators[at];
    if (authenticator) return andThen(authenticator(proof, origin), (identity) => identity ?? ask(at + 1, proof, origin));
    if (proof.scheme === 'cookie') return anonymous(origin);
    throw new AppError('unauthorized', 'nobody is known by these credentials');
  }

  /** Rules, project and question of one decision. */
  function look<R>(
    subject: Subject | undefined,
    permission: Permission,
    { project: name, repository }: Resource,
    client: string,
    answer: (project: Project | undefined, statements: readonly Statement[], ask: Ask) => R,
  ): MaybePromise<R> {
    return andThen(name === undefined ? undefined : findProject(session, name), (project) =>
      andThen(subject ? rules.of(subject, name) : NO_RULES, (statements) =>
        answer(project, statements, { permission, project: name, repository, client, now: now() }),
      ),
    );
  }

  function holds(identity: Identity, permission: Permission, resource: Resource): MaybePromise<boolean> {
    const { subject, limits, origin } = identity;
    return look(subject, permission, resource, origin.client, (project, statements, asked) => judge(project, statements, limits, asked));
  }

  function judge(
    project: Project | undefined,
    statements: readonly Statement[],
    limits: readonly Statement[] | undefined,
    ask: Ask,
  ): boolean {
    if (isOutside(project, ask)) return false;
    const within = (asked: Ask) => allows(statements, asked) && (limits === undefined || allows(limits, asked));
    if (within(ask)) return true;
    // Who may make the project will administer it.
    if (project === undefined && ask.project !== undefined && PUSHES.has(ask.permission)) {
      if (within({ ...ask, permission: 'project:create', repository: undefined })) return true;
    }
    // What anybody may needs no right of one's own, but who is denied by name is denied here too.
    return project?.public === true && PUBLIC.has(ask.permission) && !isDenied(statements, ask);
  }

  async function seenIn(identity: Identity, name: string, permission: Permission): Promise<PullableProject | undefined> {
    const { subject, limits, origin } = identity;
    return await look(subject, permission, { project: name }, origin.client, (project, statements, asked) => {
      if (!project || isOutside(project, asked)) return undefined;
      const isOpen = project.public && PUBLIC.has(permission);
      if (!isOpen && !statements.some((statement) => statement.effect === 'allow' && isAbout(statement, asked))) return undefined;
      return { id: project.id, name, allows: (repository) => judge(project, statements, limits, { ...asked, repository }) };
    });
  }

  const pullableIn = (identity: Identity, name: string) => seenIn(identity, name, 'repository:pull');

  async function lacks({ subject, limits, origin }: Identity, permissions: Iterable<Permission>, project: string | undefined) {
    const statements = subject ? await rules.of(subject, project) : [];
    const whole = (binding: readonly Statement[], ask: Ask) =>
      allows(binding.filter(isUnconditional), ask) && !binding.some((statement) => statement.effect === 'deny' && isAbout(statement, ask));
    return [...permissions].filter((permission) => {
      const ask: Ask = { permission, project, client: origin.client, now: now() };
      return !whole(statements, ask) || (limits !== undefined && !whole(limits, ask));
    });
  }

  async function reaches({ subject }: Identity, permission: Permission): Promise<boolean> {
    const statements = subject ? await rules.of(subject, undefined) : [];
    return statements.some(({ effect, permissions }) => effect === 'allow' && permissions.has(permission));
  }

  async function* pullable(identity: Identity, last: string): AsyncGenerator<PullableProject> {
    const wide = await reaches(identity, 'repository:pull');
    for (let after = last; ; ) {
      const names = await pageOfSeen(session, identity, { last: after, wide, limit: PROJECTS });
      for (const name of names) {
        const project = await pullableIn(identity, name);
        if (project) yield project;
      }
      const end = names.at(-1);
      if (end === undefined || names.length < PROJECTS) return;
      after = end;
      await nextTurn(); // many projects must not keep others waiting
    }
  }

  /** A decision without a token, rule by rule. */
  function explained(project: Project | undefined, statements: readonly Statement[], ask: Ask): Explanation {
    const steps: Step[] = statements.map((statement) => {
      const why = mismatch(statement, ask);
      const did = statement.effect === 'allow' ? 'it allows this' : 'it denies this';
      return { rule: statement.source, effect: statement.effect, applies: why === undefined, why: why ?? did };
    });
    if (project?.public) {
      const open = PUBLIC.has(ask.permission);
      const why = open ? 'it allows this' : `it is not about ${ask.permission}`;
      steps.push({ rule: `project ${project.name} is public`, effect: 'allow', applies: open, why });
    }
    const outside = isOutside(project, ask);
    if (outside) {
      const why = `${ask.client} is in none of the networks from which this may be done`;
      steps.push({ rule: `networks of project ${project?.name}`, effect: 'deny', applies: true, why });
    }
    const allowed = judge(project, statements, undefined, ask);
    return { allowed, reason: reasonOf(allowed, steps), steps };
  }

  return {
    identify: (facts) => (facts.authorization === undefined && facts.cookie === undefined ? anonymous(facts.origin) : identify(facts)),
    holds,

    decide({ subject, token, limits, origin }, action, repository) {
      const permission = PERMISSION_OF[action];
      const resource = { project: projectOf(repository), repository };
      return look(subject, permission, resource, origin.client, (project, statements, asked): Decision => {
        const may = judge(project, statements, limits, asked);
        if (token === undefined) return may ? 'allowed' : subject ? 'denied' : 'challenge';
        if (may && token.access.some((grant) => covers(grant, action, repository))) return 'allowed';
        // Public content needs no scope at all, so a token for something else does not hide it.
        return may && PUBLIC.has(permission) && project?.public ? 'allowed' : 'challenge';
      });
    },

    async explain(subject, permission, resource, client) {
      return await look(subject, permission, resource, client, explained);
    },

    lacks,
    reaches,
    pullable,
    pullableIn,
    seenIn,

    decideCatalog({ subject, token }) {
      if (token === undefined) return subject ? 'allowed' : 'challenge';
      return token.access.some((grant) => grant.type === 'registry' && grant.name === 'catalog') ? 'allowed' : 'challenge';
    },
  };
}

/** Whether a rule allows, if at all, whatever the circumstances. */
function isUnconditional({ effect, condition }: Statement): boolean {
  return effect === 'deny' || condition === undefined;
}

/** Whether a rule says anything of a permission in a project, be it of a part of it or under a condition. */
function isAbout({ permissions, project, projects }: Statement, ask: Ask): boolean {
  if (!permissions.has(ask.permission)) return false;
  return ask.project === undefined || ((project === undefined || project === ask.project) && (projects?.(ask.project) ?? true));
}

function isDenied(statements: readonly Statement[], ask: Ask): boolean {
  return statements.some((statement) => statement.effect === 'deny' && mismatch(statement, ask) === undefined);
}

function reasonOf(allowed: boolean, steps: readonly Step[]): string {
  const applied = steps.filter(({ applies }) => applies);
  const denial = applied.find(({ effect }) => effect === 'deny');
  if (!allowed && denial) return `denied by ${denial.rule}: ${denial.why}`;
  const allowance = applied.find(({ effect }) => effect === 'allow');
  if (allowed && allowance) return `allowed by ${allowance.rule}`;
  return steps.length === 0 ? 'no rule binds this identity here' : 'no rule allows it';
}

function cookieProof(cookie: string | undefined): Proof | undefined {
  return cookie === undefined ? undefined : { scheme: 'cookie', cookie };
}

/** The name that a request claims to come from, whoever sent it; undefined where it claims none. */
export function claimedName(authorization: string | undefined): string | undefined {
  if (authorization === undefined || !/^basic /i.test(authorization)) return undefined;
  return Buffer.from(authorization.slice('basic '.length).trim(), 'base64').toString('utf8').split(':', 1)[0];
}

/** Throws `unauthorized` for a header that is neither Basic nor Bearer. */
function proofOf(authorization: string): Proof {
  const space = authorization.indexOf(' ');
  const scheme = authorization.slice(0, space).toLowerCase();
  const value = authorization.slice(space + 1).trim();
  if (scheme === 'bearer') return { scheme, token: value };
  if (scheme !== 'basic') throw new AppError('unauthorized', 'the authorization scheme is neither Basic nor Bearer');
  const text = Buffer.from(value, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon < 0) throw new AppError('unauthorized', 'user name or password is wrong');
  return { scheme, name: text.slice(0, colon), password: text.slice(colon + 1) };
}

function covers(grant: Grant, action: Action, repository: string): boolean {
  return grant.type === 'repository' && (grant.name === repository || grant.name === '*') && grant.actions.includes(action);
}
