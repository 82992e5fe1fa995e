export { allCheckpoints, checkpointJob, readCheckpointFile } from './checkpoints.ts';
export { exportLines, openExport } from './export.ts';
export { openAuditKeys, readAuditKeys } from './keys.ts';
export { recordsInOrder } from './records.ts';
export { firstRecordOf, retentionJob } from './retention.ts';
export { trailMigrations } from './schema.ts';
export { type Trail, verifyTrail } from './trail.ts';
