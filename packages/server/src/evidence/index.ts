export { forwardingCounts } from './forwarding/counts.ts';
export { forwardingJob } from './forwarding/delivery.ts';
export { forwardingMigrations } from './forwarding/schema.ts';
export { createNotes } from './notes/notes.ts';
export {
  allCheckpoints,
  checkpointJob,
  exportLines,
  firstRecordOf,
  openAuditKeys,
  openExport,
  readAuditKeys,
  readCheckpointFile,
  recordsInOrder,
  retentionJob,
  type Trail,
  trailMigrations,
  verifyTrail,
} from './trail/index.ts';
