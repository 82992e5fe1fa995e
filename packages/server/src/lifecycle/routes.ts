// The room's other face: its route tables, loaded with the management API and not before.
import type { Route } from '../platform/index.ts';
import type { LifecycleParts } from './parts.ts';

export function lifecycleRoutes(_parts: LifecycleParts): Route[] {
  return [];
}
