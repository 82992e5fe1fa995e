import { LRUCache } from 'lru-cache';
import type { TierPolicy } from '../../content/index.ts';
import type { Clock, Metrics } from '../../platform/index.ts';
import type { TierSettings } from './planner.ts';

/** For so long what is known of the room in the hot tier is believed. */
const FRESH_MS = 30_000;
/** Blobs of which is remembered that they were asked for. */
const ASKED = 20_000;
const ASKED_MS = 24 * 3_600_000;

interface Parts {
  readonly clock: Clock;
  readonly metrics: Pick<Metrics, 'tierRead'>;
  readonly settings: TierSettings;
  /** What the hot tier holds and may hold; undefined where nobody has counted yet. */
  look(): Promise<{ readonly hotBytes: number; readonly capacityBytes: number } | undefined>;
}

/**
 * What of the cold blobs that clients pull becomes hot: everything while there is room. Where there is little, only what is
 * asked for a second time within a day, so that somebody who reads everything once does not push out what is in use; where
 * there is none, nothing, and the blob is served from where it lies until a run has made room.
 */
export function createTierPolicy({ clock, metrics, settings, look }: Parts): TierPolicy {
  const asked = new LRUCache<string, true>({ max: ASKED, ttl: ASKED_MS });
  let known: { readonly hotBytes: number; readonly capacityBytes: number } | undefined;
  let lookedAt = Number.NEGATIVE_INFINITY;
  /** Let in since the last look. */
  let added = 0;

  function refresh(): void {
    if (clock.now() - lookedAt < FRESH_MS) return;
    lookedAt = clock.now();
    look().then(
      (found) => {
        if (found && (found.hotBytes !== known?.hotBytes || found.capacityBytes !== known.capacityBytes)) added = 0;
        known = found;
      },
      () => undefined, // what was known holds until the next look
    );
  }

  return {
    admits(digest, bytes) {
      refresh();
      const isKnown = asked.get(digest) === true;
      asked.set(digest, true);
      if (known === undefined || known.capacityBytes === 0) return true;
      const after = known.hotBytes + added + bytes;
      if (after > known.capacityBytes || (after > known.capacityBytes * settings.high && !isKnown)) return false;
      added += bytes;
      return true;
    },
    onRead: (_, tier) => metrics.tierRead(tier),
  };
}
