export { createIssuerKeys } from './issuer-keys.ts';
export { keyAuthenticator } from './key-authenticator.ts';
export { createKeyUse } from './key-use.ts';
export { findRobotById } from './robots.ts';
export { machineMigrations } from './schema.ts';
export { createWorkloads } from './workloads.ts';
