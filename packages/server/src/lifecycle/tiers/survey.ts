import { setImmediate as turn } from 'node:timers/promises';
import type { Clock, Database } from '../../platform/index.ts';
import { ticksAt } from './heat.ts';
import { HEAT_SCOPE, setHalfLife } from './heat-store.ts';
import { pageOfStored, seedBlob } from './plan-store.ts';
import { saveTierState, type TierState } from './state.ts';

const PAGE = 1000;

interface Parts {
  readonly database: Database;
  readonly clock: Clock;
  readonly halfLifeMs: number;
  readonly minBytes: number;
  readonly signal: AbortSignal;
}

/**
 * Counts what lies where, page by page, and gives blobs that are new a heat: as if they had been read once when they were
 * stored.
 */
export async function surveyTiers({ database, clock, halfLifeMs, minBytes, signal }: Parts): Promise<TierState> {
  const options = { durable: false, scope: HEAT_SCOPE };
  const heat = await database.write((tx) => setHalfLife(tx, halfLifeMs, clock.now()), options);
  const amounts = { hot: none(), small: none(), cold: none(), archived: none() };
  for (let after = ''; ; ) {
    signal.throwIfAborted();
    const page = await pageOfStored(database, after, PAGE);
    const live = page.filter(({ state }) => state === 'live');
    for (const { size, tier } of live) {
      add(amounts[tier ?? 'hot'], size);
      if ((tier ?? 'hot') === 'hot' && size < minBytes) add(amounts.small, size);
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
  return state;
}

function none(): { blobs: number; bytes: number } {
  return { blobs: 0, bytes: 0 };
}

function add(amount: { blobs: number; bytes: number }, size: number): void {
  amount.blobs++;
  amount.bytes += size;
}
