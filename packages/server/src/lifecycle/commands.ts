// The room's third face: what commands on the command line do, beside a server or without one. No server loads it.
export {
  type BackedUp,
  chooseSnapshot,
  createBackup,
  listSnapshots,
  placeFile,
  pruneSnapshots,
  type Restored,
  readSnapshot,
  restoreSnapshot,
  type Snapshot,
  settleRestored,
  syncPath,
  type Verified,
  verifySnapshot,
  writeDurably,
} from './backup/index.ts';
export { type Check, type Finding, graphChecks, hostChecks, type Report, runChecks, storeChecks, usageCheck } from './doctor/index.ts';
export { type MovedBlobs, type MoveParts, moveBlobs, settleMoved } from './moving/index.ts';
export { createPace, folderSource, newPass, orphanGraceMs, type Pass, type RepairSource, repairBlob, scrub } from './scrub/index.ts';
