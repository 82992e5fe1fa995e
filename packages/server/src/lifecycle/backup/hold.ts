import { releaseHold, renewHold, takeHold } from '../../catalog/index.ts';
import { type Clock, type Database, newId } from '../../platform/index.ts';

/** A hold that nobody renews ends after so long: a backup that died holds nothing up for longer. */
export const HOLD_MS = 15 * 60_000;

/**
 * Runs work while no blob becomes garbage. Its signal is aborted where the hold was lost, as when the machine slept: what was
 * to be copied may be gone then.
 */
export async function whileHeld<T>(
  { database, clock, holdMs = HOLD_MS }: { database: Database; clock: Clock; holdMs?: number },
  reason: string,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const id = newId();
  const lost = new AbortController();
  const until = () => clock.now() + holdMs;
  await database.write((tx) => takeHold(tx, { id, reason, now: clock.now(), until: until() }));
  const renew = async () => {
    const held = await database.write((tx) => renewHold(tx, id, clock.now(), until()));
    if (!held) throw new Error('the hold on collection has lapsed; run it again, what was copied is kept');
  };
  let renewed = performance.now();
  const timer = setInterval(() => {
    renew().then(
      () => {
        renewed = performance.now();
      },
      // A database that does not answer for a while is no loss, as long as the hold lasts.
      (error: unknown) => performance.now() - renewed >= holdMs && lost.abort(error),
    );
  }, holdMs / 5);
  try {
    const result = await work(lost.signal);
    await renew(); // whatever was copied was held to the last
    return result;
  } finally {
    clearInterval(timer);
    await database.write((tx) => releaseHold(tx, id)).catch(() => undefined); // else it lapses
  }
}
