import { setImmediate as turn } from 'node:timers/promises';
import type { Tiers } from '../../content/index.ts';
import type { Clock, Config, Database, JobContext, Session } from '../../platform/index.ts';
import { type Access, boundOf, dayOf, isSampled, pageOfAccess, RECORD_BLOBS, RECORD_DAYS, recordedDays } from './access-record.ts';
import { heatOf, ticksAt } from './heat.ts';
import { findHeatClock } from './heat-store.ts';
import { hasPins, pageOfLinks, pageOfPinnedRepositories, pageOfStored } from './plan-store.ts';
import { type Moment, planDemotions, planPromotions, type TierSettings } from './planner.ts';
import { createReplay, type ReplayedDay, type SimulatedBlob, simulated } from './replay.ts';
import { choicesOf, halfLifeMs, settingsOf, type TierChoices } from './settings.ts';
import type { Simulating } from './words.ts';

const PAGE = 1000;
const MOVES_SHOWN = 100;

interface Parts {
  readonly database: Database;
  readonly clock: Clock;
  readonly tiers: Tiers | undefined;
  readonly config: Config;
}

/** A move that a simulation would make. */
export interface SimulatedMove {
  readonly digest: string;
  readonly size: number;
  readonly to: 'hot' | 'cold';
  readonly reason: string;
  readonly heat: number;
}

interface Way {
  readonly blobs: number;
  readonly bytes: number;
}

/** What is answered; figures of samples are scaled to all. */
export interface Simulation {
  readonly choices: TierChoices;
  /** Of how many blobs one was looked at. */
  readonly oneOf: number;
  readonly now: {
    readonly demotions: Way;
    readonly promotions: Way;
    readonly reasons: Readonly<Record<string, number>>;
    readonly kept: Readonly<Record<string, number>>;
    readonly hotBytesBefore: number;
    readonly hotBytesAfter: number;
    /** Whether the hot tier then holds no more than its capacity. */
    readonly fits: boolean;
    readonly moves: readonly SimulatedMove[];
  };
  /** null: nothing was recorded yet. */
  readonly past: PastSummary | null;
}

interface PastSummary {
  readonly days: readonly ReplayedDay[];
  readonly reads: number;
  readonly hotReads: number;
  readonly bytes: number;
  readonly hotBytes: number;
  readonly fetched: number;
  readonly fetchedBytes: number;
  readonly demotedBytes: number;
}

interface Loaded extends SimulatedBlob {
  readonly digest: string;
  readonly heatId: number | null;
  /** As it is now, not as it is simulated. */
  readonly liesHot: boolean;
  /** Score on record; null: nobody has read it since it was stored. */
  readonly recorded: number | null;
  readonly since: number | null;
}

