import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { roomData, type TestData } from '../../platform/database/testing.ts';
import { createJobRunner, enqueue, type JobContext, type JobRunner, latestJob } from '../../platform/index.ts';
import { boundOf, dayOf, isSampled, pageOfAccess, recordedDays } from './access-record.ts';
import { heatOf, ticksAt } from './heat.ts';
import { createHeatNotes, type HeatNotes } from './heat-notes.ts';
import { findBlobHeat, findHeatClock, findImageHeat } from './heat-store.ts';
import { listImages } from './images.ts';
import { tierJobs } from './jobs.ts';
import { findPins, pin, unpin } from './pins.ts';
import { pruneHeat } from './prune.ts';
import { pageOfRuns } from './runs.ts';
import { simulate } from './simulate.ts';
import { findTierState } from './state.ts';
import { shaOf, TEST_MIGRATIONS, type TestRoom, testRoom } from './testing-tiers.ts';
import { MOVE_NOW, PLACE } from './words.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

let store: TestData;
let room: TestRoom;
let notes: HeatNotes;
let jobs: JobRunner;
let signal: AbortSignal;

async function open(flags: Record<string, string> = {}, mostBlobs = 50_000): Promise<void> {
  store = roomData(TEST_MIGRATIONS);
  room = await testRoom(await store.open(), flags);
  const { database, clock, parts } = room;
  notes = createHeatNotes({ database, clock, log: parts.log, halfLifeMs: parts.config.heatHalfLifeDays * DAY, minBytes: 100, mostBlobs });
  jobs = createJobRunner({ database, clock, log: parts.log, holder: 'one', definitions: tierJobs(parts) });
  signal = new AbortController().signal;
}
const later = (ms: number) => room.clock.set(room.clock.now() + ms);
const heatNow = async (name: string) => {
  const heat = await findBlobHeat(room.database, shaOf(name));
  const clock = await findHeatClock(room.database);
  return heat && clock && heatOf(heat.score, ticksAt(clock, room.clock.now()));
};
async function run(): Promise<unknown> {
  await room.database.write((tx) => enqueue(tx, { kind: MOVE_NOW, payload: { by: 'ann' }, now: room.clock.now() }));
  await jobs.runDue();
  return (await latestJob(room.database, MOVE_NOW, 'done'))?.result;
}
const tiersOf = async (...names: string[]) =>
  await Promise.all(names.map(async (name) => `${name} ${await room.tiers.tierOf(shaOf(name))}`));

afterEach(() => store.remove());

