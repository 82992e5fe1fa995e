export type { AdoptionProgress, AdoptionReport, Finding, FindingKind, TreeReader } from './adoption/index.ts';
export { COLLECT_NOW } from './collection/jobs.ts';
export type { ImportedRepository } from './imports/index.ts';
export { lifecycleJobs } from './jobs.ts';
export { placeOfRetentionPolicy, projectPolicyNamed } from './retention/store.ts';
export { lifecycleMigrations } from './schema.ts';
export { type RepairSource, scrubState, suspectBlob } from './scrub/index.ts';
export { isHeatRecorded } from './tiers/settings.ts';

/** What only those load who use it: a server that begins has no need of it. */
export const adoption = () => import('./adoption/index.ts');
export const layout = () => import('./layout/index.ts');
export const imports = () => import('./imports/index.ts');
export const tiering = () => import('./tiers/index.ts');
