// What commands beside a server need of the keys; loaded by them and by nobody else.
export { keyFileOf } from './key-file.ts';
export { addKeyVersion } from './providers/local-file.ts';
export { countKeys } from './rotation-rows.ts';
export { startRewrap } from './start.ts';