describe('heat', () => {
  beforeEach(() => open());

  it('of a blob is what was read of it, a range as the share it is, each read half as much after a half-life', async () => {
    await room.push('demo/app', { a: 1000, b: 1000, tiny: 99 });
    notes.read(shaOf('a'), 1000, 1000);
    notes.read(shaOf('a'), 1000, 1000);
    notes.read(shaOf('b'), 1000, 250);
    notes.read(shaOf('tiny'), 99, 99);
    notes.read(shaOf('b'), 1000, 0);
    await notes.flush();
    expect(await heatNow('a')).toBeCloseTo(2);
    expect(await heatNow('b')).toBeCloseTo(0.25);
    expect(await heatNow('tiny')).toBeUndefined();
    later(7 * DAY);
    notes.read(shaOf('b'), 1000, 1000);
    await notes.flush();
    expect(await heatNow('a')).toBeCloseTo(1);
    expect(await heatNow('b')).toBeCloseTo(1.125);
  });

  it('of a blob is the most of all images that use it, and not their sum', async () => {
    const [one, two] = [await room.push('demo/one', { base: 1000, a: 500 }), await room.push('demo/two', { base: 1000, b: 500 })];
    for (let i = 0; i < 3; i++) notes.pulled(await room.idOf('demo/one'), one);
    for (let i = 0; i < 5; i++) notes.pulled(await room.idOf('demo/two'), two);
    await notes.flush();
    expect([await heatNow('base'), await heatNow('a'), await heatNow('b')].map((heat) => Math.round(heat ?? 0))).toEqual([5, 3, 5]);
    notes.pulled(await room.idOf('demo/one'), one);
    await notes.flush();
    expect(await heatNow('base')).toBeCloseTo(5);
    expect(await heatNow('a')).toBeCloseTo(4);
  });

  it('reads of what is hotter through an image do not cool it', async () => {
    const image = await room.push('demo/app', { a: 1000 });
    for (let i = 0; i < 4; i++) notes.pulled(await room.idOf('demo/app'), image);
    notes.read(shaOf('a'), 1000, 1000);
    await notes.flush();
    expect(await heatNow('a')).toBeCloseTo(4);
  });

  it('of an image that was deleted before it was written is not written', async () => {
    notes.pulled(await room.idOf('demo/app'), shaOf('none'));
    await notes.flush();
    expect(await findImageHeat(room.database, await room.idOf('demo/app'), shaOf('none'))).toBeUndefined();
  });

  it('goes with what is stored no more', async () => {
    await room.push('demo/app', { a: 1000 });
    notes.read(shaOf('a'), 1000, 1000);
    notes.read(shaOf('never stored'), 1000, 1000);
    await notes.flush();
    await pruneHeat(room.database, room.clock.now(), signal);
    expect(await heatNow('a')).toBeCloseTo(1);
    expect(await heatNow('never stored')).toBeUndefined();
  });
});

describe('the record of reads', () => {
  it('tells for each day what was read, and is forgotten after thirty', async () => {
    await open();
    const image = await room.push('demo/app', { a: 1000, b: 300 });
    const first = dayOf(room.clock.now());
    for (let day = 0; day < 3; day++) {
      notes.read(shaOf('a'), 1000, 1000);
      await notes.flush();
      notes.read(shaOf('a'), 1000, 500);
      for (let i = 0; i <= day; i++) notes.pulled(await room.idOf('demo/app'), image);
      await notes.flush();
      later(DAY);
    }
    const of = async (day: number) =>
      (await pageOfAccess(room.database, day, 0, 10)).map(({ reads, bytes, pulls }) => [reads, bytes, pulls]);
    expect((await of(first)).sort()).toEqual([
      [0, 0, 1],
      [1.5, 1500, 1],
    ]);
    expect((await of(first + 2)).sort()).toEqual([
      [0, 0, 3],
      [1.5, 1500, 3],
    ]);
    later(28 * DAY);
    await pruneHeat(room.database, room.clock.now(), signal);
    expect(await of(first)).toEqual([]);
    expect((await recordedDays(room.database, 0)).map(({ day }) => day - first)).toEqual([1, 2]);
  });

  it('keeps of a day with too much a sample by digest, and stays within its bound', async () => {
    await open({}, 40);
    const day = dayOf(room.clock.now());
    for (let i = 0; i < 200; i++) notes.read(shaOf(`blob ${i}`), 1000, 1000);
    await notes.flush();
    const rows = await pageOfAccess(room.database, day, 0, 1000);
    const [{ halvings = 0 } = {}] = await recordedDays(room.database, day);
    expect(halvings).toBeGreaterThan(1);
    const sampled = [...Array(200).keys()].filter((i) => isSampled(shaOf(`blob ${i}`), boundOf(halvings)));
    expect(rows.length).toBe(sampled.length);
    expect(rows.length).toBeLessThanOrEqual(40);
    // Of what is outside the sample nothing is written from now on, and the next day takes in more again.
    const outside = [...Array(1000).keys()].map((i) => shaOf(`other ${i}`)).find((digest) => !isSampled(digest, boundOf(halvings))) ?? '';
    notes.read(outside, 1000, 1000);
    await notes.flush();
    expect((await pageOfAccess(room.database, day, 0, 1000)).length).toBe(rows.length);
    later(DAY);
    notes.read(outside, 1000, 1000);
    await notes.flush();
    expect((await recordedDays(room.database, day + 1))[0]?.halvings).toBe(halvings - 1);
  });
});

