export { webhookConsumer } from './webhooks/consumer.ts';
export { webhookJob } from './webhooks/job.ts';
export { pruneJob as webhookPruneJob } from './webhooks/prune.ts';
export { webhookMigrations } from './webhooks/schema.ts';
export { projectsHearingPulls } from './webhooks/store.ts';
