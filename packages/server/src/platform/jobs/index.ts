export {
  cancelJob,
  enqueue,
  findJob,
  findJobByKey,
  freeJobs,
  type JobContext,
  type JobDefinition,
  type JobView,
  jobCounts,
  latestJob,
  type NewJob,
  pageOfJobs,
  pruneJobs,
  type Schedule,
} from './jobs.ts';
export { createJobRunner, type JobOutcome, type JobRunner } from './runner.ts';
export { nextRun, pauseAfter } from './schedule.ts';
export { type JobState, jobMigrations } from './store.ts';
