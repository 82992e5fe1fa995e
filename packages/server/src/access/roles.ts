import { ALL_PERMISSIONS, PERMISSIONS, type Permission } from './permissions.ts';

interface RoleKind {
  /** Where it can be given. */
  readonly level: 'system' | 'project';
  readonly description: string;
  readonly permissions: readonly Permission[];
}

const LIMITED_GUEST = [
  'project:read',
  'quota:read',
  'repository:list',
  'repository:pull',
  'artifact:read',
  'scan:read',
  'tag:list',
] as const;
const GUEST = [...LIMITED_GUEST, 'member:read', 'robot:read'] as const;
const DEVELOPER = [
  ...GUEST,
  'scan:run',
  'policy:read',
  'exception:read',
  'trust:read',
  'retention:read',
  'immutability:read',
  'trash:read',
  'repository:push',
  'repository:update',
  'tag:create',
] as const;
/** Who may delete may also say what is deleted by rule, what never, and bring it back. */
const MAINTAINER = [
  ...DEVELOPER,
  'retention:manage',
  'immutability:manage',
  'trash:restore',
  'repository:delete',
  'artifact:delete',
  'tag:delete',
  'webhook:read',
] as const;
const PROJECT_ADMIN = ALL_PERMISSIONS.filter((permission) => PERMISSIONS[permission] !== 'system');

/** Reads everything but what images hold, and changes nothing. */
const AUDITOR = ALL_PERMISSIONS.filter((permission) => /:(?:read|list)$/.test(permission));

/** The role table: the built-in roles, with Harbor's meaning where Harbor has them. Secrets are write-only, so none holds the right to see one. */
export const ROLES = {
  'system-admin': { level: 'system', description: 'may do everything everywhere', permissions: ALL_PERMISSIONS },
  auditor: {
    level: 'system',
    description: 'sees settings, members and records everywhere, but no image and no secret',
    permissions: AUDITOR,
  },
  'project-creator': { level: 'system', description: 'makes projects and administers those', permissions: ['project:create'] },
  'limited-guest': { level: 'project', description: 'pulls images, sees no member', permissions: LIMITED_GUEST },
  guest: { level: 'project', description: 'pulls images and sees who else may', permissions: GUEST },
  developer: { level: 'project', description: 'pulls and pushes', permissions: DEVELOPER },
  maintainer: { level: 'project', description: 'pulls, pushes and deletes', permissions: MAINTAINER },
  admin: { level: 'project', description: 'administers the project', permissions: PROJECT_ADMIN },
} as const satisfies Record<string, RoleKind>;

export type Role = keyof typeof ROLES;

/** What anybody, logged in or not, may do in a public project. */
export const PUBLIC: ReadonlySet<Permission> = new Set(
  LIMITED_GUEST.filter((permission) => permission !== 'quota:read' && permission !== 'scan:read'),
);

export function isRole(text: string): text is Role {
  return Object.hasOwn(ROLES, text);
}

export function isProjectRole(text: string): text is Role {
  return isRole(text) && ROLES[text].level === 'project';
}

const BY_ROLE = new Map<string, ReadonlySet<Permission>>(
  Object.entries(ROLES).map(([name, { permissions }]) => [name, new Set<Permission>(permissions)]),
);

/** What a built-in role may do; undefined for a name that is none. */
export function permissionsOfRole(name: string): ReadonlySet<Permission> | undefined {
  return BY_ROLE.get(name);
}
