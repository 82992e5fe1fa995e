import fc from 'fast-check';
import { expect, it } from 'vitest';
import { split } from './compose.ts';
import { LEAST_PART } from './writer.ts';

it('cuts pieces into spans that cover them in order, none above the most nor too small but the last', () => {
  const length = fc.integer({ min: LEAST_PART, max: 40 * LEAST_PART });
  const pieces = fc.tuple(fc.array(length, { maxLength: 6 }), fc.integer({ min: 1, max: 2 * LEAST_PART }));
  fc.assert(
    fc.property(pieces, fc.integer({ min: 2 * LEAST_PART, max: 20 * LEAST_PART }), ([before, last], most) => {
      const lengths = [...before, last];
      const made = lengths.map((each, index) => ({ key: `k${index}`, from: index, start: 0, length: each, of: each + index }));
      const spans = split(made, most);
      for (const [index, { start, end }] of spans.entries()) {
        expect(end - start + 1).toBeLessThanOrEqual(most + 1);
        if (index < spans.length - 1) expect(end - start + 1).toBeGreaterThanOrEqual(LEAST_PART);
      }
      for (const { key, from, length: each } of made) {
        const own = spans.filter((span) => span.key === key);
        let at = from;
        for (const { start, end } of own) {
          expect(start).toBe(at);
          at = end + 1;
        }
        expect(at).toBe(from + each);
      }
    }),
  );
});

it('refuses a small piece before others, which a bucket would not copy', () => {
  const small = { key: 'a', from: 0, start: 0, length: 100, of: 100 };
  expect(() => split([small, small], LEAST_PART * 2)).toThrow();
  expect(split([small], LEAST_PART * 2)).toEqual([{ key: 'a', start: 0, end: 99 }]);
});
