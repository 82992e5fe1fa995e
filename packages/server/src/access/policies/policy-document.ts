import type { Static } from 'typebox';
import { AppError, compileGlob, type Glob } from '../../platform/index.ts';
import { loadConditions } from '../machines/conditions.ts';
import { ALL_PERMISSIONS, type Permission } from '../permissions.ts';
import type { Ask, Statement } from '../statements.ts';
import type { PolicySchema } from './policy-schema.ts';

/** Facts that the condition of a policy is asked of. */
export const FACTS = ['action', 'client', 'identity', 'resource', 'time'] as const;

export type PolicyDocument = Static<typeof PolicySchema>;
type Resource = Pick<Statement, 'project' | 'projects' | 'repositories'>;

/** Whom rules are made for, as conditions see it. */
export interface Bound {
  readonly kind: 'user' | 'robot';
  readonly name: string;
}

/** A policy, compiled: its rules for one identity. */
export type CompiledPolicy = (identity: Bound) => readonly Statement[];

/** What may be done to a repository shows that there is its project. */
const SEES: ReadonlySet<Permission> = new Set(['project:read']);
const WILD = /[*?{}]/;
const EVERYTHING: Resource = { project: undefined, repositories: undefined };

/** Compiles a document. Throws a TypeError that says what is wrong. */
export async function compilePolicy(name: string, { statements }: PolicyDocument): Promise<CompiledPolicy> {
  const isConditional = statements.some(({ condition }) => condition !== undefined);
  const conditions = isConditional ? await loadConditions() : undefined;
  const rules = statements.flatMap((statement, index) => {
    const { effect, actions, resources } = statement;
    const permissions = permissionsOf(actions);
    const condition = statement.condition === undefined ? undefined : conditions?.compile(statement.condition, FACTS);
    const source = `statement ${index + 1} of policy ${name}`;
    return resources.flatMap((text) => {
      const own = { effect, permissions, source, condition, ...readResource(text) };
      const isPart = effect === 'allow' && own.repositories !== undefined;
      return isPart ? [own, { ...own, permissions: SEES, repositories: undefined }] : [own];
    });
  });
  const time = conditions?.time;
  return (identity) =>
    rules.map(({ condition, ...rule }) =>
      condition === undefined || time === undefined ? rule : { ...rule, condition: (ask) => condition.holds(factsOf(ask, identity, time)) },
    );
}

/** A document that a body brought. Throws `bad_request`. */
export async function checkPolicy(document: PolicyDocument): Promise<void> {
  try {
    await compilePolicy('new', document);
    for (const { actions } of document.statements) for (const action of actions) requireKnown(action);
  } catch (cause) {
    throw new AppError('bad_request', `the policy: ${(cause as Error).message}`, { cause });
  }
}

function factsOf({ permission, client, now, project, repository }: Ask, identity: Bound, time: (now: number) => unknown) {
  const resource = { ...(project === undefined ? {} : { project }), ...(repository === undefined ? {} : { repository }) };
  return {
    action: permission,
    client,
    identity: { kind: identity.kind, name: identity.name },
    resource,
    // Made where a condition looks at it only.
    get time() {
      return time(now);
    },
  };
}

function requireKnown(action: string): void {
  if (permissionsOf([action]).size === 0) throw new TypeError(`${action} is no permission`);
}

/** Permissions that actions stand for; those that this version does not know stand for none. */
export function permissionsOf(actions: readonly string[]): ReadonlySet<Permission> {
  const stands = (action: string, permission: Permission) =>
    action === '*' || action === permission || (action.endsWith(':*') && permission.startsWith(action.slice(0, -1)));
  return new Set(ALL_PERMISSIONS.filter((permission) => actions.some((action) => stands(action, permission))));
}

function readResource(text: string): Resource {
  if (text === '*') return EVERYTHING;
  const colon = text.indexOf(':');
  const pattern = text.slice(colon + 1);
  if (text.slice(0, colon) === 'project') return ofProject(pattern);
  const { 0: first = '', length } = pattern.split('/');
  const spans = length === 1 || first.includes('**') || /[{}]/.test(first);
  return { ...(spans ? EVERYTHING : ofProject(first)), repositories: compiled(pattern) };
}

function ofProject(pattern: string): Resource {
  return WILD.test(pattern)
    ? { project: undefined, projects: compiled(pattern), repositories: undefined }
    : { project: pattern, repositories: undefined };
}

function compiled(pattern: string): Glob {
  try {
    return compileGlob(pattern);
  } catch (cause) {
    throw new TypeError(`${pattern} is no pattern: ${(cause as Error).message}`, { cause });
  }
}

/** All that a document allows or denies, each on the one project it is about, or else on the system: what must be held to give or to take it away. */
export function partsOf(
  document: PolicyDocument,
  effect: 'allow' | 'deny',
): { permissions: ReadonlySet<Permission>; project: string | undefined }[] {
  return document.statements
    .filter((statement) => statement.effect === effect)
    .flatMap(({ actions, resources }) =>
      resources.map((text) => ({ permissions: permissionsOf(actions), project: readResource(text).project })),
    );
}

export function denies({ statements }: PolicyDocument): boolean {
  return statements.some(({ effect }) => effect === 'deny');
}
