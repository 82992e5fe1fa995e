import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileGlob } from './globs.ts';

describe('a glob', () => {
  it.each<[string, string[], string[]]>([
    ['team/app', ['team/app'], ['team/ap', 'team/app2', 'Team/app', '']],
    ['team/*', ['team/app', 'team/'], ['team/app/web', 'team', 'other/app']],
    ['team/**', ['team/app', 'team/app/web', 'team/'], ['team', 'teams/app']],
    ['**', ['a', 'a/b', ''], []],
    ['*', ['a', ''], ['a/b']],
    ['**/web', ['a/web', 'a/b/web', '/web'], ['web', 'a/web2']],
    ['a*c', ['ac', 'abc', 'abcbc'], ['ab', 'a/c']],
    ['app-?', ['app-1'], ['app-', 'app-12', 'app-/']],
    ['v{1,2}.*', ['v1.0', 'v2.'], ['v3.0', 'v{1,2}.0']],
    ['{a,b}/{c,d}', ['a/c', 'b/d'], ['a/b']],
    ['a.b+(c)[d]', ['a.b+(c)[d]'], ['axb', 'a.bb(c)d']],
  ])('%s', (pattern, matching, others) => {
    const glob = compileGlob(pattern);
    for (const name of matching) expect([name, glob(name)]).toEqual([name, true]);
    for (const name of others) expect([name, glob(name)]).toEqual([name, false]);
  });

  it.each(['', 'a'.repeat(513), 'a{b', 'a}b', '{a,{b}}', '{a,b}'.repeat(7)])('is refused: %j', (pattern) => {
    expect(() => compileGlob(pattern)).toThrow(TypeError);
  });

  it('means what a regular expression of the same meaning does', () => {
    const part = fc.constantFrom('a', 'b', '/', '*', '**', '?', '.');
    const toRegExp = (pattern: string) =>
      new RegExp(`^${pattern.replace(/\*{2,}|[*?.]/g, (sign) => ({ '*': '[^/]*', '?': '[^/]', '.': '\\.' })[sign] ?? '.*')}$`, 's');
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 8 }), fc.stringMatching(/^[ab/.]{0,8}$/), (parts, name) => {
        const pattern = parts.join('');
        expect(compileGlob(pattern)(name)).toBe(toRegExp(pattern).test(name));
      }),
      { numRuns: 2000 },
    );
  });

  it('takes no more steps than pattern times name, however it is made', () => {
    // As a regular expression this would not end.
    expect(compileGlob(`${'*a'.repeat(250)}b`)('a'.repeat(5000))).toBe(false);
  });
});
