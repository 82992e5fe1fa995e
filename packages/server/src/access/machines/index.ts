export { accessKeyRoutes } from './access-key-routes.ts';
export { keyAuthenticator } from './key-authenticator.ts';
export { createKeyUse } from './key-use.ts';
export { robotRoutes } from './robot-routes.ts';
export { machineMigrations } from './schema.ts';
