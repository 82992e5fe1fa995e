import type { Route } from '../../platform/index.ts';
import { type LoginParts, loginRoutes } from './login-routes.ts';
import { sessionRoutes } from './session-routes.ts';

/** Users, how they log in, and their sessions. */
export function localRoutes(parts: LoginParts): Route[] {
  return [...loginRoutes(parts), ...sessionRoutes(parts)];
}
