import type { MoveOutcome, Tiers } from '../../content/index.ts';
import type { Log } from '../../platform/index.ts';
import type { Pace } from '../scrub/index.ts';
import type { MoveReason, Plan, PlanBlob } from './planner.ts';

/** Moves under way at once: most of the time of one that is small is waiting. */
const TOGETHER = 4;
/** So many that fail one after the other mean that a tier is out of reach. */
const MANY_FAILED = 10;

export interface MoverParts {
  readonly tiers: Tiers;
  readonly pace: Pace;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** Told of a blob whose bytes are not what they should be. */
  damaged(digest: string): Promise<void>;
  /** Told of each move that was done. */
  moved(to: 'hot' | 'cold', bytes: number): void;
  /** Told from time to time. */
  progress(): Promise<void>;
}

export interface Moved {
  demoted: number;
  demotedBytes: number;
  promoted: number;
  promotedBytes: number;
  failed: number;
  readonly moved: Record<string, number>;
  readonly kept: Record<string, number>;
}

type Movable = Pick<PlanBlob, 'size'> & { readonly digest: string };

/** Carries out moves, some at once, and counts them. */
export interface Mover {
  readonly counts: Moved;
  keep(reason: string): void;
  /** Moves a blob; resolves when there is room for the next. `plan` is told where it did not move after all. */
  move(to: 'hot' | 'cold', blob: Movable & PlanBlob, reason: MoveReason | 'asked', plan?: Plan): Promise<void>;
  /** Whether the other tier has no room: then nothing more is to be moved that way. */
  isFull(): boolean;
  /** Waits for what is under way. Rejects where too many moves failed. */
  settle(): Promise<void>;
}

export function createMover({ tiers, pace, log, signal, damaged, moved, progress }: MoverParts): Mover {
  const counts: Moved = { demoted: 0, demotedBytes: 0, promoted: 0, promotedBytes: 0, failed: 0, moved: {}, kept: {} };
  const running = new Set<Promise<void>>();
  let full = false;
  let failing = 0;
  let failure: Error | undefined;
  const count = (into: Record<string, number>, reason: string) => {
    into[reason] = (into[reason] ?? 0) + 1;
  };

  function done(to: 'hot' | 'cold', { size }: Movable, reason: string): void {
    if (to === 'cold') {
      counts.demoted++;
      counts.demotedBytes += size;
    } else {
      counts.promoted++;
      counts.promotedBytes += size;
    }
    count(counts.moved, reason);
    moved(to, size);
  }

  async function settleOne(outcome: MoveOutcome, to: 'hot' | 'cold', blob: Movable & PlanBlob, reason: string, plan?: Plan): Promise<void> {
    failing = 0;
    if (outcome === 'moved') return done(to, blob, reason);
    if (outcome === 'there') return; // another run was quicker
    if (outcome === 'full') full = true;
    if (outcome === 'damaged') await damaged(blob.digest);
    if (outcome !== 'missing') plan?.undo(blob);
    count(counts.kept, outcome);
  }

  async function run(to: 'hot' | 'cold', blob: Movable & PlanBlob, reason: string, plan?: Plan): Promise<void> {
    const started = performance.now();
    try {
      const outcome = await (to === 'cold' ? tiers.demote(blob.digest, signal) : tiers.promote(blob.digest, signal));
      await settleOne(outcome, to, blob, reason, plan);
      if (outcome === 'moved') await pace.after(blob.size, performance.now() - started).catch(() => undefined); // ended: who goes on asks the signal
      await progress().catch(() => undefined);
    } catch (error) {
      plan?.undo(blob);
      if (signal.aborted) return;
      counts.failed++;
      log.warn({ err: error, digest: blob.digest, to }, 'a blob could not be moved to the other tier; it lies where it lay');
      if (++failing >= MANY_FAILED) failure ??= error instanceof Error ? error : new Error(String(error));
    }
  }

  return {
    counts,
    keep: (reason) => count(counts.kept, reason),
    async move(to, blob, reason, plan) {
      signal.throwIfAborted();
      if (failure !== undefined) throw failure;
      const task: Promise<void> = run(to, blob, reason, plan).finally(() => running.delete(task));
      running.add(task);
      if (running.size >= TOGETHER) await Promise.race(running);
    },
    isFull: () => full,
    async settle() {
      await Promise.all(running);
      signal.throwIfAborted();
      if (failure !== undefined) throw failure;
    },
  };
}
