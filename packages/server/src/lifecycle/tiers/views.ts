import Type, { type Static } from 'typebox';
import type { Amounts } from './image-store.ts';
import type { TierRun } from './runs.ts';

export const Time = Type.String({ format: 'date-time' });
const Count = Type.Integer({ minimum: 0 });
export const Amount = Type.Object({ blobs: Count, bytes: Count });
export const TierName = Type.Enum(['hot', 'cold', 'archived'], {
  description: 'archived: in the cold tier, and to be restored there before it can be read',
});
const Reasons = Type.Record(Type.String(), Type.Integer());

export const ByTier = Type.Object({ hot: Amount, cold: Amount, archived: Amount });
/** Of repositories and images: bytes of each tier, and the share of the hot one. */
export const ShareView = Type.Object({
  ...{ hot: Amount, cold: Amount, archived: Amount },
  hotShare: Type.Number({ minimum: 0, maximum: 1, description: 'of the bytes; 1 where there are none' }),
});

export const RunView = Type.Object({
  id: Type.Integer(),
  startedBy: Type.String({ description: '`schedule`, or who asked for it' }),
  startedAt: Time,
  finishedAt: Type.Union([Time, Type.Null()], { description: 'null: it runs, or its process ended before it did' }),
  demoted: Amount,
  promoted: Amount,
  failed: Count,
  moved: Reasons,
  kept: Reasons,
  hotBytesBefore: Count,
  hotBytesAfter: Type.Integer(),
  error: Type.Union([Type.String(), Type.Null()]),
});

export const Choices = Type.Object({
  capacityBytes: Type.Integer({ minimum: 0, maximum: 2 ** 53 - 1, description: '0: the disk of the hot tier' }),
  highPercent: Type.Integer({ minimum: 1, maximum: 100 }),
  lowPercent: Type.Integer({ minimum: 0, maximum: 100 }),
  coldAfterDays: Type.Integer({ minimum: 0, maximum: 3650 }),
  halfLifeDays: Type.Integer({ minimum: 1, maximum: 365 }),
  minBytes: Type.Integer({ minimum: 1, maximum: 2 ** 40 }),
  minHours: Type.Integer({ minimum: 0, maximum: 8760 }),
});

const Day = Type.Object({
  date: Type.String({ format: 'date' }),
  reads: Type.Number({ description: 'of whole blobs; a range counts as the share it is' }),
  hotReads: Type.Number(),
  bytes: Type.Number(),
  hotBytes: Type.Number(),
  fetched: Type.Number({ description: 'blobs that would have been brought from the cold tier' }),
  fetchedBytes: Type.Number(),
  demoted: Type.Number(),
  demotedBytes: Type.Number(),
  hotAtEnd: Type.Number({ description: 'bytes in the hot tier at the end of the day' }),
});
const Ratio = Type.Union([Type.Number({ minimum: 0, maximum: 1 }), Type.Null()], { description: 'null: nothing was read' });
export const SimulationView = Type.Object({
  choices: Choices,
  oneOf: Type.Integer({ description: 'one of so many blobs was looked at, chosen by digest; figures are scaled to all' }),
  now: Type.Object({
    demotions: Amount,
    promotions: Amount,
    reasons: Reasons,
    kept: Reasons,
    hotBytesBefore: Count,
    hotBytesAfter: Type.Integer(),
    fits: Type.Boolean({ description: 'whether the hot tier then holds no more than its capacity' }),
    moves: Type.Array(
      Type.Object({ digest: Type.String(), size: Count, to: Type.Enum(['hot', 'cold']), reason: Type.String(), heat: Type.Number() }),
      { description: 'the first hundred' },
    ),
  }),
  past: Type.Union([
    Type.Object({
      readRatio: Ratio,
      byteRatio: Ratio,
      reads: Type.Number(),
      hotReads: Type.Number(),
      bytes: Type.Number(),
      hotBytes: Type.Number(),
      fetched: Type.Number(),
      fetchedBytes: Type.Number(),
      demotedBytes: Type.Number(),
      days: Type.Array(Day),
    }),
    Type.Null(),
  ]),
});

export const iso = (time: number) => new Date(time).toISOString();
export const isoOrNull = (time: number | null) => (time === null ? null : iso(time));
/** Of heat three digits say all there is to say. */
export const rounded = (heat: number) => Math.round(heat * 1000) / 1000;

export function shareOf(amounts: Amounts): Static<typeof ShareView> {
  const all = amounts.hot.bytes + amounts.cold.bytes + amounts.archived.bytes;
  return { ...amounts, hotShare: all === 0 ? 1 : rounded(amounts.hot.bytes / all) };
}

export function runView(run: TierRun): Static<typeof RunView> {
  const { id, startedBy, startedAt, finishedAt, failed, reasons, hotBefore, hotAfter, error } = run;
  return {
    ...{ id, startedBy, startedAt: iso(startedAt), finishedAt: isoOrNull(finishedAt), failed, error },
    demoted: { blobs: run.demoted, bytes: run.demotedBytes },
    promoted: { blobs: run.promoted, bytes: run.promotedBytes },
    ...{ moved: { ...reasons.moved }, kept: { ...reasons.kept }, hotBytesBefore: hotBefore, hotBytesAfter: hotAfter },
  };
}
