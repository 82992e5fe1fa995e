/**
 * Heat of a blob: how many reads it had, each worth half as much after every half-life. It is kept as a score that does not
 * change while nobody reads: the logarithm of the heat plus the time, both in half-lives. So what is hotter has the higher
 * score at all times, and an index sorts by it.
 */
export interface HeatClock {
  readonly halfLifeMs: number;
  /** A moment (milliseconds since 1970), and the time in half-lives that it was. */
  readonly at: number;
  readonly value: number;
}

/** Below this, in half-lives, a score is as good as none. */
const NEGLIGIBLE = -60;

export function newHeatClock(halfLifeMs: number, now: number): HeatClock {
  return { halfLifeMs, at: now, value: 0 };
}

/** Time in half-lives. */
export function ticksAt({ halfLifeMs, at, value }: HeatClock, time: number): number {
  return value + (time - at) / halfLifeMs;
}

/** Goes on with another half-life: what anything's heat is now does not change, only how it cools from here. */
export function withHalfLife(clock: HeatClock, halfLifeMs: number, now: number): HeatClock {
  return { halfLifeMs, at: now, value: ticksAt(clock, now) };
}

export function heatOf(score: number, ticks: number): number {
  return 2 ** (score - ticks);
}

/** What has a heat at a time. */
export function scoreOf(heat: number, ticks: number): number {
  return Math.log2(heat) + ticks;
}

/** Score after so many reads more at a time; null: there were none before. */
export function addReads(score: number | null, reads: number, ticks: number): number {
  const before = score === null || score - ticks < NEGLIGIBLE ? 0 : heatOf(score, ticks);
  return scoreOf(before + reads, ticks);
}
