import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nextLink, pageSize, warning } from './http.ts';

const anyText = fc.string({ unit: 'binary', maxLength: 40 });
/** What may stand in a header's value without ending it (RFC 9110 section 5.5). */
const SAFE_HEADER = /^[\x20-\x7e]*$/;

describe('nextLink', () => {
  it('can be followed: its address has the same parameters, whatever they are', () => {
    const parameters = fc.dictionary(fc.constantFrom('n', 'last', 'artifactType'), fc.option(anyText, { nil: undefined }));
    fc.assert(
      fc.property(parameters, (given) => {
        const [header, value = ''] = nextLink('/v2/demo/app/tags/list', given);
        expect(header).toBe('Link');
        expect(value).toMatch(SAFE_HEADER);
        const match = /^<([^<>]*)>; rel="next"$/.exec(value);
        const url = new URL(match?.[1] ?? '', 'http://host');
        expect(url.pathname).toBe('/v2/demo/app/tags/list');
        const wanted = Object.entries(given).flatMap(([key, text]) => (text === undefined ? [] : [[key, text.toWellFormed()]]));
        expect([...url.searchParams].sort()).toEqual(wanted.sort());
      }),
    );
  });
});

describe('warning', () => {
  it('is one quoted line of printable characters, not too long, whatever the text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 3000, size: 'max' }), (text) => {
        const [header, value = ''] = warning(text);
        expect(header).toBe('Warning');
        expect(value).toMatch(/^299 - "[^"\\]*"$/);
        expect(value).toMatch(SAFE_HEADER);
        expect(value.length).toBeLessThanOrEqual(1010);
      }),
    );
  });
  it('says what it is given', () => {
    expect(warning('this tag is old')).toEqual(['Warning', '299 - "this tag is old"']);
    expect(warning('a "quoted" \\ word\r\nX: y')[1]).toBe(`299 - "a 'quoted' ' word??X: y"`);
  });
});

describe('pageSize', () => {
  const of = (n: string) => pageSize(new URLSearchParams({ n }), 1000);

  it('is what was asked for, up to the most', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 5000 }), (n, most) => {
        expect(pageSize(new URLSearchParams({ n: String(n) }), most)).toBe(Math.min(n, most));
      }),
    );
    expect(pageSize(new URLSearchParams(), 1000)).toBe(1000);
    expect(of('0')).toBe(0);
    expect(of('0010')).toBe(10);
    expect(of('999999999999999')).toBe(1000);
  });

  it.each(['', '-1', '1.5', '1e3', '0x10', ' 1', '1 ', '+1', 'NaN', 'Infinity', '١', '1000000000000000', '9'.repeat(5000), '1\n', '1,2'])(
    'refuses %j',
    (n) => {
      expect(() => of(n)).toThrow(expect.objectContaining({ code: 'pagination_invalid', status: 400 }));
    },
  );

  it('throws nothing else, whatever the text', () => {
    fc.assert(
      fc.property(anyText, (n) => {
        try {
          expect(Number.isSafeInteger(of(n))).toBe(true);
        } catch (error) {
          expect(error).toMatchObject({ code: 'pagination_invalid' });
        }
      }),
    );
  });
});
