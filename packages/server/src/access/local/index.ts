import type { Route } from '../../platform/index.ts';
import { type AccountParts, accountRoutes } from './account-routes.ts';
import { type GroupParts, groupRoutes } from './group-routes.ts';
import { type LoginParts, loginRoutes } from './login-routes.ts';
import { sessionRoutes } from './session-routes.ts';
import { type UserParts, userRoutes } from './user-routes.ts';

export { createThrottle, throttleMigrations } from './throttle.ts';
export { accountMigrations } from './user-store.ts';

/** Users and groups, how users log in, and their sessions. */
export function localRoutes(parts: LoginParts & UserParts & AccountParts & GroupParts): Route[] {
  return [...loginRoutes(parts), ...sessionRoutes(parts), ...accountRoutes(parts), ...userRoutes(parts), ...groupRoutes(parts)];
}
