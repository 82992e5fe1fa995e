// The room's other face: its route tables, loaded with the management API and not before.
export { jobRoutes } from './jobs/routes.ts';