describe('the job', () => {
  const IDLE = { coldAfterDays: '14' };

  it('moves what nobody read for long, and leaves what is read, its image pulled, small or pinned', async () => {
    await open(IDLE);
    await room.push('demo/idle', { idle: 1000, tiny: 50 });
    await room.push('demo/read', { read: 1000 });
    const pulled = await room.push('demo/pulled', { pulled: 1000 });
    await room.push('demo/pinned', { pinned: 1000 });
    const ids = { projectId: 1, repositoryId: await room.idOf('demo/pinned') };
    await room.database.write((tx) => pin(tx, { ...ids, by: 'ann', now: room.clock.now() }));
    expect(await run()).toMatchObject({ demoted: 0, promoted: 0 });
    expect(await pageOfRuns(room.database, 'asc', 0, 10)).toEqual([]);
    later(13 * DAY);
    notes.read(shaOf('read'), 1000, 1000);
    notes.pulled(await room.idOf('demo/pulled'), pulled);
    await notes.flush();
    later(2 * DAY);
    expect(await run()).toMatchObject({ demoted: 1, demotedBytes: 1000, failed: 0, reasons: { moved: { idle: 1 }, kept: { pinned: 1 } } });
    expect(await tiersOf('idle', 'tiny', 'read', 'pulled', 'pinned')).toEqual([
      'idle cold',
      'tiny hot',
      'read hot',
      'pulled hot',
      'pinned hot',
    ]);
    expect(await pageOfRuns(room.database, 'asc', 0, 10)).toMatchObject([
      { startedBy: 'ann', demoted: 1, demotedBytes: 1000, error: null },
    ]);
    expect(await findTierState(room.database)).toMatchObject({
      hot: { blobs: 8, bytes: 3090 },
      small: { blobs: 5, bytes: 90 },
      cold: { blobs: 1, bytes: 1000 },
    });
  });

  it('holds the hot tier within its capacity, the coldest first, and brings back what is hot again', async () => {
    await open({ hotTierBytes: '3000', hotTierHighPercent: '90', hotTierLowPercent: '70', coldAfterDays: '0' });
    for (const name of ['a', 'b', 'c', 'd']) {
      await room.push(`demo/${name}`, { [name]: 700 });
      later(HOUR);
    }
    notes.read(shaOf('a'), 700, 700);
    await notes.flush();
    expect(await run()).toMatchObject({ demoted: 2, reasons: { moved: { capacity: 2 } } });
    expect(await tiersOf('a', 'b', 'c', 'd')).toEqual(['a hot', 'b cold', 'c cold', 'd hot']);
    expect(await run()).toMatchObject({ demoted: 0, promoted: 0 });
    // Clients that have the layer already pull the image.
    const image = await room.push('demo/b', { b: 700 });
    for (let i = 0; i < 3; i++) notes.pulled(await room.idOf('demo/b'), image);
    await notes.flush();
    expect(await run()).toMatchObject({ demoted: 0, promoted: 0 });
    await room.tiers.put(shaOf('a'), 'cold');
    expect(await run()).toMatchObject({ demoted: 0, promoted: 1, reasons: { moved: { heat: 1 } } });
    expect(await tiersOf('a', 'b', 'c', 'd')).toEqual(['a cold', 'b hot', 'c cold', 'd hot']);
  });

  it('brings back what is pinned, of one repository or of a whole project', async () => {
    await open(IDLE);
    for (const name of ['demo/a', 'demo/b', 'team/c']) await room.push(name, { [name]: 500 });
    later(30 * DAY);
    await run();
    expect(await tiersOf('demo/a', 'demo/b', 'team/c')).toEqual(['demo/a cold', 'demo/b cold', 'team/c cold']);
    const by = { by: 'ann', now: room.clock.now() };
    await room.database.write((tx) => pin(tx, { projectId: 2, repositoryId: 0, ...by }));
    const repositoryId = await room.idOf('demo/a');
    await room.database.write((tx) => pin(tx, { projectId: 1, repositoryId, ...by }));
    expect(await run()).toMatchObject({ promoted: 2, reasons: { moved: { pinned: 2 } } });
    expect(await tiersOf('demo/a', 'demo/b', 'team/c')).toEqual(['demo/a hot', 'demo/b cold', 'team/c hot']);
    expect(await findPins(room.database, 1, repositoryId)).toHaveLength(1);
    expect(await room.database.write((tx) => unpin(tx, 1, repositoryId))).toBe(true);
    later(30 * DAY);
    await run();
    expect(await tiersOf('demo/a', 'team/c')).toEqual(['demo/a cold', 'team/c hot']);
  });

  it('counts what does not move by reason, and goes on', async () => {
    await open(IDLE);
    await room.push('demo/app', { a: 1000, b: 1000, c: 1000, d: 1000 });
    later(30 * DAY);
    room.tiers.outcomes.set(shaOf('a'), 'busy').set(shaOf('b'), 'missing').set(shaOf('c'), new Error('unreachable'));
    expect(await run()).toMatchObject({ demoted: 1, failed: 1, reasons: { kept: { busy: 1, missing: 1 } } });
    expect(await tiersOf('d')).toEqual(['d cold']);
  });

  it('ends where a tier is out of reach, and where the other one is full', async () => {
    await open(IDLE);
    await room.push('demo/app', Object.fromEntries([...Array(40).keys()].map((i) => [`${i}`, 1000])));
    later(30 * DAY);
    for (let i = 0; i < 40; i++) room.tiers.outcomes.set(shaOf(`${i}`), 'full');
    const full = (await run()) as { demoted: number; reasons: { kept: { full: number } } };
    expect(full.demoted).toBe(0);
    expect(full.reasons.kept.full).toBeLessThan(8);
    for (let i = 0; i < 40; i++) room.tiers.outcomes.set(shaOf(`${i}`), new Error('unreachable'));
    await run();
    const [last] = await pageOfRuns(room.database, 'desc', 1e9, 1);
    expect(last).toMatchObject({ demoted: 0, error: 'unreachable' });
    expect(last?.failed).toBeLessThan(20);
  });

  it('leaves a blob that is damaged to scrub', async () => {
    await open(IDLE);
    await room.push('demo/app', { a: 1000 });
    later(30 * DAY);
    room.tiers.outcomes.set(shaOf('a'), 'damaged');
    expect(await run()).toMatchObject({ demoted: 0, reasons: { kept: { damaged: 1 } } });
    expect(await latestJob(room.database, 'scrub.check', 'waiting')).toBeDefined();
  });

  it('tells of a run once, in the audit trail and to those who listen', async () => {
    await open(IDLE);
    await room.push('demo/app', { a: 1000, b: 1000 });
    later(30 * DAY);
    const { events, records } = await import('./testing-trail.ts');
    await run();
    expect((await records(room.database)).filter(({ action }) => action === 'tiers.move')).toHaveLength(1);
    expect((await events(room.database)).filter(({ topic }) => topic === 'tiers.moved')).toHaveLength(1);
  });

  it('ends at once when it is cancelled, and leaves a row of what it did', async () => {
    await open(IDLE);
    await room.push('demo/app', Object.fromEntries([...Array(20).keys()].map((i) => [`${i}`, 1000])));
    later(30 * DAY);
    const abort = new AbortController();
    const { demote } = room.tiers;
    room.tiers.demote = async (digest, given) => {
      if (room.tiers.moves.length >= 3) abort.abort(new Error('cancelled'));
      return await demote(digest, given);
    };
    const context: JobContext = { signal: abort.signal, attempt: 1, hold: async () => undefined, progress: async () => undefined };
    const move = tierJobs(room.parts).find(({ kind }) => kind === MOVE_NOW);
    await expect(move?.run({ by: 'ann' }, context)).rejects.toThrow('cancelled');
    const [row] = await pageOfRuns(room.database, 'desc', 1e9, 1);
    expect(row).toMatchObject({ demoted: room.tiers.moves.length, error: 'cancelled' });
    expect(row?.finishedAt).not.toBeNull();
  });
});

