export { type AdoptionProgress, type AdoptionReport, adoptStorage, requireStorage } from './adopt.ts';
export { openBucketTree } from './bucket-tree.ts';
export { openFileTree, openFileTreeWriter } from './file-tree.ts';
export { type Counts, FINDINGS, type Finding, type FindingKind } from './findings.ts';
export {
  currentPath,
  digestIn,
  historyPath,
  LINK_MOST,
  layersPath,
  linkPath,
  REPOSITORIES,
  revisionsPath,
  tagsPath,
} from './layout.ts';
export { inOrder } from './names.ts';
export { findingsOf, findLastRun } from './runs.ts';
export { adoptionMigrations } from './schema.ts';
export type { TreeReader, TreeWriter } from './tree.ts';
