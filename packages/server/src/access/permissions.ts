/** Where a permission is asked for: on the whole system, on a project, or on a repository in one. */
export type Level = 'system' | 'project' | 'repository';

/** Everything that can be allowed, and what it is asked of. A role on a wider level holds it for all below. */
export const PERMISSIONS = {
  'system:read': 'system',
  'system:update': 'system',
  'user:read': 'system',
  'user:manage': 'system',
  'group:read': 'system',
  'group:manage': 'system',
  'role:read': 'system',
  'role:manage': 'system',
  'provider:read': 'system',
  'provider:manage': 'system',
  'storage:read': 'system',
  'storage:manage': 'system',
  'quota:manage': 'system',
  'advisory:read': 'system',
  'advisory:manage': 'system',
  'scanner:read': 'system',
  'scanner:manage': 'system',
  'project:list': 'system',
  'project:create': 'system',
  'project:read': 'project',
  'project:update': 'project',
  'project:delete': 'project',
  'member:read': 'project',
  'member:manage': 'project',
  'robot:read': 'project',
  'robot:manage': 'project',
  'webhook:read': 'project',
  'webhook:manage': 'project',
  'audit:read': 'project',
  'quota:read': 'project',
  'retention:read': 'project',
  'retention:manage': 'project',
  'immutability:read': 'project',
  'immutability:manage': 'project',
  'trash:read': 'project',
  'trash:restore': 'project',
  'trash:purge': 'project',
  'policy:read': 'project',
  'policy:manage': 'project',
  'exception:read': 'project',
  'exception:manage': 'project',
  'trust:read': 'project',
  'trust:manage': 'project',
  'repository:list': 'project',
  'repository:pull': 'repository',
  'repository:push': 'repository',
  'repository:update': 'repository',
  'repository:delete': 'repository',
  'artifact:read': 'repository',
  'artifact:delete': 'repository',
  'scan:read': 'repository',
  'scan:run': 'repository',
  'artifact:sign': 'repository',
  'tag:list': 'repository',
  'tag:create': 'repository',
  'tag:delete': 'repository',
} as const satisfies Record<string, Level>;

export type Permission = keyof typeof PERMISSIONS;

export const ALL_PERMISSIONS = Object.keys(PERMISSIONS) as Permission[];

export function isPermission(text: string): text is Permission {
  return Object.hasOwn(PERMISSIONS, text);
}

/** What can be asked of a repository over the distribution API. */
export type Action = 'pull' | 'push' | 'delete';

export const ALL_ACTIONS: readonly Action[] = ['pull', 'push', 'delete'];

export function isAction(text: string): text is Action {
  return text === 'pull' || text === 'push' || text === 'delete';
}

export const PERMISSION_OF: Readonly<Record<Action, Permission>> = {
  pull: 'repository:pull',
  push: 'repository:push',
  delete: 'artifact:delete',
};
