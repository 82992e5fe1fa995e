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

export function isRole(text: string): text is Role {
  return Object.hasOwn(ROLES, text);
}

export function isAction(text: string): text is Action {
  return text === 'pull' || text === 'push' || text === 'delete';
}

export const ALL_ACTIONS: readonly Action[] = ['pull', 'push', 'delete'];
