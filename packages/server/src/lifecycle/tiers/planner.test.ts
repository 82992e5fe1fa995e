import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addReads, heatOf, newHeatClock, scoreOf, ticksAt, withHalfLife } from './heat.ts';
import { type PlanBlob, planDemotions, planPromotions, type TierSettings } from './planner.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const NOW = 1000 * DAY;
const HALF_LIFE = 7 * DAY;
const MOMENT = { now: NOW, ticks: NOW / HALF_LIFE };

interface Blob extends PlanBlob {
  readonly id: number;
  readonly hot: boolean;
}

/** A blob of a heat, so many hours old and so many at rest. */
function blob(id: number, { heat = 1, size = 10, hot = true, age = 1000, rest = 1000, pinned = false } = {}): Blob {
  return { id, size, hot, pinned, score: scoreOf(heat, MOMENT.ticks), storedAt: NOW - age * HOUR, movedAt: NOW - rest * HOUR };
}

const SETTINGS: TierSettings = {
  ...{ capacityBytes: 100, high: 0.9, low: 0.7, coldBelow: 0.05, hotFrom: 0.5 },
  ...{ minBytes: 5, minAgeMs: DAY, restMs: DAY },
};

interface Planned {
  readonly blobs: readonly Blob[];
  readonly demoted: readonly Blob[];
  readonly promoted: readonly Blob[];
  readonly hotBytes: number;
  readonly order: readonly string[];
}

const bytesOf = (blobs: readonly Blob[]) => blobs.reduce((sum, { size, hot }) => sum + (hot ? size : 0), 0);

/** Offers blobs as a run does, and gives them as they lie after it. */
function run(settings: TierSettings, given: readonly Blob[], moment = MOMENT): Planned {
  let blobs = [...given];
  const [demoted, promoted, order]: [Blob[], Blob[], string[]] = [[], [], []];
  let hotBytes = bytesOf(blobs);
  const move = (each: Blob, hot: boolean) => {
    blobs = blobs.map((other) => (other.id === each.id ? { ...other, hot, movedAt: moment.now } : other));
    (hot ? promoted : demoted).push(each);
  };
  for (const urgent of [false, true]) {
    if (urgent && !(settings.capacityBytes > 0 && hotBytes > settings.capacityBytes)) break;
    const plan = planDemotions(settings, moment, hotBytes, { urgent });
    for (const each of blobs.filter(({ hot }) => hot).sort((a, b) => a.score - b.score || a.id - b.id)) {
      const verdict = plan.offer(each);
      if (verdict === 'done') break;
      order.push(`${each.id} ${'keep' in verdict ? `kept: ${verdict.keep}` : verdict.move}`);
      if ('move' in verdict) move(each, false);
    }
    hotBytes = plan.hotBytes();
  }
  const plan = planPromotions(settings, moment, hotBytes);
  const cold = blobs.filter(({ hot }) => !hot).sort((a, b) => b.score - a.score || b.id - a.id);
  for (const pinned of [true, false]) {
    for (const each of cold.filter((one) => one.pinned === pinned)) {
      const verdict = plan.offer(each);
      if (verdict === 'done') break;
      order.push(`${each.id} ${'keep' in verdict ? `kept: ${verdict.keep}` : verdict.move}`);
      if ('move' in verdict) move(each, true);
    }
  }
  return { blobs, demoted, promoted, hotBytes: plan.hotBytes(), order };
}

