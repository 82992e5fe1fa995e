export { forwardingCounts } from './forwarding/counts.ts';
export { forwardingJob } from './forwarding/delivery.ts';
export { forwardingRoutes } from './forwarding/routes.ts';
export { forwardingMigrations } from './forwarding/schema.ts';
export { oldestUnsent } from './forwarding/store.ts';
