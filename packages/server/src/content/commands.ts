// The room's third face: what commands beside a server need of how bytes lie. No server loads it.
export type { Companions } from './blob-store.ts';
export { companionOf, companionText, findSealedKey, type SealedKey } from './encryption/data-keys.ts';
export { HEADER_BYTES, keyIdIn } from './encryption/format.ts';
export { forgetCopies } from './encryption/rotation-rows.ts';
export { openFileCompanions } from './file-companions.ts';
export { openBareStore } from './open-store.ts';
export { forgetPlaces, MEND_JOB } from './tiers/start-rows.ts';
