import { describe, expect, it } from 'vitest';
import { SLAB_BYTES, SlabPool } from './slabs.ts';

describe('SlabPool', () => {
  it('gives large slabs up to its limit, then small ones, and large ones again once they are back', () => {
    const pool = new SlabPool(2);
    const [first, second, third] = [pool.take(), pool.take(), pool.take()];
    expect([first.length, second.length]).toEqual([SLAB_BYTES, SLAB_BYTES]);
    expect(third.length).toBeLessThan(SLAB_BYTES);
    expect(pool.used).toBe(2);
    pool.give(second);
    expect(pool.used).toBe(1);
    expect(pool.take()).toBe(second);
    expect(pool.take().length).toBe(third.length);
    expect(pool.used).toBe(2);
  });

  it('never gives one slab to two', () => {
    const pool = new SlabPool(3);
    for (let round = 0; round < 3; round++) {
      const taken = Array.from({ length: 10 }, () => pool.take());
      expect(new Set(taken).size).toBe(10);
      expect(new Set(taken.map(({ buffer }) => buffer)).size).toBe(10);
      for (const slab of taken) pool.give(slab);
    }
    expect(pool.used).toBe(0);
  });

  it('makes no more large slabs than its limit, and keeps few of the small ones', () => {
    const pool = new SlabPool(4);
    const first = Array.from({ length: 500 }, () => pool.take());
    for (const slab of first) pool.give(slab);
    const known = new Set(first);
    const second = Array.from({ length: 500 }, () => pool.take());
    const again = second.filter((slab) => known.has(slab));
    expect(again.filter(({ length }) => length === SLAB_BYTES)).toHaveLength(4);
    expect(again.length).toBeLessThanOrEqual(100);
    expect(again.length).toBeGreaterThan(4);
  });

  it('gives memory that threads share', () => {
    const pool = new SlabPool(1);
    expect(pool.take().buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(pool.take().buffer).toBeInstanceOf(SharedArrayBuffer);
  });
});
