/** What can be done to a repository. */
export type Action = 'pull' | 'push' | 'delete';

/** The role table: all that a member of a project may do. */
export const ROLES = {
  guest: ['pull'],
  developer: ['pull', 'push'],
  maintainer: ['pull', 'push', 'delete'],
  admin: ['pull', 'push', 'delete'],
} as const satisfies Record<string, readonly Action[]>;

export type Role = keyof typeof ROLES;

const NOTHING: ReadonlySet<Action> = new Set();
const PULL: ReadonlySet<Action> = new Set(['pull']);
const BY_ROLE = new Map<Role, ReadonlySet<Action>>(Object.entries(ROLES).map(([role, actions]) => [role as Role, new Set(actions)]));

/** What a member of a role, or one without any, may do in a project. */
export function actionsOf(role: Role | undefined, isPublic: boolean): ReadonlySet<Action> {
  const held = role === undefined ? NOTHING : (BY_ROLE.get(role) ?? NOTHING);
  return isPublic && !held.has('pull') ? PULL : held; // every role that may do anything may pull
}

export function isRole(text: string): text is Role {
  return Object.hasOwn(ROLES, text);
}

export function isAction(text: string): text is Action {
  return text === 'pull' || text === 'push' || text === 'delete';
}

export const ALL_ACTIONS: readonly Action[] = ['pull', 'push', 'delete'];