describe('heat', () => {
  const clock = newHeatClock(HALF_LIFE, NOW);

  it('halves in a half-life, and adds up', () => {
    const first = addReads(null, 1, ticksAt(clock, NOW));
    expect(heatOf(first, ticksAt(clock, NOW + HALF_LIFE))).toBeCloseTo(0.5);
    const second = addReads(first, 2, ticksAt(clock, NOW + HALF_LIFE));
    expect(heatOf(second, ticksAt(clock, NOW + HALF_LIFE))).toBeCloseTo(2.5);
    expect(heatOf(second, ticksAt(clock, NOW + 3 * HALF_LIFE))).toBeCloseTo(0.625);
  });

  it('stands centuries without overflow, and forgets what is long past', () => {
    const late = ticksAt(clock, NOW + 1000 * 365 * DAY);
    const score = addReads(addReads(null, 5, 0), 1, late);
    expect(heatOf(score, late)).toBe(1);
  });

  it('another half-life changes no heat and no order, only how it cools', () => {
    fc.assert(
      fc.property(fc.double({ min: -20, max: 20, noNaN: true }), fc.integer({ min: 1, max: 365 }), (score, days) => {
        const changed = withHalfLife(clock, days * DAY, NOW + 5 * DAY);
        const at = NOW + 5 * DAY;
        expect(heatOf(score, ticksAt(changed, at))).toBeCloseTo(heatOf(score, ticksAt(clock, at)));
        const later = at + days * DAY;
        expect(heatOf(score, ticksAt(changed, later))).toBeCloseTo(heatOf(score, ticksAt(changed, at)) / 2);
      }),
    );
  });
});

describe('a plan', () => {
  it('leaves all where it is while there is room and nothing is idle', () => {
    expect(run(SETTINGS, [blob(1, { size: 45 }), blob(2, { size: 45, heat: 0.06 })]).order).toEqual([]);
  });

  it('above the high mark takes the coldest until the low one', () => {
    const blobs = [blob(1, { size: 40, heat: 3 }), blob(2, { size: 31, heat: 0.2 }), blob(3, { size: 20, heat: 0.4 })];
    const { order, hotBytes } = run(SETTINGS, blobs);
    expect([order, hotBytes]).toEqual([['2 capacity'], 60]);
  });

  it('takes what is idle, room or not', () => {
    expect(run({ ...SETTINGS, capacityBytes: 0 }, [blob(1, { heat: 0.049 }), blob(2, { heat: 0.051 })]).order).toEqual(['1 idle']);
  });

  it('says of each that stays why', () => {
    const cold = { heat: 0.01 };
    const blobs = [
      blob(1, { ...cold, size: 4 }),
      blob(2, { ...cold, pinned: true }),
      blob(3, { ...cold, age: 23 }),
      blob(4, { ...cold, rest: 23 }),
    ];
    expect(run(SETTINGS, blobs).order).toEqual(['1 kept: small', '2 kept: pinned', '3 kept: young', '4 kept: moved lately']);
  });

  it('beyond the capacity neither youth nor rest holds, but pins and smallness do', () => {
    const blobs = [
      blob(1, { size: 60, age: 1 }),
      blob(2, { size: 60, rest: 1, heat: 2 }),
      blob(3, { size: 4 }),
      blob(4, { size: 30, pinned: true }),
    ];
    const { demoted, hotBytes } = run(SETTINGS, blobs);
    expect(demoted.map(({ id }) => id)).toEqual([1]);
    expect(hotBytes).toBe(94);
  });

  it('brings back the hottest, and nothing smaller in its place', () => {
    const blobs = [blob(1, { size: 50 }), blob(2, { size: 25, hot: false, heat: 4 }), blob(3, { size: 10, hot: false, heat: 1 })];
    expect(run(SETTINGS, blobs).order).toEqual([]);
    expect(run(SETTINGS, [...blobs.slice(1)]).order).toEqual(['2 heat', '3 heat']);
  });

  it('brings back what is pinned, cold as it is', () => {
    const blobs = [
      blob(1, { size: 75 }),
      blob(2, { hot: false, heat: 0.001, pinned: true }),
      blob(3, { hot: false, heat: 0.001, pinned: true, size: 30 }),
    ];
    expect(run(SETTINGS, blobs).order).toEqual(['3 kept: no room', '2 pinned']);
  });
});

