import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadConditions } from './conditions.ts';

const { compile, time } = await loadConditions();
const claims = {
  repository: 'octo/app',
  ref: 'refs/heads/main',
  groups: ['a', 'b'],
  run: 7,
  nested: { namespace: 'prod' },
  'kubernetes.io': { namespace: 'prod' },
};
const holds = (source: string) =>
  compile(source, ['claims', 'client', 'time']).holds({ claims, client: '10.1.2.3', time: time(Date.UTC(2026, 0, 5, 9)) });

describe('a condition', () => {
  it.each([
    'claims.repository == "octo/app" && claims.ref.startsWith("refs/heads/")',
    'claims["kubernetes.io"].namespace == "prod"',
    '"a" in claims.groups && claims.groups.exists(g, g == "b")',
    'claims.run == 7 && claims.run > 6',
    'claims.ref.matches("^refs/heads/(main|release-.*)$")',
    'inCidr(client, "10.0.0.0/8, 192.168.0.0/16")',
    'time.getHours("Europe/Berlin") == 10 && time.getDayOfWeek() == 1',
    'time < timestamp("2026-02-01T00:00:00Z")',
    '!has(claims.environment) || claims.environment == "x"',
    'type(claims.run) == double || true',
  ])('holds: %s', (source) => expect(holds(source)).toBe(true));

  it.each([
    'claims.repository == "octo/other"',
    'claims.repository.matches("^octo$")',
    'inCidr(client, "192.168.0.0/16")',
    '"constructor" in claims || "__proto__" in claims',
    'has(claims.constructor) || has(claims.__proto__) || has(claims.toString)',
  ])('does not hold: %s', (source) => expect(holds(source)).toBe(false));

  it.each([
    'claims.missing == "x"',
    'claims.run == 1 || claims.missing',
    'claims.repository',
    '1',
    'claims.run / 0 == 1',
    'claims.toString() == ""',
  ])('cannot be decided, and so lets nothing pass: %s', (source) => expect(() => holds(source)).toThrow());

  it.each([
    ['', 'CEL'],
    ['claims.', 'CEL'],
    ['a b', 'CEL'],
    ['claim.repository == "x"', 'names claim'],
    ['process.exit', 'names process'],
    ['claims.groups.all(x, claims.groups.all(y, x == y))', 'loop inside a loop'],
    ['claims.groups.filter(x, true).all(y, true)', 'loop inside a loop'],
    ['claims.ref.matches(claims.pattern)', 'does not stand'],
    ['inCidr(client, "10/8")', 'range'],
    [`${'true && '.repeat(200)}true`, 'characters'],
    [`${'claims.groups.all(x, true) && '.repeat(9)}true`, 'loops'],
    [`${'('.repeat(500)}true${')'.repeat(500)}`, 'CEL'],
  ])('is refused: %s', (source, why) => {
    expect(() => compile(source, ['claims', 'client', 'time'])).toThrow(why);
  });

  it('tells which fields of a fact it names', () => {
    const condition = compile('claims.a == 1 && claims["b c"] == 2 || has(claims.d) && other.e == claims.a.f', ['claims', 'other']);
    expect(condition.fieldsOf('claims')).toEqual(['a', 'b c', 'd', 'a']);
    expect(condition.fieldsOf('other')).toEqual(['e']);
  });

  it('compiles, or says what is wrong, whatever the text; and holds or throws, whatever the facts', () => {
    const word = fc.constantFrom(
      'claims',
      '.',
      'a',
      '==',
      '"x"',
      '(',
      ')',
      '&&',
      'in',
      '[',
      ']',
      '1',
      'has',
      'matches',
      '{',
      '}',
      ',',
      '?',
      ':',
    );
    const text = fc.oneof(
      fc.string(),
      fc.array(word, { maxLength: 12 }).map((words) => words.join(' ')),
    );
    fc.assert(
      fc.property(text, fc.dictionary(fc.string(), fc.jsonValue()), (source, facts) => {
        let condition: ReturnType<typeof compile>;
        try {
          condition = compile(source, ['claims']);
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
          return;
        }
        try {
          expect(typeof condition.holds({ claims: facts })).toBe('boolean');
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
        }
      }),
      { numRuns: 500 },
    );
  });
});
