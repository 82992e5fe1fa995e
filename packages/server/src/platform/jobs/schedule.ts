import { Cron } from 'croner';
import type { Schedule } from './jobs.ts';

const RETRY_FIRST_MS = 1000;
const RETRY_MOST_MS = 15 * 60_000;

/** When a recurring job is due next. Throws for a cron expression outside the grammar or without a next time. */
export function nextRun(schedule: Schedule, now: number): number {
  if ('everyMs' in schedule) return now + schedule.everyMs;
  const next = new Cron(schedule.cron, { timezone: 'UTC', paused: true }).nextRun(new Date(now));
  if (next === null) throw new Error(`the cron expression "${schedule.cron}" names no time to come`);
  return next.getTime();
}

/**
 * Doubles from one second to a quarter of an hour, or what else is the most, each pause between half and all of that so
 * that failures spread out.
 */
export function pauseAfter(attempts: number, random: number, mostMs = RETRY_MOST_MS): number {
  return Math.round(Math.min(RETRY_FIRST_MS * 2 ** Math.min(attempts - 1, 30), mostMs) * (0.5 + random / 2));
}
