// What whoever reads and writes the files of another registry in a bucket has of it.
export { openS3Layout } from './open-s3-storage.ts';
export { Archived, patiently } from './patiently.ts';
export { createPieceReader } from './reader.ts';
