export { lifecycleJobs } from './jobs.ts';
export { lifecycleMigrations } from './schema.ts';
