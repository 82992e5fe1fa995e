import type { Clock, Config, Database, Log } from '../../platform/index.ts';
import { createHeatNotes, type HeatNotes } from './heat-notes.ts';
import { choicesOf, halfLifeMs } from './settings.ts';

export type { HeatNotes } from './heat-notes.ts';
export { type TierJobParts, tierAmounts, tierJobs } from './jobs.ts';

/** Records what is read, as it is configured. */
export function openHeatNotes(parts: { readonly database: Database; readonly clock: Clock; readonly log: Log }, config: Config): HeatNotes {
  return createHeatNotes({ ...parts, halfLifeMs: halfLifeMs(choicesOf(config)), minBytes: config.tierMinBytes });
}
