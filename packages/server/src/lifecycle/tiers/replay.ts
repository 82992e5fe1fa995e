import type { Access } from './access-record.ts';
import { addReads, heatOf } from './heat.ts';
import { type PlanBlob, planDemotions, planPromotions, type TierSettings } from './planner.ts';

const DAY_MS = 24 * 3_600_000;

/** A blob of a simulation; what happens to it is written here. */
export interface SimulatedBlob extends PlanBlob {
  score: number;
  /** Of its own reads, and of the images that use it. */
  readScore: number;
  pullScore: number | null;
  hot: boolean;
  movedAt: number | null;
}

/** What a day would have been like. */
export interface ReplayedDay {
  readonly day: number;
  readonly reads: number;
  readonly hotReads: number;
  readonly bytes: number;
  readonly hotBytes: number;
  /** Blobs that would have been fetched from the cold tier because somebody read them, and those brought back ahead of that. */
  readonly fetched: number;
  readonly fetchedBytes: number;
  readonly demoted: number;
  readonly demotedBytes: number;
  /** In the hot tier at its end. */
  readonly hotAtEnd: number;
}

export interface Replay {
  /** Lets a day pass: what was read on it, and at its end a run of the planner. */
  day(day: number, accesses: Iterable<{ readonly blob: SimulatedBlob; readonly access: Access }>): ReplayedDay;
}

interface Options {
  readonly blobs: readonly SimulatedBlob[];
  /** Bytes of the hot tier that never move. */
  readonly fixedBytes: number;
  readonly settings: TierSettings;
  readonly halfLifeMs: number;
  readonly firstDay: number;
}

export function simulated(blob: Pick<PlanBlob, 'size' | 'storedAt' | 'pinned'>, halfLifeMs: number): SimulatedBlob {
  const score = blob.storedAt / halfLifeMs;
  return {
    size: blob.size,
    storedAt: blob.storedAt,
    pinned: blob.pinned,
    score,
    readScore: score,
    pullScore: null,
    hot: true,
    movedAt: null,
  };
}

const coldestFirst = (a: PlanBlob, b: PlanBlob) => a.score - b.score;

/**
 * Lives through days again with other settings. It begins with the youngest blobs hot, as many as there is room for, since
 * nothing is known of what was before.
 */
export function createReplay({ blobs, fixedBytes, settings, halfLifeMs, firstDay }: Options): Replay {
  const start = firstDay * DAY_MS;
  let hotBytes = fixedBytes;
  const waiting = blobs.filter(({ storedAt }) => storedAt >= start).sort((a, b) => a.storedAt - b.storedAt);
  const present = blobs.filter(({ storedAt }) => storedAt < start).sort((a, b) => b.storedAt - a.storedAt);
  const room = settings.capacityBytes === 0 ? Number.POSITIVE_INFINITY : settings.capacityBytes * settings.low;
  for (const blob of present) {
    blob.hot = blob.pinned || hotBytes + blob.size <= room;
    if (blob.hot) hotBytes += blob.size;
  }
  let arrived = 0;

  function plan(now: number) {
    const moment = { now, ticks: now / halfLifeMs };
    const done = { demoted: 0, demotedBytes: 0, promoted: 0, promotedBytes: 0 };
    const presses = settings.capacityBytes > 0 && hotBytes > settings.capacityBytes * settings.high;
    // Where nothing presses only what is idle can go, which needs no order.
    const hot = present
      .filter(({ hot: isHot, score }) => isHot && (presses || heatOf(score, moment.ticks) < settings.coldBelow))
      .sort(coldestFirst);
    for (const urgent of [false, true]) {
      if (urgent && !(settings.capacityBytes > 0 && hotBytes > settings.capacityBytes)) break;
      const demotions = planDemotions(settings, moment, hotBytes, { urgent });
      for (const blob of hot) {
        if (!blob.hot) continue;
        const verdict = demotions.offer(blob);
        if (verdict === 'done') break;
        if ('keep' in verdict) continue;
        move(blob, false, now);
        done.demoted++;
        done.demotedBytes += blob.size;
      }
      hotBytes = demotions.hotBytes();
    }
    const promotions = planPromotions(settings, moment, hotBytes);
    const cold = present.filter((blob) => !blob.hot && !blob.pinned && heatOf(blob.score, moment.ticks) >= settings.hotFrom);
    for (const blob of cold.sort((a, b) => coldestFirst(b, a))) {
      const verdict = promotions.offer(blob);
      if (verdict === 'done') break;
      if ('keep' in verdict) continue;
      move(blob, true, now);
      done.promoted++;
      done.promotedBytes += blob.size;
    }
    hotBytes = promotions.hotBytes();
    return done;
  }

  return {
    day(day, accesses) {
      const end = (day + 1) * DAY_MS;
      const ticks = (end - DAY_MS / 2) / halfLifeMs;
      for (let next = waiting[arrived]; next && next.storedAt < end; next = waiting[++arrived]) {
        present.push(next);
        hotBytes += next.size;
      }
      const seen = { reads: 0, hotReads: 0, bytes: 0, hotBytes: 0, fetched: 0, fetchedBytes: 0 };
      for (const { blob, access } of accesses) {
        const { reads, bytes, pulls } = access;
        seen.reads += reads;
        seen.bytes += bytes;
        // Of a cold blob the first read is served from the cold tier, and the others find it fetched.
        const missed = blob.hot || reads === 0 ? 0 : Math.min(1, 1 / reads);
        seen.hotReads += reads * (1 - missed);
        seen.hotBytes += bytes * (1 - missed);
        if (missed > 0) {
          seen.fetched++;
          seen.fetchedBytes += blob.size;
          move(blob, true, end);
          hotBytes += blob.size;
        }
        if (reads > 0) blob.readScore = addReads(blob.readScore, reads, ticks);
        if (pulls > 0) blob.pullScore = addReads(blob.pullScore, pulls, ticks);
        blob.score = Math.max(blob.readScore, blob.pullScore ?? blob.readScore);
      }
      const { demoted, demotedBytes, promoted, promotedBytes } = plan(end);
      return {
        ...{ day, ...seen, demoted, demotedBytes, hotAtEnd: hotBytes },
        ...{ fetched: seen.fetched + promoted, fetchedBytes: seen.fetchedBytes + promotedBytes },
      };
    },
  };
}

function move(blob: SimulatedBlob, hot: boolean, at: number): void {
  blob.hot = hot;
  blob.movedAt = at;
}
