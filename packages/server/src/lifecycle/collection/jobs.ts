import { holdsInForce, nextReview } from '../../catalog/index.ts';
import type { JobDefinition } from '../../platform/index.ts';
import type { LifecycleJobParts } from '../parts.ts';
import { type CollectorParts, collect } from './collect.ts';

export const COLLECT = 'blobs.collect';
/** The same, once and at once, for somebody who asked for it. */
export const COLLECT_NOW = 'blobs.collect-now';

const HOUR_MS = 3_600_000;
const EVERY_MS = 60_000;

export interface CollectNow {
  readonly skipGrace: boolean;
}

export function collectionJobs({ config, metrics, ...parts }: LifecycleJobParts): JobDefinition[] {
  const { database, clock, log } = parts;
  const graceMs = config.collectionGraceSeconds * 1000;
  const collector: CollectorParts = { ...parts, graceMs, onCollected: metrics.collected };
  if (graceMs < HOUR_MS) {
    log.warn({ collectionGraceSeconds: config.collectionGraceSeconds }, 'the grace time is for tests: slow pushes may have to be repeated');
  }
  return [
    {
      kind: COLLECT,
      schedule: { everyMs: Math.min(EVERY_MS, Math.max(1000, graceMs / 2)) },
      ready: async () => (await nextReview(database, graceMs)) <= clock.now(),
      run: (_, context) => collect(collector, context),
    },
    {
      kind: COLLECT_NOW,
      maxAttempts: 3,
      run: async (payload, context) => ({
        ...(await collect(collector, context, payload as CollectNow)),
        held: (await holdsInForce(database, clock.now())).length > 0,
      }),
    },
  ];
}
