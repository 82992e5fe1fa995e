import type { JobDefinition } from '../platform/index.ts';
import { doctorJob } from './doctor/jobs.ts';
import type { LifecycleParts } from './parts.ts';
import { quotaJobs } from './quota/jobs.ts';
import { retentionJobs } from './retention/jobs.ts';
import { scrubJobs } from './scrub/index.ts';
import { trashJobs } from './trash/jobs.ts';

/** What of this room runs in the background. */
export function lifecycleJobs(parts: LifecycleParts): JobDefinition[] {
  return [...quotaJobs(parts), ...retentionJobs(parts), ...trashJobs(parts), ...scrubJobs(parts), doctorJob(parts)];
}
