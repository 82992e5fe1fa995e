export { ArchivedBlob } from './archived.ts';
export type { BlobReader, BlobStore, StoredBlob, UploadWriter } from './blob-store.ts';
export { ClosedBlob } from './encryption/closed-blob.ts';
export type { Encryption } from './encryption/index.ts';
export type { Settled } from './encryption/named-keys.ts';
export { openFileStore, openReadOnlyStore } from './file-store.ts';
export { HashThreads, type StreamHash } from './hashing.ts';
export { type ContentStore, openStore } from './open-store.ts';
export { readSmall } from './read-small.ts';
export { createStreamHash, hashReader, type Received, receive } from './receive.ts';
export type { Bucket } from './s3/bucket.ts';
export { contentMigrations } from './schema.ts';
export { sendRange } from './send.ts';
export { SlabPool } from './slabs.ts';
export { freeMoves } from './tiers/start-rows.ts';
export type { MoveOutcome, Place, Room, Tier, TierPolicy, Tiers, TierTotal } from './tiers/tiers.ts';

/** What commands beside a server do to the keys of encryption. */
export const encryptionCommands = () => import('./encryption/commands.ts');
/** The bucket itself, for what another registry keeps there. */
export const s3Layout = () => import('./s3/layout-access.ts');
