import { setImmediate as turn } from 'node:timers/promises';
import type { Tiers } from '../../content/index.ts';
import {
  type AuditActor,
  append,
  audit,
  type Clock,
  type Database,
  type JobContext,
  type Log,
  type Metrics,
} from '../../platform/index.ts';
import { createPace, suspectBlob } from '../scrub/index.ts';
import { ticksAt } from './heat.ts';
import { setHalfLife } from './heat-store.ts';
import { createMover, type Moved, type Mover } from './mover.ts';
import { hasPins, pageOfLinks, pageOfPinnedRepositories } from './plan-store.ts';
import { type Moment, planDemotions, planPromotions, type TierSettings } from './planner.ts';
import { beginRun, saveRun } from './runs.ts';
import { saveTierState, type TierState } from './state.ts';
import { surveyTiers } from './survey.ts';
import { walkTier } from './walk.ts';

const PAGE = 500;
const SAVE_MS = 5000;

const TIERER: AuditActor = { kind: 'system', id: null, name: 'tiers', credential: null };

export interface MoveParts {
  readonly database: Database;
  readonly tiers: Tiers;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Pick<Metrics, 'tierMoved'>;
  readonly settings: TierSettings;
  readonly halfLifeMs: number;
  readonly bytesPerSecond: number;
  isBusy(): boolean;
}

type Work = (mover: Mover, hotBytes: number) => Promise<number>;

/** What the hot tier has, and may have: where no capacity is set, of the disk that it lies on, less what goes by itself. */
export async function boundsOf(
  tiers: Tiers,
  settings: TierSettings,
  counted: number,
  leavingBytes = 0,
): Promise<{ readonly hotBytes: number; readonly settings: TierSettings }> {
  if (settings.capacityBytes > 0) return { hotBytes: counted, settings };
  const room = await tiers.room();
  return room
    ? { hotBytes: room.total - room.free - leavingBytes, settings: { ...settings, capacityBytes: room.total } }
    : { hotBytes: counted, settings };
}

/** Moves what is to be moved by now: first out of the hot tier, then into it. Gives what it did. */
export async function moveByHeat(parts: MoveParts, context: JobContext, by: string): Promise<unknown> {
  const { database, clock, settings: set, halfLifeMs } = parts;
  const { signal } = context;
  const { state, coldestHot, hottestCold, leavingBytes } = await surveyTiers({
    database,
    clock,
    halfLifeMs,
    minBytes: set.minBytes,
    signal,
  });
  const { hotBytes, settings } = await boundsOf(parts.tiers, set, state.hot.bytes, leavingBytes);
  const heat = await database.write((tx) => setHalfLife(tx, halfLifeMs, clock.now()), { durable: false });
  const pins = await hasPins(database);
  const moment: Moment = { now: clock.now(), ticks: ticksAt(heat, clock.now()) };

  let hottest = hottestCold;

  async function demote(mover: Mover, hot: number, urgent: boolean): Promise<number> {
    const plan = planDemotions(settings, moment, hot, { urgent });
    for await (const blob of walkTier(database, { order: 'asc', tier: 'hot', from: coldestHot, pins, signal })) {
      if (mover.isFull()) break;
      const verdict = plan.offer(blob);
      if (verdict === 'done') break;
      if ('keep' in verdict) mover.keep(verdict.keep);
      else {
        hottest = Math.max(hottest, blob.score);
        await mover.move('cold', blob, verdict.move, plan);
      }
    }
    await mover.settle();
    return plan.hotBytes();
  }

  async function promote(mover: Mover, hot: number): Promise<number> {
    const plan = planPromotions(settings, moment, hot);
    if (pins) {
      for await (const { digest, size, since } of pinnedCold(database, signal)) {
        if (mover.isFull()) break;
        const blob = { digest, size, score: 0, storedAt: 0, movedAt: since, pinned: true };
        const verdict = plan.offer(blob);
        if (verdict === 'done') break;
        if ('keep' in verdict) mover.keep(verdict.keep);
        else await mover.move('hot', blob, verdict.move, plan);
      }
    }
    for await (const blob of walkTier(database, { order: 'desc', tier: 'cold', from: hottest, pins: false, signal })) {
      if (mover.isFull()) break;
      const verdict = plan.offer(blob);
      if (verdict === 'done') break;
      if ('keep' in verdict) mover.keep(verdict.keep);
      else await mover.move('hot', blob, verdict.move, plan);
    }
    await mover.settle();
    return plan.hotBytes();
  }

  return await recordRun(parts, context, { by, hotBytes, state }, async (mover, before) => {
    let hot = await demote(mover, before, false);
    if (settings.capacityBytes > 0 && hot > settings.capacityBytes) hot = await demote(mover, hot, true);
    return await promote(mover, hot);
  });
}

