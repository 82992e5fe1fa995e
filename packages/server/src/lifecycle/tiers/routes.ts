import Type, { type Static } from 'typebox';
import {
  AppError,
  BEFORE_ALL,
  type Caller,
  enqueue,
  findJob,
  listOf,
  listQuery,
  PAGE_DEFAULT,
  pageOf,
  type Route,
  readCursor,
  routesFor,
  sortOf,
} from '../../platform/index.ts';
import type { LifecycleParts } from '../parts.ts';
import { RECORD_BLOBS, RECORD_DAYS } from './access-record.ts';
import { type HeatClock, heatOf, ticksAt } from './heat.ts';
import { findHeatClock } from './heat-store.ts';
import { pageOfPins } from './pins.ts';
import { BEFORE_HEAT, type HeatRow, pageByHeat } from './plan-store.ts';
import { repositoryTierRoutes } from './repository-routes.ts';
import { pageOfRuns } from './runs.ts';
import { choicesOf, isHeatRecorded } from './settings.ts';
import type { Simulation } from './simulate.ts';
import { findTierState } from './state.ts';
import { requireTiers } from './tiers-on.ts';
import { Amount, ByTier, Choices, iso, isoOrNull, RunView, rounded, runView, SimulationView, TierName, Time } from './views.ts';
import { MOVE_NOW, SIMULATE, type Simulating } from './words.ts';

const StateView = Type.Object({
  enabled: Type.Boolean({ description: 'false: there is one tier, and all is hot' }),
  recorded: Type.Boolean({ description: 'whether reads are recorded' }),
  settings: Choices,
  counted: Type.Union([
    Type.Object({
      at: Time,
      ...ByTier.properties,
      small: Type.Object(Amount.properties, { description: 'of the hot ones, what is too small to be moved' }),
    }),
    Type.Null(),
  ]),
  disk: Type.Union([Type.Object({ bytes: Type.Integer(), freeBytes: Type.Integer() }), Type.Null()], {
    description: 'that the hot tier lies on; null: none that has an end',
  }),
  lastRun: Type.Union([RunView, Type.Null()], { description: 'that moved anything' }),
});
const BlobView = Type.Object({
  digest: Type.String(),
  size: Type.Integer(),
  tier: TierName,
  heat: Type.Number({ description: 'the most of its own reads and those of the images that use it' }),
  readAt: Type.Union([Time, Type.Null()]),
  storedAt: Time,
});
const PinView = Type.Object({
  project: Type.String(),
  repository: Type.Union([Type.String(), Type.Null()], { description: 'full name; null: all of the project' }),
  createdAt: Time,
  createdBy: Type.String(),
});
const Tried = Type.Object(
  {
    ...Type.Partial(Choices).properties,
    days: Type.Optional(Type.Integer({ minimum: 1, maximum: RECORD_DAYS, default: RECORD_DAYS, description: 'how far back' })),
  },
  { additionalProperties: false },
);
const JobView = Type.Object({ job: Type.Integer({ description: 'to follow under `/jobs`' }) });

const CHUNK = 1000;
const LOOKED_AT = 20_000;

function blobView({ digest, score, size, storedAt, readAt, tier }: HeatRow, clock: HeatClock, now: number): Static<typeof BlobView> {
  const heat = rounded(heatOf(score, ticksAt(clock, now)));
  return { digest, size: size ?? 0, tier: tier ?? 'hot', heat, readAt: isoOrNull(readAt), storedAt: iso(storedAt ?? 0) };
}

function simulationView({ past, ...simulation }: Simulation): Static<typeof SimulationView> {
  const ratio = (part: number, whole: number) => (whole === 0 ? null : rounded(part / whole));
  return {
    ...simulation,
    now: { ...simulation.now, reasons: { ...simulation.now.reasons }, kept: { ...simulation.now.kept }, moves: [...simulation.now.moves] },
    past: past && {
      ...past,
      readRatio: ratio(past.hotReads, past.reads),
      byteRatio: ratio(past.hotBytes, past.bytes),
      days: past.days.map(({ day, ...figures }) => ({ date: iso(day * 24 * 3_600_000).slice(0, 10), ...figures })),
    },
  };
}

