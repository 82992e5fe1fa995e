export { type BackedUp, type BackupParts, createBackup } from './create.ts';
export { chooseSnapshot, listSnapshots, readSnapshot, type Snapshot } from './format.ts';
export { pruneSnapshots } from './prune.ts';
export { placeFile, type Restored, restoreSnapshot } from './restore.ts';
export { settleRestored } from './settle.ts';
export { type Verified, verifySnapshot } from './verify.ts';
