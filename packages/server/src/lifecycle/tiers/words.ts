/** Kinds of jobs. */
export const MOVE = 'tiers.move';
/** The same, once and at once, for somebody who asked for it. */
export const MOVE_NOW = 'tiers.move-now';
export const PLACE = 'tiers.place';
export const SIMULATE = 'tiers.simulate';

/** What a simulation tries instead of what is set, and how many days back it goes. */
export interface Simulating {
  readonly capacityBytes?: number;
  readonly highPercent?: number;
  readonly lowPercent?: number;
  readonly coldAfterDays?: number;
  readonly halfLifeDays?: number;
  readonly minBytes?: number;
  readonly minHours?: number;
  readonly days?: number;
}
