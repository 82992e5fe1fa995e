// The room's other face: its route tables, loaded with the management API and not before.
export { encryptionRoutes } from './encryption/routes.ts';