const anyBlob = fc.record({
  heat: fc.oneof(
    fc.integer({ min: 1, max: 2000 }).map((heat) => heat / 100),
    fc.constantFrom(0.001, 0.04, 0.05, 0.5, 1),
  ),
  size: fc.integer({ min: 1, max: 60 }),
  hot: fc.boolean(),
  age: fc.integer({ min: 0, max: 100 }),
  rest: fc.integer({ min: 0, max: 100 }),
  pinned: fc.constantFrom(true, false, false, false, false, false),
});
const anyBlobs = fc.array(anyBlob, { maxLength: 25, size: 'max' }).map((list) => list.map((each, id) => blob(id, each)));
const anySettings = fc
  .record({
    capacityBytes: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 600 }), fc.constantFrom(150, 250)),
    marks: fc.oneof(fc.tuple(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 1, max: 100 })), fc.constant([90, 70] as const)),
    coldBelow: fc.constantFrom(0, 0.01, 0.05, 0.4),
    minBytes: fc.integer({ min: 1, max: 10 }),
    minHours: fc.constantFrom(0, 24, 50),
  })
  .map(({ marks: [a, b], coldBelow, minHours, ...rest }): TierSettings => {
    const high = Math.max(a, b) / 100;
    const low = Math.min(a, b) / 100;
    return { ...rest, high, low, coldBelow, hotFrom: Math.max(0.5, 2 * coldBelow), minAgeMs: minHours * HOUR, restMs: minHours * HOUR };
  });

describe('any plan', () => {
  const holds = (property: (settings: TierSettings, blobs: Blob[]) => void) => {
    fc.assert(fc.property(anySettings, anyBlobs, property), { numRuns: 500 });
  };

  it('counts right, and ends within the capacity where that can be', () => {
    holds((settings, blobs) => {
      const after = run(settings, blobs);
      expect(after.hotBytes).toBe(bytesOf(after.blobs));
      if (settings.capacityBytes === 0 || after.hotBytes <= settings.capacityBytes) return;
      // Then only what never moves is left.
      expect(after.blobs.filter(({ hot, pinned, size }) => hot && !pinned && size >= settings.minBytes)).toEqual([]);
      expect(after.promoted).toEqual([]);
    });
  });

  it('is the same for the same', () => {
    holds((settings, blobs) => {
      expect(run(settings, blobs).order).toEqual(run(settings, [...blobs].reverse()).order);
    });
  });

  it('moves nothing twice, and what is pinned or small not out', () => {
    holds((settings, blobs) => {
      const { demoted, promoted } = run({ ...settings, restMs: 0 }, blobs);
      const ids = [...demoted, ...promoted].map(({ id }) => id);
      expect(new Set(ids).size).toBe(ids.length);
      expect(demoted.filter(({ pinned, size }) => pinned || size < settings.minBytes)).toEqual([]);
    });
  });

  it('takes none that is hotter than one of the same size and standing that stays', () => {
    holds((settings, blobs) => {
      // All that could protect one and not the other is alike.
      const alike = blobs.map((each) => ({ ...each, pinned: false, storedAt: 0, movedAt: null }));
      const { blobs: after, demoted } = run(settings, alike);
      for (const gone of demoted) {
        const colder = after.filter(({ hot, size, score }) => hot && size === gone.size && score < gone.score);
        expect(colder.filter(({ id }) => alike[id]?.hot)).toEqual([]);
      }
    });
  });

  it('is final: with the same reads the next one moves nothing back, though nothing rests', () => {
    holds((settings, blobs) => {
      const restless = { ...settings, restMs: 0 };
      const first = run(restless, blobs);
      const second = run(restless, first.blobs);
      const back = [...second.demoted, ...second.promoted].filter(({ id }) =>
        [...first.demoted, ...first.promoted].some((one) => one.id === id),
      );
      expect(back).toEqual([]);
    });
  });
});