/** Blobs of repositories that are to be hot, and are not. */
async function* pinnedCold(database: Database, signal: AbortSignal) {
  for (let last = 0; ; ) {
    const repositories = await pageOfPinnedRepositories(database, last, PAGE);
    for (const repositoryId of repositories) {
      for (let after = ''; ; ) {
        signal.throwIfAborted();
        const links = await pageOfLinks(database, repositoryId, after, PAGE);
        for (const link of links) if (link.tier === 'cold' || link.tier === 'archived') yield link;
        after = links.at(-1)?.digest ?? after;
        if (links.length < PAGE) break;
        await turn();
      }
    }
    last = repositories.at(-1) ?? last;
    if (repositories.length < PAGE) return;
  }
}

/** Does moves and keeps what they were: a row that grows while it runs, and at the end a record and an event of all of them. */
export async function recordRun(
  { database, tiers, clock, log, metrics, bytesPerSecond, isBusy }: MoveParts,
  { signal, progress }: JobContext,
  { by, hotBytes, state }: { readonly by: string; readonly hotBytes: number; readonly state: TierState },
  work: Work,
): Promise<unknown> {
  const startedAt = clock.now();
  let id: number | undefined;
  let saved = performance.now();
  const mover = createMover({
    ...{ tiers, log, signal },
    pace: createPace({ bytesPerSecond, isBusy, signal }),
    damaged: async (digest) => void (await database.write((tx) => suspectBlob(tx, digest, clock.now()), { durable: false })),
    moved: metrics.tierMoved,
    async progress() {
      await progress(shown());
      if (performance.now() - saved < SAVE_MS) return;
      saved = performance.now();
      await save(null, hotBytes, null);
    },
  });
  const { counts } = mover;
  const shown = () => {
    const { moved, kept, ...sums } = counts;
    return { ...sums, reasons: { moved: { ...moved }, kept: { ...kept } } };
  };
  const hasMoved = () => counts.demoted + counts.promoted + counts.failed > 0;

  async function save(finishedAt: number | null, hotAfter: number, error: string | null): Promise<void> {
    // Most runs find nothing to do, and leave no row.
    if (!hasMoved() && id === undefined) return;
    const result = shown();
    id = await database.write(async (tx) => {
      await saveTierState(tx, stateAfter(state, counts));
      const row = id ?? (await beginRun(tx, { by, at: startedAt, hotBytes }));
      await saveRun(tx, { id: row, ...result, finishedAt, hotAfter, error });
      if (finishedAt !== null) {
        const after = { run: row, ...result };
        const outcome = error === null ? 'success' : 'failure';
        const why = error === null ? {} : { reason: error };
        await audit(tx, { actor: TIERER, origin: null, action: 'tiers.move', resource: { type: 'tiers' }, outcome, ...why, after }, clock);
        await append(tx, { topic: 'tiers.moved', repository: '', payload: after }, finishedAt);
      }
      return row;
    });
  }

  let hotAfter = hotBytes;
  try {
    hotAfter = await work(mover, hotBytes);
    await save(clock.now(), hotAfter, null);
  } catch (error) {
    await mover.settle().catch(() => undefined);
    await save(clock.now(), hotBytes - counts.demotedBytes + counts.promotedBytes, textOf(error));
    throw error;
  }
  return { ...shown(), hotBytes: hotAfter };
}

/** What lay where when the run began, with what it moved since. */
function stateAfter({ hot, cold, ...others }: TierState, { demoted, demotedBytes, promoted, promotedBytes }: Moved): TierState {
  const [blobs, bytes] = [promoted - demoted, promotedBytes - demotedBytes];
  return {
    ...others,
    hot: { blobs: hot.blobs + blobs, bytes: hot.bytes + bytes },
    cold: { blobs: cold.blobs - blobs, bytes: cold.bytes - bytes },
  };
}

function textOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).slice(0, 500);
}
