import type { JobDefinition } from '../platform/index.ts';
import type { LifecycleParts } from './parts.ts';

/** What of this room runs in the background. */
export function lifecycleJobs(_parts: LifecycleParts): JobDefinition[] {
  return [];
}
