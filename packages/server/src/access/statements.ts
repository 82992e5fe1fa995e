import type { Glob } from '../platform/index.ts';
import type { Permission } from './permissions.ts';

/** What is asked: a permission on the system, a project, or a repository by its full name. */
export interface Ask {
  readonly permission: Permission;
  readonly project?: string | undefined;
  readonly repository?: string | undefined;
  readonly client: string;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** One rule of those that bind an identity: a role it holds, a statement of a policy, a limit of its credential. */
export interface Statement {
  readonly effect: 'allow' | 'deny';
  readonly permissions: ReadonlySet<Permission>;
  /** Name of the project it is about; undefined: the system and every project. */
  readonly project: string | undefined;
  /** Names of projects it is about, where it is not one; undefined: all. Never about the system where given. */
  readonly projects?: Glob;
  /** Full names of repositories it is about; undefined: all. Never about anything else than repositories where given. */
  readonly repositories: Glob | undefined;
  /** Must hold besides; throws, and so does not hold, where it cannot be decided. */
  readonly condition?: (ask: Ask) => boolean;
  /** Where the rule comes from, for people. */
  readonly source: string;
}

/** Why a rule does not apply to what is asked; undefined where it does. */
export function mismatch(statement: Statement, ask: Ask): string | undefined {
  if (!statement.permissions.has(ask.permission)) return `it is not about ${ask.permission}`;
  if (statement.project !== undefined && statement.project !== ask.project) return `it is about project ${statement.project} only`;
  if (statement.projects && (ask.project === undefined || !statement.projects(ask.project))) {
    return 'its pattern does not match the project';
  }
  if (statement.repositories && (ask.repository === undefined || !statement.repositories(ask.repository))) {
    return 'its pattern does not match the repository';
  }
  if (statement.condition && !holds(statement, ask)) return 'its condition does not hold';
  return undefined;
}

/** A condition that cannot be decided lets nothing pass: it does not allow, and it does deny. */
function holds({ condition, effect }: Statement, ask: Ask): boolean {
  try {
    return condition?.(ask) ?? true;
  } catch {
    return effect === 'deny';
  }
}

/** Whether rules allow what is asked: one that denies wins over all that allow, and none is a denial. */
export function allows(statements: readonly Statement[], ask: Ask): boolean {
  let allowed = false;
  for (const statement of statements) {
    if (statement.effect === 'allow' && allowed) continue;
    if (mismatch(statement, ask) !== undefined) continue;
    if (statement.effect === 'deny') return false;
    allowed = true;
  }
  return allowed;
}
