import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { AppError, type Clock, type Database } from '../../platform/index.ts';
import { claim, note, renew, type Settled, scopeOf, settle, type TierRow, want } from './rows.ts';

export interface LeaseTimes {
  /** How long a row belongs to an owner that says nothing more. */
  readonly leaseMs: number;
  /** How often an owner says that it is there, and hears whether somebody waits. */
  readonly renewMs: number;
  /** How long a push or a removal waits for an owner to give up. */
  readonly waitMs: number;
}

export const LEASE_TIMES: LeaseTimes = { leaseMs: 120_000, renewMs: 2000, waitMs: 20_000 };

/** The right to change the copies of one blob, which one process has at a time. */
export interface Lease {
  /** The row as it was found. */
  readonly row: TierRow;
  /** Aborted when the right was lost, or somebody waits for it who comes first. */
  readonly signal: AbortSignal;
  /**
   * Throws unless the right lasts for long enough to change a tier now: never in its second half, so that what a process that
   * stood still, or a store that answers late, does in the end comes before whatever another owner does.
   */
  requireFresh(): void;
  /** Says what would be left in the other tier, should this process vanish. */
  noteLeftover(leftover: 'hot' | 'cold'): Promise<void>;
  /** Gives the right up and leaves the row like this, durably; undefined: without a row. False, without a change, where it was lost. */
  settle(to: Settled | undefined): Promise<boolean>;
  /** Gives the right up where no copy was touched: the row is as before, or there is none again. */
  release(): Promise<void>;
}

export class LeaseLost extends Error {
  override name = 'LeaseLost';
}

export interface Leases {
  /** Undefined where somebody else has the row, or there is none and `insert` does not make it. */
  take(digest: string, task: string, options: { insert: boolean }): Promise<Lease | undefined>;
  /** Asks whoever has the row to give up, and waits for that. Undefined where there is no row, and none is to be made. */
  wait(digest: string, task: string, options: { insert: boolean }): Promise<Lease | undefined>;
  /** Ends all that this process has. */
  close(): void;
}

/** Rights to change the copies of blobs, as rows with a time, so that all instances agree on them. */
export function createLeases(database: Database, clock: Clock, times: LeaseTimes = LEASE_TIMES): Leases {
  /** Those of this process, to be told at once. */
  const held = new Map<string, AbortController>();
  const soft = (digest: string) => ({ durable: false, scope: scopeOf(digest) });
  /** A right that the database lost would be somebody else's too. */
  const kept = (digest: string) => ({ durable: 'process', scope: scopeOf(digest) }) as const;

  async function take(digest: string, task: string, { insert }: { insert: boolean }): Promise<Lease | undefined> {
    const owner = randomUUID();
    const begun = performance.now();
    const claimed = await database.write(async (tx) => {
      const now = clock.now();
      return await claim(tx, { digest, owner, until: now + times.leaseMs, task, now }, insert);
    }, kept(digest));
    return claimed && createLease(claimed, owner, begun);
  }

  function createLease({ row, isNew }: { row: TierRow; isNew: boolean }, owner: string, begun: number): Lease {
    const { digest } = row;
    const aborter = new AbortController();
    held.set(digest, aborter);
    let since = begun;
    let over = false;
    const lose = (why: string) => aborter.abort(new LeaseLost(`the right to move ${digest} ${why}`));
    const timer = setInterval(() => void renewOnce(), times.renewMs);
    timer.unref();

    async function renewOnce(): Promise<void> {
      const at = performance.now();
      try {
        const isMine = await database.write((tx) => renew(tx, { digest, owner, until: clock.now() + times.leaseMs }), soft(digest));
        if (isMine) since = at;
        else if (!over) lose('was lost, or is wanted');
      } catch {
        // The database is away for a moment: the right lasts for a while yet.
      }
      if (!isFresh() && !over) lose('could not be renewed');
    }

    const isFresh = () => performance.now() - since < times.leaseMs / 2;

    async function end<T>(work: () => Promise<T>): Promise<T> {
      over = true;
      clearInterval(timer);
      if (held.get(digest) === aborter) held.delete(digest);
      return await work();
    }

    const settleTo = (to: Settled | undefined, durable: boolean) =>
      end(() => database.write((tx) => settle(tx, { digest, owner }, to), { durable, scope: scopeOf(digest) }));

    return {
      row,
      signal: aborter.signal,
      requireFresh() {
        aborter.signal.throwIfAborted();
        if (!isFresh()) throw new LeaseLost(`the right to move ${digest} is about to end`);
      },
      async noteLeftover(leftover) {
        const at = clock.now() + times.leaseMs;
        const isMine = await database.write((tx) => note(tx, { digest, owner, leftover, at }), kept(digest));
        if (!isMine) throw new LeaseLost(`the right to move ${digest} was lost`);
      },
      settle: (to) => settleTo(to, true),
      async release() {
        await settleTo(isNew ? undefined : row, false);
      },
    };
  }

  return {
    take,

    async wait(digest, task, options) {
      const until = performance.now() + times.waitMs;
      for (let pause = 10; ; pause = Math.min(2 * pause, 500)) {
        const lease = await take(digest, task, options);
        if (lease) return lease;
        const hasOwner = await database.write((tx) => want(tx, digest), soft(digest));
        if (!hasOwner && !options.insert) return undefined;
        held.get(digest)?.abort(new LeaseLost(`${digest} is wanted by somebody who comes first`));
        if (performance.now() > until) {
          throw new AppError('unavailable', 'the blob is being moved to another tier; try again', { headers: { 'Retry-After': '5' } });
        }
        await delay(pause);
      }
    },

    close() {
      for (const aborter of held.values()) aborter.abort(new LeaseLost('the server ends'));
    },
  };
}
