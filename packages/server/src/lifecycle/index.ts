export {
  type AdoptionProgress,
  type AdoptionReport,
  adoptStorage,
  type Counts,
  FINDINGS,
  type Finding,
  type FindingKind,
  findingsOf,
  findLastRun,
  openFileTree,
} from './adoption/index.ts';
export { lifecycleJobs } from './jobs.ts';
export { lifecycleMigrations } from './schema.ts';
export { type RepairSource, scrubState, suspectBlob } from './scrub/index.ts';