describe('what somebody asks for', () => {
  const place = async (repository: string, tier: 'hot' | 'cold', digest: string | null = null) => {
    const repositoryId = await room.idOf(repository);
    await room.database.write((tx) =>
      enqueue(tx, { kind: PLACE, payload: { repositoryId, digest, tier, by: 'ann' }, now: room.clock.now() }),
    );
    await jobs.runDue();
    return (await latestJob(room.database, PLACE, 'done'))?.result;
  };

  it('goes to the cold tier whatever its heat, except what others have, and comes back', async () => {
    await open();
    const one = await room.push('demo/one', { base: 1000, mine: 1000, other: 1000 });
    await room.push('demo/one', { other: 1000 });
    await room.push('demo/two', { base: 1000 });
    expect(await place('demo/one', 'cold', one)).toMatchObject({
      demoted: 1,
      reasons: { moved: { asked: 1 }, kept: { shared: 2, small: 1 } },
    });
    expect(await tiersOf('base', 'mine', 'other')).toEqual(['base hot', 'mine cold', 'other hot']);
    expect(await place('demo/one', 'cold')).toMatchObject({ demoted: 1 });
    expect(await tiersOf('base', 'mine', 'other')).toEqual(['base hot', 'mine cold', 'other cold']);
    expect(await place('demo/one', 'hot', one)).toMatchObject({ promoted: 2 });
  });

  it('comes into the hot tier only as far as there is room', async () => {
    await open({ hotTierBytes: '2000', coldAfterDays: '0' });
    await room.push('demo/one', { a: 1000, b: 1000 });
    for (const name of ['a', 'b']) await room.tiers.put(shaOf(name), 'cold');
    await run();
    expect(await place('demo/one', 'hot')).toMatchObject({ promoted: 0, reasons: { kept: { 'no room': 1 } } });
  });
});

