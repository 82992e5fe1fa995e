import type { JobDefinition, Session } from '../../platform/index.ts';
import type { ContentTables } from '../schema.ts';

/** Where a blob lies: `archived` in the cold tier, but not to be read before it was restored there. */
export type Tier = ContentTables['blob_tier']['tier'];

/**
 * How a move ended. `moved`: it lies there now. `there`: it lay there before. `missing`: no tier has it. `busy`: somebody else
 * moves, stores or removes it. `damaged`: its bytes are not what they should be; scrub is to look at it. `archived`: it must be
 * restored first, which was asked for. `full`: the other tier has no room. All that may pass is to be tried again later.
 */
export type MoveOutcome = 'moved' | 'there' | 'missing' | 'busy' | 'damaged' | 'archived' | 'full';

/** Where a blob lies, and what is known of that. Who has no row in the table lies hot, and nothing more is known. */
export interface Place {
  readonly digest: string;
  readonly tier: Tier;
  /** Since when; milliseconds since 1970. */
  readonly since: number;
  /** Bytes as they lie; 0 where nothing was moved yet. */
  readonly bytes: number;
  /** What somebody does to its copies at the moment: `demote`, `promote`, `store`, `remove` or `sweep`. */
  readonly task: string | null;
  /** The tier that still has a copy which does not count, until it is taken away. */
  readonly leftover: 'hot' | 'cold' | null;
  /** When it was asked for from the archive; null where it was not. */
  readonly restoreAt: number | null;
}

export interface TierTotal {
  readonly tier: Tier;
  readonly blobs: number;
  /** As they lie. */
  readonly bytes: number;
}

/** How much of the hot tier's disk is free, in bytes. */
export interface Room {
  readonly free: number;
  readonly total: number;
}

/** What decides on what should lie where; without one, all that is pulled is fetched into the hot tier. */
export interface TierPolicy {
  /** Whether a cold blob that a client pulls right now is to become hot. Asked on the request's path: it answers at once, from memory. */
  admits(digest: string, bytes: number): boolean;
  /** Told of each pull of a blob, and where it was found. Answers at once. */
  onRead(digest: string, tier: Tier): void;
}

/** What a store of two tiers can be asked besides what any store does (decision 0018). All of it may be called by any instance. */
export interface Tiers {
  /** Moves a blob into the cold tier. Rejects where a tier cannot be reached, or `signal` ended it: the blob then lies where it lay. */
  demote(digest: string, signal: AbortSignal): Promise<MoveOutcome>;
  /** Moves a blob into the hot tier. */
  promote(digest: string, signal: AbortSignal): Promise<MoveOutcome>;
  /** Asks for an archived blob to be restored, once for all who ask; says what it is by now. */
  restore(digest: string): Promise<'restoring' | 'readable' | 'missing'>;
  /** Where blobs lie, as far as they are not simply hot: those have no entry. A few hundred digests at once at most. */
  placesOf(session: Session, digests: readonly string[]): Promise<Map<string, Place>>;
  /** Blobs of a tier by digest, after one of them. Of the hot tier only those that have just been moved there. */
  pageOf(session: Session, tier: Tier, after: string, limit: number): Promise<Place[]>;
  /** What lies in the cold tier, and archived in it. What is hot is all the rest of what is stored. */
  totals(session: Session): Promise<readonly TierTotal[]>;
  /** Undefined where the hot tier has no end that is known, as in a bucket. */
  room(): Promise<Room | undefined>;
  /** Takes a policy in place of the one before. */
  use(policy: TierPolicy): void;
  /** What takes leftovers away, and mends rows. */
  readonly jobs: readonly JobDefinition[];
}
