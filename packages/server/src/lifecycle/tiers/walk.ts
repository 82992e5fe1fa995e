import { setImmediate as turn } from 'node:timers/promises';
import type { Order, Session } from '../../platform/index.ts';
import { BEFORE_HEAT, isPinned, pageByHeat } from './plan-store.ts';
import type { PlanBlob } from './planner.ts';

const PAGE = 500;

export interface WalkedBlob extends PlanBlob {
  readonly digest: string;
}

interface Options {
  readonly order: Order;
  readonly tier: 'hot' | 'cold';
  /** Whether to ask of each if somebody wants it hot. */
  readonly pins: boolean;
  /** No blob of the tier comes before this score in that order. */
  readonly from: number;
  readonly signal: AbortSignal;
}

/** Blobs of a tier by heat, read page by page as they are asked for. */
export async function* walkTier(
  session: Session,
  { order, tier, pins, from, signal }: Options,
): AsyncGenerator<WalkedBlob, void, undefined> {
  if (!Number.isFinite(from)) return;
  for (let after = { ...BEFORE_HEAT[order], score: from }; ; ) {
    signal.throwIfAborted();
    const page = await pageByHeat(session, order, after, PAGE);
    for (const { digest, score, size, state, storedAt, tier: place, since } of page) {
      if (state !== 'live' || size === null || storedAt === null || (place ?? 'hot') !== tier) continue;
      yield { digest, score, size, storedAt, movedAt: since, pinned: pins && (await isPinned(session, digest)) };
    }
    const last = page.at(-1);
    if (!last || page.length < PAGE) return;
    after = last;
    await turn();
  }
}
