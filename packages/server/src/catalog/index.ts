export { type AdoptedTag, adoptBlob, adoptTag, countAdoptedTags, ENDLESS, noteChange, type TagMove } from './adoption.ts';
export { type AffectedImage, pageOfAffected, tagsOfAffected } from './affected.ts';
export { type Content, contentOf, imageLabels, type Labels } from './artifact-content.ts';
export { type ArtifactFacts, findArtifact, listArtifacts } from './artifact-list.ts';
export { isBaseOfOthers } from './bases.ts';
export { findBlob, type LinkedBlob, linkBlob, referenceTo, renewBlob, repositoriesWithBlob, unlinkBlob } from './blobs.ts';
export {
  abandonDeletions,
  beginDeletions,
  COUNTED,
  type CollectionBacklog,
  collectionBacklog,
  collectLinks,
  dueBlobs,
  dueLinksOf,
  endDeletions,
  forgetGoneBlobs,
  freeDeletions,
  nextReview,
  takeUpDeletionsLeft,
} from './collection.ts';
export { type DuePreview, previewCollection, previewTotals } from './collection-preview.ts';
export {
  type Contradiction,
  type ContradictionKind,
  contradictions,
  mendLink,
  mendStrayReferences,
} from './consistency.ts';
export { artifactCount, repositoryCount } from './counts.ts';
export {
  type Damage,
  type DamagedBlob,
  damagedCount,
  damagedToCheck,
  findDamage,
  isDamagedIn,
  isQuarantined,
  liftQuarantine,
  pageOfDamaged,
  postponeRepair,
  quarantineBlob,
} from './damage.ts';
export type { DeletionScope, DoomedManifest } from './deletion.ts';
export { indexesOf } from './deletion.ts';
export type { CatalogEvent } from './events.ts';
export { findLinkedBlob, type ManifestRow, needsOfManifest, pageOfLinkedBlobs, pageOfManifests, twinsOfManifest } from './everything.ts';
export { type CollectionHold, holdsInForce, releaseAllHolds, releaseHold, renewHold, takeHold } from './holds.ts';
export { deleteUnheld, type Removal, subjectOfTag } from './image-removal.ts';
export { type Immutability, type ImmutableBy, immutabilityOf } from './immutability.ts';
export {
  addImmutabilityRule,
  changeImmutabilityRule,
  deleteImmutabilityRule,
  findImmutabilityRule,
  type ImmutabilityRule,
  type ImmutabilitySettings,
  immutabilityRulesIn,
} from './immutability-rules.ts';
export { damagedManifestCount, forgetManifestDamage, markManifestDamaged, pageOfDamagedManifests } from './manifest-damage.ts';
export {
  deleteManifest,
  findManifest,
  findManifestByTag,
  type ManifestPush,
  manifestBytes,
  pageOfReferrers,
  putManifest,
  type ReferrerRow,
  type StoredManifest,
  setManifestContent,
  subjectWithPrefix,
} from './manifests.ts';
export { shedTags } from './many-tags.ts';
export {
  blobKeysWaiting,
  dueBlobKeys,
  endBlobKeys,
  keysOfHolders,
  pageOfKeyedProjects,
  pageOfProjectBlobs,
  postponeBlobKeys,
  projectKeyOf,
  repositoryKeyOf,
  reviewKeys,
  reviewKeysIfHeld,
  setProjectKey,
} from './project-keys.ts';
export {
  changeProject,
  createProject,
  deleteProject,
  type Environment,
  ensureRepository,
  findProject,
  findProjectById,
  findRepository,
  findRepositoryById,
  type NewProject,
  type Project,
  type ProjectSettings,
  pageOfRepositories,
  type Repository,
  setProjectVisibility,
} from './projects.ts';
export { createPullNotes, type PullNotes } from './pulls.ts';
export { pageOfLimited, pageOfQuotas, setProjectLimits } from './quotas.ts';
export { findRepositoryFacts, listRepositories, type RepositoryFacts } from './repository-list.ts';
export { catalogJobs, deleteRepository } from './repository-removal.ts';
export {
  alertQuota,
  dropReservation,
  endQuotaAlerts,
  findLimits,
  hasQuotaAlerts,
  isAlertTold,
  keepReceived,
  type Limited,
  lapseReservations,
  pruneReservations,
  renewReservations,
  reserve,
  takeReservation,
  WARNING_RATIO,
} from './reservations.ts';
export { catalogMigrations } from './schema.ts';
export { blobScope, repositoryScope, uploadScope } from './scopes.ts';
export { claimBlob, FIRST_GENERATION, findStored, keepStored, reviewStored, STORE_LIMIT_MS } from './stored-blobs.ts';
export {
  findTagUse,
  type ManifestUse,
  type PlacedRepository,
  pageOfManifestUse,
  pageOfPlacedRepositories,
  pageOfProjectIds,
  pageOfTagUse,
  type TagUse,
} from './tag-facts.ts';
export {
  changesToSweep,
  endSweepAt,
  forgetOld,
  type HistorySweep,
  hasPointedAt,
  keepNewest,
  type SweptChange,
} from './tag-history.ts';
export { findTagFacts, listTagsOfDigest, type TagFacts } from './tag-list.ts';
export type { CompiledSelector, Patterns, TagSelector } from './tag-selectors.ts';
export { deleteTag, findTag, pageOfTags, setTag } from './tags.ts';
export {
  forgetTrashDamage,
  isManifestInTrash,
  markTrashDamaged,
  pageOfTrashedManifests,
  setTrashedBytes,
  type TrashedManifest,
} from './trash-damage.ts';
export { setTrashDays, trashDaysOf } from './trash-days.ts';
export {
  findManifestInTrash,
  findTrashItem,
  hasTrash,
  listTrash,
  type TrashItem,
  type TrashPage,
  trashedBytes,
  trashWith,
} from './trash-list.ts';
export { expiredTrash, forgetItem, type PurgeableItem, purgeItem, trashAges, trashThatWentWith } from './trash-purge.ts';
export {
  detachTrash,
  manifestsToRestore,
  missingFor,
  noteRestoring,
  type Restoring,
  restoreManifest,
  restoreRepository,
  restoreTag,
} from './trash-restore.ts';
export type { TrashKind } from './trash-schema.ts';
export {
  clearUploadLeases,
  countUploads,
  endAllUploads,
  endExpiredUpload,
  endUpload,
  expiredUploads,
  FRESH_UPLOAD_MS,
  findUpload,
  hasUploadEnded,
  insertUpload,
  leaseUpload,
  pruneEndedUploads,
  releaseUpload,
  type UploadSession,
  uploadLease,
} from './uploads.ts';
export {
  claimsOf,
  holdsBlob,
  type Limits,
  limitsOf,
  QUOTA_NAMES,
  quotaExceeded,
  type Room,
  RoomShort,
  type Usage,
  usageOf,
} from './usage.ts';
export { checkUsage, type UsageCheck, type UsageDrift } from './usage-check.ts';
export type { QuotaName } from './usage-schema.ts';
