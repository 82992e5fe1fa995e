import { heatOf } from './heat.ts';

/** What decides where blobs lie. */
export interface TierSettings {
  /** What the hot tier may hold, in bytes; 0: whatever comes. */
  readonly capacityBytes: number;
  /** Shares of it: above `high` the coldest go until `low` is reached, and nothing is fetched ahead beyond `low`. */
  readonly high: number;
  readonly low: number;
  /** What is colder goes, whether there is room or not. */
  readonly coldBelow: number;
  /** What is at least so hot comes back where there is room, though nobody has read it yet. More than `coldBelow`. */
  readonly hotFrom: number;
  /** What is smaller always stays hot. */
  readonly minBytes: number;
  /** What is younger stays, and so does what was moved more recently than `restMs`, while the capacity is not exceeded. */
  readonly minAgeMs: number;
  readonly restMs: number;
}

/** A blob as plans see it. */
export interface PlanBlob {
  readonly size: number;
  readonly score: number;
  readonly storedAt: number;
  /** When it last changed its tier; null: never. */
  readonly movedAt: number | null;
  /** Whether somebody wants it hot, whatever its heat. */
  readonly pinned: boolean;
}

export type MoveReason = 'idle' | 'capacity' | 'heat' | 'pinned';
export type KeepReason = 'pinned' | 'small' | 'young' | 'moved lately' | 'no room';

/** What becomes of a blob; `done`: nothing of it, nor of any that comes after it in the order of the plan. */
export type Verdict = { readonly move: MoveReason } | { readonly keep: KeepReason } | 'done';

export interface Moment {
  readonly now: number;
  /** The same in half-lives. */
  readonly ticks: number;
}

/** Half of a plan: is offered blobs in an order, one after the other. */
export interface Plan {
  /** Asked of each; what it says is moved counts as moved. */
  offer(blob: PlanBlob): Verdict;
  /** Takes a move back that was not done. */
  undo(blob: PlanBlob): void;
  /** Bytes of the hot tier as they are after what was offered. */
  hotBytes(): number;
}

/**
 * What of the hot tier goes: offered the coldest first. What is young or was moved lately stays, unless `urgent`: that is the
 * second look where the first has left more than the capacity, and ends with the capacity.
 */
export function planDemotions(settings: TierSettings, { now, ticks }: Moment, hotBytes: number, { urgent = false } = {}): Plan {
  const { capacityBytes, coldBelow } = settings;
  let hot = hotBytes;
  const bounded = capacityBytes > 0;
  const presses = bounded && hot > capacityBytes * (urgent ? 1 : settings.high);
  const target = capacityBytes * (urgent ? 1 : settings.low);
  const keeps = ({ size, storedAt, movedAt, pinned }: PlanBlob): KeepReason | undefined => {
    if (pinned) return 'pinned';
    if (size < settings.minBytes) return 'small';
    if (urgent) return undefined;
    if (now - storedAt < settings.minAgeMs) return 'young';
    return movedAt !== null && now - movedAt < settings.restMs ? 'moved lately' : undefined;
  };
  return {
    offer(blob) {
      const isIdle = !urgent && heatOf(blob.score, ticks) < coldBelow;
      if (!isIdle && !(presses && hot > target)) return 'done';
      const keep = keeps(blob);
      if (keep) return { keep };
      hot -= blob.size;
      return { move: isIdle ? 'idle' : 'capacity' };
    },
    undo: ({ size }) => {
      hot += size;
    },
    hotBytes: () => hot,
  };
}

/**
 * What of the cold tier comes back: offered the hottest first, pinned ones in a plan of their own before. It ends at the first
 * that does not fit, whatever smaller ones follow: what went for want of room would else come and go.
 */
export function planPromotions(settings: TierSettings, { now, ticks }: Moment, hotBytes: number): Plan {
  const { capacityBytes } = settings;
  let hot = hotBytes;
  const room = (pinned: boolean) =>
    capacityBytes > 0 ? capacityBytes * (pinned ? settings.high : settings.low) : Number.POSITIVE_INFINITY;
  return {
    offer({ size, score, movedAt, pinned }) {
      if (!pinned && heatOf(score, ticks) < settings.hotFrom) return 'done';
      if (hot + size > room(pinned)) return pinned ? { keep: 'no room' } : 'done';
      if (!pinned && movedAt !== null && now - movedAt < settings.restMs) return { keep: 'moved lately' };
      hot += size;
      return { move: pinned ? 'pinned' : 'heat' };
    },
    undo: ({ size }) => {
      hot -= size;
    },
    hotBytes: () => hot,
  };
}
