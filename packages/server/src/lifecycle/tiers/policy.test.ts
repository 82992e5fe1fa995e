import { beforeEach, describe, expect, it } from 'vitest';
import { createTierPolicy } from './policy.ts';
import { settingsOf } from './settings.ts';

const SETTINGS = settingsOf({
  ...{ capacityBytes: 1000, highPercent: 80, lowPercent: 60, coldAfterDays: 30 },
  ...{ halfLifeDays: 7, minBytes: 1, minHours: 24 },
});

describe('a cold blob that is pulled', () => {
  let now: number;
  let found: { hotBytes: number; capacityBytes: number } | undefined;
  let policy: ReturnType<typeof createTierPolicy>;
  /** Lets what was looked up since the last pull be known. */
  const known = async (hotBytes: number, capacityBytes = 1000) => {
    found = { hotBytes, capacityBytes };
    now += 60_000;
    policy.admits('none', 0);
    await Promise.resolve();
  };
  beforeEach(() => {
    now = 0;
    found = undefined;
    const metrics = { tierRead: () => undefined };
    policy = createTierPolicy({ clock: { now: () => now }, metrics, settings: SETTINGS, look: () => Promise.resolve(found) });
  });

  it('becomes hot while there is room, or nobody knows how much', async () => {
    expect(policy.admits('a', 5000)).toBe(true);
    await known(100);
    expect(policy.admits('b', 600)).toBe(true);
    await known(5000, 0);
    expect(policy.admits('c', 5000)).toBe(true);
  });

  it('where there is little becomes so when it is pulled again', async () => {
    await known(790);
    expect([policy.admits('a', 50), policy.admits('b', 50), policy.admits('a', 50)]).toEqual([false, false, true]);
  });

  it('where there is none does not, and what was let in counts before it is counted', async () => {
    await known(700);
    expect([
      policy.admits('a', 90),
      policy.admits('a', 400),
      policy.admits('b', 90),
      policy.admits('b', 90),
      policy.admits('c', 150),
    ]).toEqual([true, false, false, true, false]);
    expect(policy.admits('c', 150)).toBe(false);
    await known(400);
    expect(policy.admits('c', 150)).toBe(true);
  });

  it('does not fail where what is known cannot be looked up', async () => {
    const broken = createTierPolicy({
      ...{ clock: { now: () => now }, metrics: { tierRead: () => undefined }, settings: SETTINGS },
      look: () => Promise.reject(new Error('the database is away')),
    });
    expect(broken.admits('a', 10)).toBe(true);
    await Promise.resolve();
    expect(broken.admits('a', 10)).toBe(true);
  });
});
