import type { Config } from '../../platform/index.ts';
import type { TierSettings } from './planner.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** So hot is what was read once half a life ago. */
const WORTH_FETCHING = 0.5;

/** What people set: the options, or what a simulation tries. */
export interface TierChoices {
  readonly capacityBytes: number;
  readonly highPercent: number;
  readonly lowPercent: number;
  readonly coldAfterDays: number;
  readonly halfLifeDays: number;
  readonly minBytes: number;
  readonly minHours: number;
}

export function choicesOf(config: Config): TierChoices {
  return {
    capacityBytes: config.hotTierBytes,
    highPercent: config.hotTierHighPercent,
    lowPercent: config.hotTierLowPercent,
    coldAfterDays: config.coldAfterDays,
    halfLifeDays: config.heatHalfLifeDays,
    minBytes: config.tierMinBytes,
    minHours: config.tierMinHours,
  };
}

export function halfLifeMs({ halfLifeDays }: Pick<TierChoices, 'halfLifeDays'>): number {
  return halfLifeDays * DAY_MS;
}

export function settingsOf({
  capacityBytes,
  highPercent,
  lowPercent,
  coldAfterDays,
  halfLifeDays,
  minBytes,
  minHours,
}: TierChoices): TierSettings {
  // What was read once, and never again, has that heat after so many days.
  const coldBelow = coldAfterDays === 0 ? 0 : 2 ** (-coldAfterDays / halfLifeDays);
  return {
    capacityBytes,
    high: highPercent / 100,
    low: Math.min(lowPercent, highPercent) / 100,
    coldBelow,
    hotFrom: Math.max(WORTH_FETCHING, 2 * coldBelow),
    minBytes,
    minAgeMs: minHours * HOUR_MS,
    restMs: minHours * HOUR_MS,
  };
}

/** Whether reads are recorded: where there are two tiers, or somebody wants to know what they would do. */
export function isHeatRecorded({ coldStorage, heatRecorded }: Config): boolean {
  return coldStorage !== 'off' || heatRecorded;
}
