// The room's other face: its route tables, loaded with the management API and not before.
export { forwardingRoutes } from './forwarding/routes.ts';
export { trailRoutes } from './trail/routes.ts';
