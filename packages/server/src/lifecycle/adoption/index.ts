export { type AdoptionProgress, type AdoptionReport, adoptStorage } from './adopt.ts';
export { openFileTree } from './file-tree.ts';
export { type Counts, FINDINGS, type Finding, type FindingKind } from './findings.ts';
export { findingsOf, findLastRun } from './runs.ts';
export { adoptionMigrations } from './schema.ts';
