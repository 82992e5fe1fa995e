export { type MovedBlobs, type MoveParts, moveBlobs, settleMoved } from './move-blobs.ts';
