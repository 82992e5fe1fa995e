import type { JobDefinition } from '../platform/index.ts';
import { collectionJobs } from './collection/jobs.ts';
import { doctorJob } from './doctor/jobs.ts';
import type { LifecycleJobParts } from './parts.ts';
import { projectKeyJobs } from './project-keys/jobs.ts';
import { quotaJobs } from './quota/jobs.ts';
import { retentionJobs } from './retention/jobs.ts';
import { scrubJobs } from './scrub/index.ts';
import { tagHistoryJobs } from './tag-history/jobs.ts';
import { trashJobs } from './trash/jobs.ts';

/** What of this room runs in the background. */
export function lifecycleJobs(parts: LifecycleJobParts): JobDefinition[] {
  return [
    ...collectionJobs(parts),
    ...projectKeyJobs(parts),
    ...quotaJobs(parts),
    ...retentionJobs(parts),
    ...tagHistoryJobs(parts),
    ...trashJobs(parts),
    ...scrubJobs(parts),
    doctorJob(parts),
  ];
}