/** What would move now with other settings, and what the days on record would have been like. Changes nothing. */
export async function simulate(
  { database, clock, tiers, config }: Parts,
  { days = RECORD_DAYS, ...tried }: Simulating,
  { signal, progress }: Pick<JobContext, 'signal' | 'progress'>,
  mostBlobs = RECORD_BLOBS,
): Promise<Simulation> {
  const set = choicesOf(config);
  const choices: TierChoices = { ...set, ...tried };
  const lifeMs = halfLifeMs(choices);
  const now = clock.now();
  const recorded = await recordedDays(database, dayOf(now) - days + 1);
  const start = recorded.reduce((most, { halvings }) => Math.max(most, halvings), 0);
  const all = await loadBlobs(database, { halvings: start, mostBlobs, minBytes: choices.minBytes, lifeMs, signal });
  const oneOf = 2 ** all.halvings;
  const room = choices.capacityBytes === 0 ? await tiers?.room() : undefined;
  // Of a disk, what else lies on it is no room for blobs.
  const capacityBytes = room ? room.free + all.hotBytes : choices.capacityBytes;
  const settings: TierSettings = { ...settingsOf({ ...choices, capacityBytes }), capacityBytes: capacityBytes / oneOf };
  const fixedBytes = all.smallBytes / oneOf;

  const replay = createReplay({
    ...{ blobs: all.blobs, fixedBytes, settings },
    halfLifeMs: lifeMs,
    firstDay: recorded[0]?.day ?? dayOf(now),
  });
  const byId = new Map(all.blobs.map((blob) => [blob.heatId, blob]));
  const passed: ReplayedDay[] = [];
  for (const { day } of recorded) {
    const accesses = await loadDay(database, day, byId, signal);
    passed.push(scaled(replay.day(day, accesses), oneOf));
    await progress({ days: passed.length, of: recorded.length });
    await turn();
  }

  const heat = await findHeatClock(database);
  // With the half-life that is set the heat of now is known; with another it is what the record says.
  const isSame = heat !== undefined && heat.halfLifeMs === lifeMs;
  const moment: Moment = { now, ticks: isSame ? ticksAt(heat, now) : now / lifeMs };
  const scoreNow = ({ recorded: known, storedAt, score }: Loaded) => (isSame ? (known ?? ticksAt(heat, storedAt)) : score);
  const current = all.blobs.map((blob) => ({ ...blob, score: scoreNow(blob), movedAt: blob.since }));
  const planned = planNow(current, { settings, moment, hotBytes: all.hotBytes / oneOf });
  const whole = (part: number) => Math.round(part * oneOf);
  const sum = (key: Exclude<keyof ReplayedDay, 'day' | 'demoted' | 'hotAtEnd'>) => passed.reduce((total, day) => total + day[key], 0);
  return {
    choices,
    oneOf,
    now: {
      demotions: { blobs: whole(planned.demotions.blobs), bytes: whole(planned.demotions.bytes) },
      promotions: { blobs: whole(planned.promotions.blobs), bytes: whole(planned.promotions.bytes) },
      reasons: planned.reasons,
      kept: planned.kept,
      hotBytesBefore: all.hotBytes,
      hotBytesAfter: whole(planned.hotBytes),
      fits: capacityBytes === 0 || whole(planned.hotBytes) <= capacityBytes,
      moves: planned.moves,
    },
    past:
      passed.length === 0
        ? null
        : {
            ...{ days: passed, reads: sum('reads'), hotReads: sum('hotReads'), bytes: sum('bytes'), hotBytes: sum('hotBytes') },
            ...{ fetched: sum('fetched'), fetchedBytes: sum('fetchedBytes'), demotedBytes: sum('demotedBytes') },
          },
  };
}

interface LoadOptions {
  readonly halvings: number;
  readonly mostBlobs: number;
  readonly minBytes: number;
  readonly lifeMs: number;
  readonly signal: AbortSignal;
}

/** All blobs that can move, or a sample of them by their digests that fits into memory; and bytes of those that lie hot. */
async function loadBlobs(database: Database, { halvings: first, mostBlobs, minBytes, lifeMs, signal }: LoadOptions) {
  let halvings = first;
  let bound = boundOf(halvings);
  let blobs: Loaded[] = [];
  let [hotBytes, smallBytes] = [0, 0];
  const pinned = await pinnedDigests(database, signal);
  for (let after = ''; ; ) {
    signal.throwIfAborted();
    const page = await pageOfStored(database, after, PAGE);
    for (const { digest, size, state, storedAt, tier, score, heatId, since } of page) {
      if (state !== 'live') continue;
      const liesHot = (tier ?? 'hot') === 'hot';
      if (liesHot) hotBytes += size;
      if (size < minBytes) smallBytes += size;
      if (size < minBytes || tier === 'archived' || !isSampled(digest, bound)) continue;
      const blob = simulated({ size, storedAt, pinned: pinned.has(digest) }, lifeMs);
      blobs.push({ ...blob, digest, heatId, liesHot, since, recorded: score });
    }
    while (blobs.length > mostBlobs) {
      bound = boundOf(++halvings);
      blobs = blobs.filter(({ digest }) => isSampled(digest, bound));
    }
    after = page.at(-1)?.digest ?? after;
    if (page.length < PAGE) return { blobs, halvings, hotBytes, smallBytes };
    await turn();
  }
}

/** Blobs of repositories that are to be hot; so many at most, as a simulation may be wrong by more. */
const PINNED_MOST = 200_000;

