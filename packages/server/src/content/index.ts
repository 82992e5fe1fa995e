export type { BlobReader, BlobStore, UploadWriter } from './blob-store.ts';
export { openFileStore } from './file-store.ts';
export { HashThreads, type StreamHash } from './hashing.ts';
export { openStore } from './open-store.ts';
export { readSmall } from './read-small.ts';
export { createStreamHash, hashReader, type Received, receive } from './receive.ts';
export { sendRange } from './send.ts';
export { SlabPool } from './slabs.ts';
