import type { Tiers } from '../../content/index.ts';
import { type JobContext, type JobDefinition, nextRun, type Session } from '../../platform/index.ts';
import type { LifecycleJobParts } from '../parts.ts';
import { boundsOf, type MoveParts, moveByHeat } from './move.ts';
import { type Placing, placeRepository } from './place.ts';
import { createTierPolicy } from './policy.ts';
import { pruneHeat } from './prune.ts';
import { choicesOf, halfLifeMs, settingsOf } from './settings.ts';
import { simulate } from './simulate.ts';
import { findTierState } from './state.ts';
import { surveyTiers } from './survey.ts';
import { MOVE, MOVE_NOW, PLACE, SIMULATE, type Simulating } from './words.ts';

export interface TierJobParts extends LifecycleJobParts {
  /** Undefined where there is one tier only, and reads are recorded to tell what a second one would do. */
  readonly tiers: Tiers | undefined;
}

/** What moves blobs between the tiers, simulates that, and forgets what is old. */
export function tierJobs({ tiers, ...parts }: TierJobParts): JobDefinition[] {
  const { database, clock, log, config, metrics, isBusy = () => false } = parts;
  const choices = choicesOf(config);
  const jobs: JobDefinition[] = [
    {
      kind: 'tiers.prune',
      schedule: { cron: '41 3 * * *' },
      async run(_, { signal }) {
        const pruned = await pruneHeat(database, clock.now(), signal);
        // Where nothing moves, nothing else counts what there is.
        if (!tiers) await surveyTiers({ database, clock, halfLifeMs: halfLifeMs(choices), minBytes: choices.minBytes, signal });
        return pruned;
      },
    },
    {
      kind: SIMULATE,
      maxAttempts: 2,
      run: async (payload, context) => await simulate({ database, clock, tiers, config }, payload as Simulating, context),
    },
  ];
  if (!tiers) return jobs;
  const settings = settingsOf(choices);
  const move: MoveParts = {
    ...{ database, tiers, clock, log, metrics, settings, isBusy },
    halfLifeMs: halfLifeMs(choices),
    bytesPerSecond: config.tierMibPerSecond * 2 ** 20,
  };
  try {
    nextRun({ cron: config.tierSchedule }, clock.now());
  } catch (cause) {
    throw new Error(`tierSchedule is ${JSON.stringify(config.tierSchedule)}, which is no cron expression`, { cause });
  }
  tiers.use(
    createTierPolicy({
      ...{ clock, metrics, settings },
      async look() {
        const state = await findTierState(database);
        if (!state) return undefined;
        const { hotBytes, settings: bounds } = await boundsOf(tiers, settings, state.hot.bytes);
        return { hotBytes, capacityBytes: bounds.capacityBytes };
      },
    }),
  );
  return [
    {
      kind: MOVE,
      schedule: { cron: config.tierSchedule },
      run: async (_, context: JobContext) => await moveByHeat(move, context, 'schedule'),
    },
    {
      kind: MOVE_NOW,
      maxAttempts: 3,
      run: async (payload, context) => await moveByHeat(move, context, (payload as { by: string }).by),
    },
    {
      kind: PLACE,
      maxAttempts: 3,
      run: async (payload, context) => await placeRepository(move, payload as Placing, context),
    },
    ...jobs,
  ];
}

/** Bytes and blobs of each tier, for the metrics. */
export async function tierAmounts(session: Session): Promise<{ tier: string; bytes: number; blobs: number }[]> {
  const state = await findTierState(session);
  return (['hot', 'cold', 'archived'] as const).map((tier) => ({ tier, ...(state?.[tier] ?? { blobs: 0, bytes: 0 }) }));
}