async function pinnedDigests(session: Session, signal: AbortSignal): Promise<Set<string>> {
  const pinned = new Set<string>();
  if (!(await hasPins(session))) return pinned;
  for (let last = 0; ; ) {
    const repositories = await pageOfPinnedRepositories(session, last, PAGE);
    for (const repositoryId of repositories) {
      for (let after = ''; pinned.size < PINNED_MOST; ) {
        signal.throwIfAborted();
        const links = await pageOfLinks(session, repositoryId, after, PAGE);
        for (const { digest } of links) pinned.add(digest);
        after = links.at(-1)?.digest ?? after;
        if (links.length < PAGE) break;
        await turn();
      }
    }
    last = repositories.at(-1) ?? last;
    if (repositories.length < PAGE) return pinned;
  }
}

async function loadDay(session: Session, day: number, byId: ReadonlyMap<number | null, Loaded>, signal: AbortSignal) {
  const found: { blob: Loaded; access: Access }[] = [];
  for (let after = 0; ; ) {
    signal.throwIfAborted();
    const page = await pageOfAccess(session, day, after, PAGE);
    for (const access of page) {
      const blob = byId.get(access.id);
      if (blob) found.push({ blob, access });
    }
    after = page.at(-1)?.id ?? after;
    if (page.length < PAGE) return found;
    await turn();
  }
}

function planNow(blobs: readonly Loaded[], options: { settings: TierSettings; moment: Moment; hotBytes: number }) {
  const { settings, moment, hotBytes } = options;
  const result = { demotions: { blobs: 0, bytes: 0 }, promotions: { blobs: 0, bytes: 0 }, hotBytes };
  const [reasons, kept]: Record<string, number>[] = [{}, {}];
  const moves: SimulatedMove[] = [];
  const gone = new Set<Loaded>();
  const note = (blob: Loaded, to: 'hot' | 'cold', reason: string) => {
    const way = to === 'cold' ? result.demotions : result.promotions;
    way.blobs++;
    way.bytes += blob.size;
    if (reasons) reasons[reason] = (reasons[reason] ?? 0) + 1;
    if (moves.length < MOVES_SHOWN)
      moves.push({ digest: blob.digest, size: blob.size, to, reason, heat: heatOf(blob.score, moment.ticks) });
  };
  const sorted = [...blobs].sort((a, b) => a.score - b.score);
  const run = (plan: ReturnType<typeof planDemotions>, some: readonly Loaded[], to: 'hot' | 'cold') => {
    for (const blob of some) {
      if (gone.has(blob)) continue;
      const verdict = plan.offer(blob);
      if (verdict === 'done') break;
      if ('keep' in verdict) {
        if (kept) kept[verdict.keep] = (kept[verdict.keep] ?? 0) + 1;
      } else {
        if (to === 'cold') gone.add(blob);
        note(blob, to, verdict.move);
      }
    }
    result.hotBytes = plan.hotBytes();
  };
  const hot = sorted.filter(({ liesHot }) => liesHot);
  run(planDemotions(settings, moment, result.hotBytes), hot, 'cold');
  if (settings.capacityBytes > 0 && result.hotBytes > settings.capacityBytes)
    run(planDemotions(settings, moment, result.hotBytes, { urgent: true }), hot, 'cold');
  const cold = sorted.filter(({ liesHot }) => !liesHot).reverse();
  run(
    planPromotions(settings, moment, result.hotBytes),
    [...cold.filter(({ pinned }) => pinned), ...cold.filter(({ pinned }) => !pinned)],
    'hot',
  );
  return { ...result, reasons: reasons ?? {}, kept: kept ?? {}, moves };
}

function scaled({ day, ...figures }: ReplayedDay, oneOf: number): ReplayedDay {
  const whole = (figure: number) => Math.round(figure * oneOf * 100) / 100;
  return {
    day,
    ...{ reads: whole(figures.reads), hotReads: whole(figures.hotReads), bytes: whole(figures.bytes), hotBytes: whole(figures.hotBytes) },
    ...{ fetched: whole(figures.fetched), fetchedBytes: whole(figures.fetchedBytes), hotAtEnd: whole(figures.hotAtEnd) },
    ...{ demoted: whole(figures.demoted), demotedBytes: whole(figures.demotedBytes) },
  };
}