describe('images by heat', () => {
  it('are listed from either end, page by page, those that nobody pulled the coldest', async () => {
    await open();
    const digests: string[] = [];
    for (let i = 0; i < 7; i++) {
      digests.push(await room.push('demo/app', { [`${i}`]: 1000 }));
      later(1000);
    }
    const repositoryId = await room.idOf('demo/app');
    for (const [index, pulls] of [
      [1, 5],
      [3, 2],
      [6, 9],
    ] as const)
      for (let i = 0; i < pulls; i++) notes.pulled(repositoryId, digests[index] ?? '');
    await notes.flush();
    const { firstImage } = await import('./images.ts');
    for (const limit of [1, 2, 3, 4, 7, 50]) {
      for (const order of ['asc', 'desc'] as const) {
        const found: number[] = [];
        for (let from: ReturnType<typeof firstImage> | undefined = firstImage(order); from; ) {
          const { images, next }: Awaited<ReturnType<typeof listImages>> = await listImages(room.database, {
            repositoryId,
            order,
            from,
            limit,
          });
          expect(images.length).toBeLessThanOrEqual(limit);
          found.push(...images.map(({ digest }) => digests.indexOf(digest)));
          from = next;
        }
        expect(found).toEqual(order === 'asc' ? [0, 2, 4, 5, 3, 1, 6] : [6, 1, 3, 0, 2, 4, 5]);
      }
    }
  });
});

