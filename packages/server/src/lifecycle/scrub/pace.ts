import { setTimeout as delay } from 'node:timers/promises';

/** For each moment of reading at least so many of rest: where the disk or the processor is slow, others need it. */
const REST = 1;
/** While requests press, so many times slower. */
const BUSY = 8;
/** Pauses shorter than this are saved up: timers are no more exact. */
const LEAST_MS = 10;

/** Keeps reading slow enough. */
export interface Pace {
  /** Told of so many bytes read in so long; resolves when the next may be read. Rejects when the signal is aborted. */
  after(bytes: number, tookMs: number): Promise<void>;
}

interface Options {
  /** Bound of the average; infinity for none. */
  readonly bytesPerSecond: number;
  /** Whether requests press right now. */
  isBusy(): boolean;
  readonly signal: AbortSignal;
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
}

const sleepFor = async (ms: number, signal: AbortSignal): Promise<void> => await delay(ms, undefined, { signal });

/**
 * Spreads reads over time: never faster than the bound, at most half of the time at work, and eight times slower while
 * requests press. Without a bound it does not rest at all.
 */
export function createPace({ bytesPerSecond, isBusy, signal, sleep = sleepFor }: Options): Pace {
  let owed = 0;
  return {
    async after(bytes, tookMs) {
      signal.throwIfAborted();
      if (!Number.isFinite(bytesPerSecond)) return;
      const rest = Math.max((bytes / bytesPerSecond) * 1000 - tookMs, tookMs * REST);
      owed += isBusy() ? rest * BUSY : rest;
      if (owed < LEAST_MS) return;
      const pause = owed;
      owed = 0;
      await sleep(pause, signal);
    },
  };
}

/** For what is small, or waited for. */
export const UNPACED: Pace = { after: async () => undefined };
