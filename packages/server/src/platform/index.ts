export { type AddressRange, inRanges, parseRanges } from './address-ranges.ts';
export { endTogether } from './answers.ts';
export {
  ANONYMOUS,
  AUDIT_GENESIS,
  type AuditActor,
  type AuditEntry,
  type AuditNote,
  type AuditNotes,
  type AuditOrigin,
  type AuditResource,
  type AuditTables,
  audit,
  auditHash,
  auditHead,
  auditMigrations,
} from './audit.ts';
export { brokenOff, chunksOf, contentLength, hasBody, readBody, skipBody, wantBody } from './body.ts';
export { type Clock, newId, newSortableId, sortableIdBound, systemClock, timeOfId } from './clock.ts';
export {
  type Config,
  ConfigError,
  ConfigSchema,
  databaseAddress,
  dataPaths,
  isOnPostgres,
  loadConfig,
  variableOf,
  workerCount,
} from './config.ts';
export type { ConnectTarget } from './connection.ts';
export { lockData } from './data-lock.ts';
export {
  AFTER_ALL,
  andThen,
  BEFORE_ALL,
  beyond,
  containing,
  copySqlite,
  type Database,
  holdsText,
  type MaybePromise,
  type Migration,
  type Order,
  openPostgres,
  openSqlite,
  QUERIES,
  type Query,
  queriesOf,
  type Session,
  sortOf,
  sqliteCompiler,
  sqliteProblems,
  upTo,
  type Value,
} from './database/index.ts';
export { AppError, denialOf, ERRORS, type ErrorCode, toAppError } from './errors.ts';
export { compileGlob, type Glob, likesOf } from './globs.ts';
export { findReplay, idempotencyMigrations, type Replay, type RequestKey, requestKey, saveReplay } from './idempotency.ts';
export {
  agreedOn,
  folderMark,
  forgetShared,
  installationMigrations,
  MOVED,
  requireShared,
  requireUnmoved,
  type Shared,
  settleShared,
  sharedValue,
} from './installation.ts';
export {
  cancelJob,
  createJobRunner,
  enqueue,
  findJob,
  findJobByKey,
  freeJobs,
  type JobContext,
  type JobDefinition,
  type JobRunner,
  type JobView,
  jobCounts,
  jobMigrations,
  latestJob,
  nextRun,
  pageOfJobs,
  pauseAfter,
  pruneJobs,
} from './jobs/index.ts';
export { type NamedKey, parseKeyNames } from './key-names.ts';
export { type Listener, listen } from './listener.ts';
export { createLog, type Log } from './log.ts';
export { createMetrics, type Metrics, type Observe } from './metrics.ts';
export { isShareable, takeForHost } from './one-host.ts';
export { createOperations } from './operations.ts';
export { createOutbound, type Outbound, type OutboundRequest, type OutboundResponse } from './outbound.ts';
export { OutboundError } from './outbound-checks.ts';
export {
  append,
  type NewEvent,
  type OutboxConsumer,
  type OutboxEvent,
  outboxBacklog,
  outboxDelivery,
  outboxMigrations,
  pruneOutbox,
} from './outbox.ts';
export { createRequestOrigin, type RequestOrigin } from './requests.ts';
export {
  type Answer,
  type Caller,
  type Changed,
  cursorOf,
  listOf,
  listQuery,
  PAGE_DEFAULT,
  PLAIN_URL,
  pageByName,
  pageOf,
  type RestCall,
  type Route,
  readCursor,
  repositoryIn,
  requireMatch,
  routesFor,
} from './rest.ts';
export { createSeal, type Seal } from './seal.ts';
export { createFileOnce, openSecrets, type Secrets } from './secrets.ts';
export { SIGNATURE_HEADER, signatureOf } from './signature.ts';
export { countSent, describeRequest, logRequest, requestIdOf } from './trace.ts';