describe('a simulation', () => {
  const context = () => ({ signal, progress: async () => undefined });
  const DAYS = 10;

  /** Ten days: `often` is read each day, `once` on the last, and each day something new is pushed. */
  async function live(): Promise<void> {
    await room.push('demo/app', { often: 1000, once: 1000 });
    for (let day = 0; day < DAYS; day++) {
      await room.push('demo/new', { [`new ${day}`]: 1000 });
      notes.read(shaOf('often'), 1000, 1000);
      notes.read(shaOf('often'), 1000, 1000);
      if (day === DAYS - 1) notes.read(shaOf('once'), 1000, 1000);
      await notes.flush();
      later(DAY);
    }
  }

  it('with room for all says that all is hot', async () => {
    await open();
    await live();
    const { past, now } = await simulate(room.parts, {}, context());
    expect(past).toMatchObject({ reads: 21, hotReads: 21, bytes: 21_000, hotBytes: 21_000, fetched: 0, fetchedBytes: 0 });
    expect(past?.days).toHaveLength(DAYS);
    expect(now).toMatchObject({ demotions: { blobs: 0 }, fits: true });
  });

  it('with room for little says what would have been fetched, and what would go now', async () => {
    await open();
    await live();
    await run();
    const { past, now, choices, oneOf } = await simulate(
      room.parts,
      { capacityBytes: 4000, lowPercent: 60, highPercent: 90, coldAfterDays: 0 },
      context(),
    );
    expect(oneOf).toBe(1);
    expect(choices).toMatchObject({ capacityBytes: 4000, halfLifeDays: 7 });
    // What is read each day stays; what is read for the first time after nine days went meanwhile.
    expect(past).toMatchObject({ reads: 21, hotReads: 20, fetched: 1, fetchedBytes: 1000 });
    expect(Math.max(...(past?.days ?? []).map(({ hotAtEnd }) => hotAtEnd))).toBeLessThanOrEqual(3600);
    expect(now.demotions.blobs).toBe(10);
    expect(now.hotBytesAfter).toBeLessThanOrEqual(2400);
    expect(now.fits).toBe(true);
    expect(now.moves.map(({ digest }) => digest)).not.toContain(shaOf('often'));
    expect(room.tiers.moves).toEqual([]);
  });

  it('says what a run then does', async () => {
    await open({ hotTierBytes: '4000', coldAfterDays: '5' });
    await live();
    await notes.flush();
    const { now } = await simulate(room.parts, {}, context());
    await run();
    expect(now.moves.map(({ digest, to }) => `${digest} ${to}`).sort()).toEqual([...room.tiers.moves].sort());
    expect(now.moves.length).toBeGreaterThan(5);
  });

  it('another half-life is tried on the record alone', async () => {
    await open();
    await live();
    const short = await simulate(room.parts, { capacityBytes: 4000, halfLifeDays: 1, coldAfterDays: 0 }, context());
    expect(short.now.moves.map(({ digest }) => digest)).not.toContain(shaOf('often'));
    expect(short.now.moves.length).toBeGreaterThan(0);
  });

  it('of many blobs looks at a sample, and scales what it finds', async () => {
    await open();
    for (let i = 0; i < 20; i++) await room.push('demo/many', Object.fromEntries([...Array(20).keys()].map((at) => [`${i}-${at}`, 1000])));
    for (let i = 0; i < 20; i++) for (let at = 0; at < 20; at++) notes.read(shaOf(`${i}-${at}`), 1000, 1000);
    await notes.flush();
    later(DAY);
    const { oneOf, past, now } = await simulate(room.parts, { capacityBytes: 200_000, coldAfterDays: 0 }, context(), 120);
    expect(oneOf).toBeGreaterThanOrEqual(4);
    expect(past?.reads).toBeGreaterThan(400 * 0.6);
    expect(past?.reads).toBeLessThan(400 * 1.4);
    expect(now.hotBytesBefore).toBe(20 * 10 + 400_000);
    expect(now.hotBytesAfter).toBeLessThanOrEqual(160_000);
  });

  it('without any record says only what would go now', async () => {
    await open();
    await room.push('demo/app', { a: 1000 });
    expect(await simulate(room.parts, {}, context())).toMatchObject({ past: null, now: { demotions: { blobs: 0 } } });
  });
});
