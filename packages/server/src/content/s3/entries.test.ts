import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cutAt, type Entry, extentsOf, fenceName, lengthOf, parseEntry, segmentName } from './entries.ts';

const segment = (epoch: number, number: number, start: number, size: number): Entry => {
  const entry = parseEntry(segmentName({ epoch, number, start }, '0123456789ab'), size);
  if (!entry) throw new Error('not a name');
  return entry;
};
const fence = (epoch: number, lastEpoch: number, lastNumber: number): Entry => {
  const entry = parseEntry(fenceName({ epoch, lastEpoch, lastNumber }), 0);
  if (!entry) throw new Error('not a name');
  return entry;
};
const shape = (entries: readonly Entry[]) => extentsOf(entries).map(({ start, length }) => [start, length]);

describe('names of what an upload is made of', () => {
  it('say what they are made from', () => {
    const number = fc.nat(999_999);
    fc.assert(
      fc.property(fc.nat(9_999_999_999_999), number, fc.nat(2 ** 40), fc.nat(), (epoch, count, start, size) => {
        const made = { epoch, number: count, start };
        expect(parseEntry(segmentName(made, 'abcdef012345'), size)).toMatchObject({ ...made, size });
        const bound = { epoch, lastEpoch: start % 9_999_999_999_999, lastNumber: count };
        expect(parseEntry(fenceName(bound), 0)).toMatchObject(bound);
      }),
    );
  });

  it.each(['', 'data', 'startedat', '1-2-3-4', `${'1'.repeat(13)}-fence-1-2`, 'hashstates/sha256/0'])('%j is none of ours', (name) => {
    expect(parseEntry(name, 5)).toBeUndefined();
  });
});

describe('an upload of segments', () => {
  it('is what they are one after the other, whatever the order they are found in', () => {
    const entries = [segment(1, 1, 0, 10), segment(1, 2, 10, 5), segment(2, 1, 15, 7)];
    for (const order of [entries, entries.toReversed()]) {
      expect(shape(order)).toEqual([
        [0, 10],
        [10, 5],
        [15, 7],
      ]);
    }
  });

  it('ends before a gap', () => {
    expect(shape([segment(1, 1, 0, 10), segment(1, 3, 20, 5)])).toEqual([[0, 10]]);
    expect(shape([segment(1, 1, 1, 10)])).toEqual([]);
  });

  it('is cut by what is written later, and by a segment of no bytes', () => {
    expect(shape([segment(1, 1, 0, 10), segment(1, 2, 10, 9), segment(2, 1, 4, 2)])).toEqual([
      [0, 4],
      [4, 2],
    ]);
    expect(shape([segment(1, 1, 0, 10), segment(1, 2, 10, 9), segment(1, 3, 12, 0)])).toEqual([
      [0, 10],
      [10, 2],
    ]);
    expect(shape([segment(1, 1, 0, 10), segment(1, 2, 0, 0)])).toEqual([]);
  });

  it('has nothing of what a fenced writer wrote late', () => {
    const before = [segment(1, 1, 0, 10)];
    const fenced = [...before, fence(5, 1, 1)];
    expect(shape([...fenced, segment(1, 2, 10, 10)])).toEqual([[0, 10]]);
    expect(shape([...fenced, segment(1, 2, 0, 3)])).toEqual([[0, 10]]);
    expect(shape([...fenced, segment(3, 1, 0, 3)])).toEqual([[0, 10]]);
    expect(shape([...fenced, segment(5, 1, 10, 1), segment(1, 2, 0, 99)])).toEqual([
      [0, 10],
      [10, 1],
    ]);
    expect(shape([fence(5, 0, 0), segment(1, 1, 0, 10)])).toEqual([]);
  });

  it('is a run without gaps and overlaps, whatever is there', () => {
    const any = fc.oneof(
      fc.tuple(fc.nat(3), fc.nat(3), fc.nat(30), fc.nat(20)).map(([e, n, start, size]) => segment(e, n, start, size)),
      fc.tuple(fc.nat(4), fc.nat(3), fc.nat(3)).map(([e, last, n]) => fence(e, last, n)),
    );
    fc.assert(
      fc.property(fc.array(any, { maxLength: 12 }), fc.nat(40), (entries, cut) => {
        const extents = extentsOf(entries);
        let at = 0;
        for (const { start, length, from } of extents) {
          expect([start, from]).toEqual([at, 0]);
          expect(length).toBeGreaterThan(0);
          at += length;
        }
        expect(lengthOf(extents)).toBe(at);
        expect(lengthOf(cutAt(extents, cut))).toBe(Math.min(cut, at));
      }),
    );
  });

  it('is the same without what was replaced as a whole', () => {
    const any = fc.tuple(fc.nat(30), fc.nat(20)).map(([start, size]) => ({ start, size: size + 1 }));
    fc.assert(
      fc.property(fc.array(any, { maxLength: 10 }), (writes) => {
        const entries = writes.map(({ start, size }, index) => segment(1, index, start, size));
        const names = new Set(extentsOf(entries).map(({ name }) => name));
        expect(extentsOf(entries.filter(({ name }) => names.has(name)))).toEqual(extentsOf(entries));
      }),
    );
  });
});
