import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compare, meets, parseQ, parseSort } from './query.ts';

describe('q', () => {
  it.each([
    ['name=app', 'app', true],
    ['name=app', 'apple', false],
    ['name=~pp', 'Apple', true],
    ['name=~x', 'Apple', false],
    ['name={a b}', 'b', true],
    ['name={\'a\' "b"}', 'a', true],
    ['name={a b}', 'c', false],
    ['name=[b~d]', 'c', true],
    ['name=[b~d]', 'e', false],
    ['size=[5~10]', 7, true],
    ['size=[5~]', 4, false],
    ['size=[~10]', 10, true],
    ['time=[2026-01-01T00:00:00~2026-01-02T00:00:00]', Date.UTC(2026, 0, 1, 12), true],
    ['time=[2026-01-02~]', Date.UTC(2026, 0, 1, 12), false],
    ['tags=nil', [], true],
    ['tags=nil', ['v1'], false],
    ['tags=*', ['v1'], true],
    ['tags=(v1 v2)', ['v2', 'v1', 'v3'], true],
    ['tags=(v1 v2)', ['v1'], false],
    ['public=true', true, true],
    ['name=\\~x', '~x', true],
    ['name=%7Ex', 'axb', true],
    ['name=a=b', 'a=b', true],
    ['name=x', null, false],
  ] as const)('%s of %j: %s', (q, value, expected) => {
    const [[, condition] = []] = parseQ(q);
    expect(condition && meets(value as never, condition)).toBe(expected);
  });

  it.each([
    'x',
    '=x',
    'x=',
    ',',
    'a=b,,c=d',
    'a=[1]',
    'a=[~]',
    'a=[1~2~3]',
    'a={b',
    'a=(b',
    'a=~',
    'a=[b',
    Array(30).fill('a=b').join(','),
  ])('%s is refused', (q) => {
    expect(() => parseQ(q)).toThrow(expect.objectContaining({ code: 'bad_request' }));
  });

  it('is read, or refused, whatever it is', () => {
    fc.assert(
      fc.property(fc.string(), fc.oneof(fc.string(), fc.integer(), fc.constant(null), fc.array(fc.string())), (q, value) => {
        try {
          for (const [, condition] of parseQ(q)) meets(value, condition);
        } catch (error) {
          expect(error).toMatchObject({ code: 'bad_request' });
        }
      }),
    );
  });
});

it('sort names fields, - before one for descending', () => {
  expect(parseSort('-name,push_time')).toEqual([
    { field: 'name', descending: true },
    { field: 'push_time', descending: false },
  ]);
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.integer()), fc.oneof(fc.string(), fc.integer()), (a, b) => {
      expect(Math.sign(compare(a, b)) + Math.sign(compare(b, a))).toBe(0);
    }),
  );
});
