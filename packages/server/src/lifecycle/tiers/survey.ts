import { setImmediate as turn } from 'node:timers/promises';
import type { Clock, Database } from '../../platform/index.ts';
import { ticksAt } from './heat.ts';
import { HEAT_SCOPE, setHalfLife } from './heat-store.ts';
import { pageOfStored, seedBlob } from './plan-store.ts';
import { saveTierState, type TierState } from './state.ts';

const PAGE = 500;

interface Parts {
  readonly database: Database;
  readonly clock: Clock;
  readonly halfLifeMs: number;
  readonly minBytes: number;
  readonly signal: AbortSignal;
}

/** What lies where, and where in the order of heat that begins which could move. */
export interface Survey {
  readonly state: TierState;
  /** Score of the coldest blob in the hot tier, and of the hottest in the cold one; infinite where there is none. */
  readonly coldestHot: number;
  readonly hottestCold: number;
  /** Bytes that are still in the hot tier, and go by themselves: copies of what was moved a short while ago. */
  readonly leavingBytes: number;
}

/**
 * Counts what lies where, page by page, and gives blobs that are new a heat: as if they had been read once when they were
 * stored.
 */
export async function surveyTiers({ database, clock, halfLifeMs, minBytes, signal }: Parts): Promise<Survey> {
  const options = { durable: false, scope: HEAT_SCOPE };
  const heat = await database.write((tx) => setHalfLife(tx, halfLifeMs, clock.now()), options);
  const amounts = { hot: none(), small: none(), cold: none(), archived: none() };
  let [coldestHot, hottestCold] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  let leavingBytes = 0;
  for (let after = ''; ; ) {
    signal.throwIfAborted();
    const page = await pageOfStored(database, after, PAGE);
    const live = page.filter(({ state }) => state === 'live');
    for (const { size, tier, score, storedAt, leftover } of live) {
      if (leftover === 'hot') leavingBytes += size;
      add(amounts[tier ?? 'hot'], size);
      const isHot = tier === null || tier === 'hot';
      const known = score ?? ticksAt(heat, storedAt);
      if (isHot && size < minBytes) add(amounts.small, size);
      else if (isHot) coldestHot = Math.min(coldestHot, known);
      else hottestCold = Math.max(hottestCold, known);
    }
    const unknown = live.filter(({ heatId, size }) => heatId === null && size >= minBytes);
    if (unknown.length > 0) {
      await database.write(async (tx) => {
        for (const { digest, storedAt } of unknown) await seedBlob(tx, digest, ticksAt(heat, storedAt));
      }, options);
    }
    after = page.at(-1)?.digest ?? after;
    if (page.length < PAGE) break;
    await turn(); // a database in this process answers at once, and others have their turn
  }
  const state = { countedAt: clock.now(), ...amounts };
  await database.write((tx) => saveTierState(tx, state), options);
  return { state, coldestHot, hottestCold, leavingBytes };
}

function none(): { blobs: number; bytes: number } {
  return { blobs: 0, bytes: 0 };
}

function add(amount: { blobs: number; bytes: number }, size: number): void {
  amount.blobs++;
  amount.bytes += size;
}
