import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ByteRange, parseRanges } from './ranges.ts';

type Spec = readonly [first: number | undefined, last: number | undefined];

const place = fc.oneof(fc.nat(20), fc.constantFrom(0, 1, 999_999_999_999_999));
const spec: fc.Arbitrary<Spec> = fc.oneof(
  fc.tuple(place, place),
  fc.tuple(place, fc.constant(undefined)),
  fc.tuple(fc.constant(undefined), place),
);
const space = fc.constantFrom('', ' ', '\t');

/** Numbers of the bytes that one range asks for, found by going through all of them. */
function asked([first, last]: Spec, size: number): number[] {
  const all = Array.from({ length: size }, (_, byte) => byte);
  if (first === undefined) return last === undefined ? [] : all.filter((byte) => byte >= size - last);
  return all.filter((byte) => byte >= first && byte <= (last ?? size));
}

function bytesOf({ start, end }: ByteRange): number[] {
  return Array.from({ length: end - start + 1 }, (_, byte) => start + byte);
}

describe('parseRanges', () => {
  it('gives just the bytes that are asked for and there', () => {
    fc.assert(
      fc.property(fc.array(spec, { minLength: 1, maxLength: 4 }), fc.nat(15), space, (specs, size, gap) => {
        const header = `${size % 2 === 0 ? 'bytes' : 'Bytes'}=${specs.map(([first, last]) => `${gap}${first ?? ''}-${last ?? ''}${gap}`).join()}`;
        const wanted = specs.map((one) => asked(one, size)).filter((bytes) => bytes.length > 0);
        if (wanted.length === 0) {
          expect(() => parseRanges(header, size)).toThrow(
            expect.objectContaining({ code: 'range_unsatisfiable', status: 416, headers: { 'Content-Range': `bytes */${size}` } }),
          );
        } else if (wanted.length > 1 && wanted.flat().length > size) {
          expect(parseRanges(header, size)).toBeUndefined();
        } else {
          expect(parseRanges(header, size)?.map(bytesOf)).toEqual(wanted);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it.each([
    undefined,
    '',
    'bytes',
    'bytes=',
    'bytes=-',
    'bytes=a-b',
    'bytes=0',
    'bytes=0-1,',
    'bytes=0-1;2-3',
    'bytes=0 - 1',
    'bytes=-0-1',
    'bytes=+0-1',
    'bytes=0x0-1',
    'bytes=1e1-2e1',
    'bytes=0-1000000000000000000000',
    'items=0-1',
    'Bytes 0-1',
    `bytes=${Array(257).fill('0-0').join()}`,
  ])('ignores %j', (header) => {
    expect(parseRanges(header, 100)).toBeUndefined();
  });

  it('takes many small ranges', () => {
    const specs = Array.from({ length: 256 }, (_, i) => `${2 * i}-${2 * i}`);
    expect(parseRanges(`bytes=${specs.join()}`, 1000)).toHaveLength(256);
  });

  it('throws nothing else, whatever the text', () => {
    const text = fc.array(fc.constantFrom('bytes=', '-', ',', '0', '9', ' ', 'x', '\t', '١'), { maxLength: 20 });
    fc.assert(
      fc.property(text, fc.nat(20), (parts, size) => {
        let ranges: readonly ByteRange[] = [];
        try {
          ranges = parseRanges(parts.join(''), size) ?? [];
        } catch (error) {
          expect(error).toMatchObject({ code: 'range_unsatisfiable' });
        }
        for (const { start, end } of ranges) expect(start >= 0 && start <= end && end < size).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});
