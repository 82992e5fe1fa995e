export { layoutConsumer } from './consumer.ts';
export type { LayoutParts } from './files.ts';
export { fillLayout } from './fill.ts';
export { layoutJob } from './job.ts';
export { deliverEvents, openLayout } from './open.ts';