/** Heat of what is stored, where it lies, and what moves it. */
export function tierRoutes(parts: LifecycleParts): Route[] {
  const { database, config, tiers } = parts;
  const { read, change } = routesFor<Caller>();
  const common = { tag: 'Tiers' } as const;

  return [
    read({
      ...common,
      method: 'GET',
      path: '/storage/tiers',
      summary: 'Read what lies in which tier',
      description: 'Counted with each run of the job that moves blobs; bytes are those of the content, each blob once.',
      permission: 'storage:read',
      answer: StateView,
      async handle() {
        const state = await findTierState(database);
        const room = await tiers?.room();
        const [last] = await pageOfRuns(database, 'desc', BEFORE_ALL.desc.number, 1);
        return {
          body: {
            enabled: tiers !== undefined,
            recorded: isHeatRecorded(config),
            settings: choicesOf(config),
            counted: state
              ? { at: iso(state.countedAt), hot: state.hot, cold: state.cold, archived: state.archived, small: state.small }
              : null,
            disk: room ? { bytes: room.total, freeBytes: room.free } : null,
            lastRun: last ? runView(last) : null,
          },
        };
      },
    }),
    read({
      ...common,
      method: 'GET',
      path: '/storage/tiers/runs',
      summary: 'List runs that moved anything; kept for 90 days',
      permission: 'storage:read',
      query: listQuery(['id'], {}),
      answer: listOf(RunView),
      async handle({ query: { limit = PAGE_DEFAULT, after, sort = '-id' } }) {
        const { order } = sortOf(sort);
        const [last] = after === undefined ? [BEFORE_ALL[order].number] : readCursor(after, [0]);
        const { items, next } = pageOf(await pageOfRuns(database, order, last, limit + 1), limit, ({ id }) => [id]);
        return { body: { items: items.map(runView) }, next };
      },
    }),
    change({
      ...common,
      method: 'POST',
      path: '/storage/tiers/runs',
      summary: 'Move now what is to be moved',
      description: 'A job does it; by itself it runs as `tierSchedule` says.',
      permission: 'storage:manage',
      audit: 'tiers.run',
      status: 202,
      answer: JobView,
      async change(tx, { now, caller }) {
        requireTiers(tiers);
        const job = await enqueue(tx, { kind: MOVE_NOW, key: 'asked', payload: { by: caller.actor.name }, now });
        return { body: { job }, resource: { type: 'tiers' }, after: { job } };
      },
    }),
    read({
      ...common,
      method: 'GET',
      path: '/storage/tiers/blobs',
      summary: 'List blobs by heat',
      description: 'Those that are too small to be moved have none. A page of a filtered list may hold less than limit, and still go on.',
      permission: 'storage:read',
      query: listQuery(['heat'], { tier: Type.Optional(TierName) }),
      answer: listOf(BlobView),
      async handle({ query: { limit = PAGE_DEFAULT, after, sort = '-heat', tier }, now }) {
        const { order } = sortOf(sort);
        const clock = await findHeatClock(database);
        if (!clock) return { body: { items: [] } };
        const [score, id] = after === undefined ? [BEFORE_HEAT[order].score, BEFORE_HEAT[order].id] : readCursor(after, [0, 0]);
        const found: HeatRow[] = [];
        let position = { score, id };
        let isEnd = false;
        for (let looked = 0; looked < LOOKED_AT && found.length <= limit && !isEnd; looked += CHUNK) {
          const rows = await pageByHeat(database, order, position, CHUNK);
          isEnd = rows.length < CHUNK;
          position = rows.at(-1) ?? position;
          found.push(...rows.filter((row) => row.state === 'live' && (tier === undefined || (row.tier ?? 'hot') === tier)));
        }
        const page = pageOf(found, limit, (row) => [row.score, row.id]);
        const next = page.next ?? (isEnd ? undefined : pageOf([position, position], 1, (last) => [last.score, last.id]).next);
        return { body: { items: page.items.map((row) => blobView(row, clock, now)) }, next };
      },
    }),
    read({
      ...common,
      method: 'GET',
      path: '/storage/tiers/pins',
      summary: 'List projects and repositories that are to be hot whatever their heat',
      permission: 'storage:read',
      query: listQuery([], {}),
      answer: listOf(PinView),
      async handle({ query: { limit = PAGE_DEFAULT, after } }) {
        const [projectId, repositoryId] = after === undefined ? [0, -1] : readCursor(after, [0, 0]);
        const rows = await pageOfPins(database, { projectId, repositoryId }, limit + 1);
        const { items, next } = pageOf(rows, limit, (row) => [row.projectId, row.repositoryId]);
        const shown = items.filter((row) => row.repositoryId === 0 || (row.repository !== null && row.deletedAt === null));
        return {
          body: {
            items: shown.map(({ project, repository, createdAt, createdBy }) => ({
              ...{ project, repository, createdAt: iso(createdAt), createdBy },
            })),
          },
          next,
        };
      },
    }),
    change({
      ...common,
      method: 'POST',
      path: '/storage/tiers/simulations',
      summary: 'Try other settings on what was read',
      description: `A job does it and moves nothing. Of each of the last ${RECORD_DAYS} days the reads of ${RECORD_BLOBS} blobs at most are on record; where more were read, those of a sample by digest. What is not given is as it is set.`,
      permission: 'storage:manage',
      audit: 'tiers.simulate',
      status: 202,
      body: Tried,
      answer: JobView,
      async change(tx, { body, now }) {
        if (!isHeatRecorded(config)) throw new AppError('conflict', 'reads are not recorded: see the option heatRecorded');
        const { highPercent = config.hotTierHighPercent, lowPercent = config.hotTierLowPercent } = body;
        if (lowPercent > highPercent) throw new AppError('invalid_input', 'lowPercent is more than highPercent');
        const payload: Simulating = body;
        const job = await enqueue(tx, { kind: SIMULATE, payload, now });
        return { body: { job }, resource: { type: 'tiers' }, after: { ...body, job } };
      },
    }),
    read({
      ...common,
      method: 'GET',
      path: '/storage/tiers/simulations/:job',
      summary: 'Read what a simulation found',
      description: 'Kept as long as its job.',
      permission: 'storage:read',
      params: Type.Object({ job: Type.Integer({ minimum: 1 }) }),
      answer: Type.Object({
        state: Type.String({ description: 'of its job: waiting, running, done, dead or cancelled' }),
        error: Type.Union([Type.String(), Type.Null()]),
        result: Type.Union([SimulationView, Type.Null()]),
      }),
      async handle({ params }) {
        const job = await findJob(database, params.job);
        if (job?.kind !== SIMULATE) throw new AppError('not_found', `there is no simulation ${params.job}`);
        const result = job.state === 'done' && job.result !== null ? simulationView(job.result as Simulation) : null;
        return { body: { state: job.state, error: job.error, result } };
      },
    }),
    ...repositoryTierRoutes(parts),
  ];
}
