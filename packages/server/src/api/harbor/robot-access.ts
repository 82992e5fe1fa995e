import type { Permission } from '../../access/index.ts';

/** One right as Harbor names it. */
export interface HarborAccess {
  readonly resource: string;
  readonly action: string;
}

/** Harbor's rights of robots, and what they are here; where several are the same, the first is the one that is shown. */
const TABLE: readonly [resource: string, action: string, permission: Permission][] = [
  ['repository', 'pull', 'repository:pull'],
  ['repository', 'push', 'repository:push'],
  ['repository', 'list', 'repository:list'],
  ['repository', 'update', 'repository:update'],
  ['repository', 'delete', 'repository:delete'],
  ['artifact', 'read', 'artifact:read'],
  ['artifact', 'list', 'artifact:read'],
  ['repository', 'read', 'artifact:read'],
  ['artifact', 'delete', 'artifact:delete'],
  ['tag', 'list', 'tag:list'],
  ['tag', 'create', 'tag:create'],
  ['tag', 'delete', 'tag:delete'],
  ['project', 'read', 'project:read'],
  ['project', 'update', 'project:update'],
  ['project', 'delete', 'project:delete'],
  ['project', 'create', 'project:create'],
  ['project', 'list', 'project:list'],
  ['member', 'read', 'member:read'],
  ['member', 'list', 'member:read'],
  ['member', 'create', 'member:manage'],
  ['member', 'update', 'member:manage'],
  ['member', 'delete', 'member:manage'],
  ['robot', 'read', 'robot:read'],
  ['robot', 'list', 'robot:read'],
  ['robot', 'create', 'robot:manage'],
  ['robot', 'delete', 'robot:manage'],
  ['notification-policy', 'read', 'webhook:read'],
  ['notification-policy', 'list', 'webhook:read'],
  ['notification-policy', 'create', 'webhook:manage'],
  ['notification-policy', 'update', 'webhook:manage'],
  ['notification-policy', 'delete', 'webhook:manage'],
  ['log', 'list', 'audit:read'],
];

/** What rights of Harbor are here; those that are nothing here give nothing. */
export function permissionsOf(access: readonly HarborAccess[]): Permission[] {
  const found = access.flatMap(({ resource, action }) => TABLE.filter((row) => row[0] === resource && row[1] === action));
  return [...new Set(found.map(([, , permission]) => permission))];
}

/** Rights as Harbor names them; those that it has no name for are left out. */
export function accessOf(permissions: readonly string[]): HarborAccess[] {
  return permissions.flatMap((permission) => {
    const row = TABLE.find(([, , known]) => known === permission);
    return row ? [{ resource: row[0], action: row[1] }] : [];
  });
}
