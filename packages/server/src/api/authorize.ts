import { type Access, type Identity, isPermission, PERMISSIONS, type Permission, type Resource } from '../access/index.ts';
import { AppError, type Route, repositoryIn } from '../platform/index.ts';

/** Parameters that name the resource of a permission, from the outside in. */
type PathParams = Readonly<Record<string, string | undefined>>;

/** What a route's permission is asked on: the project and repository that its path names, else the system. */
function resourceOf(params: PathParams): Resource {
  const { project, repository } = params;
  return { project, repository: project === undefined || repository === undefined ? undefined : repositoryIn(project, repository) };
}

/** Throws at start for a route whose permission nobody could hold, or that is asked on nothing its path names. */
export function checkPermission({ method, path, permission }: Route): void {
  if (permission === 'public' || permission === 'login') return;
  if (!isPermission(permission)) throw new Error(`${method} ${path}: ${permission} is no permission`);
  const level = PERMISSIONS[permission];
  if (level === 'repository' && !path.includes('/:project/') && !path.includes('/:repository')) {
    throw new Error(`${method} ${path}: ${permission} is asked on a repository, and the path names none`);
  }
}

/**
 * Throws unless an identity may use a route. What one may not see looks exactly like what does not exist: 404 where the
 * project itself is hidden, 403 where it is seen, 401 for anybody unknown.
 */
export async function authorize(access: Access, identity: Identity, route: Route, params: PathParams): Promise<void> {
  // A token of the token service is for images, whatever its subject may do besides (attack class A2).
  if (identity.token !== undefined) throw new AppError('unauthorized', 'a token of the token service is not taken here');
  if (route.permission === 'public') return;
  if (route.permission !== 'login' && (await access.holds(identity, route.permission as Permission, resourceOf(params)))) return;
  if (!identity.subject) throw new AppError('unauthorized', 'authentication required');
  if (route.permission === 'login') return;
  const { project } = params;
  if (project !== undefined && !(await access.holds(identity, 'project:read', { project }))) {
    throw new AppError('not_found', `there is no project ${project}`);
  }
  throw new AppError('denied', `this needs the permission ${route.permission}`);
}

/**
 * Refuses a change that another site had a browser send (attack class A11): a login under a name of its choice, or what a
 * password allows that the browser remembers. Browsers set both headers themselves; programs set neither. What a cookie alone
 * allows must state that it comes from a page of this server.
 */
export function requireSameOrigin(
  headers: Readonly<Record<string, string | string[] | undefined>>,
  baseUrl: string,
  { stated }: { stated: boolean },
): void {
  const { 'sec-fetch-site': site, origin } = headers;
  const isForeign = (origin !== undefined && origin !== baseUrl) || (site !== undefined && site !== 'same-origin' && site !== 'none');
  const isOwn = origin !== undefined || site === 'same-origin';
  if (isForeign || (stated && !isOwn)) throw new AppError('denied', 'the request comes from another site');
}
