import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseDigest } from './digest.ts';
import { isRepositoryName, isTag, projectOf, referrersTag, referrersTagSubjectPrefix } from './reference.ts';

const word = fc.stringMatching(/^[a-z0-9]{1,8}$/);
const component = fc
  .tuple(word, fc.array(fc.tuple(fc.constantFrom('.', '_', '__', '-', '---'), word), { maxLength: 3 }))
  .map(([first, rest]) => first + rest.flat().join(''));

describe('repository names', () => {
  it('accepts what the grammar builds and finds its project', () => {
    fc.assert(
      fc.property(fc.array(component, { minLength: 1, maxLength: 5 }), (parts) => {
        const name = parts.join('/');
        expect(isRepositoryName(name)).toBe(name.length <= 255);
        expect(projectOf(name)).toBe(parts[0]);
      }),
    );
  });
  it.each(['', '/', 'a/', '/a', 'a//b', 'A', 'a..b', 'a___b', '-a', 'a-', '../etc', 'a/../b', 'a\n', 'a%2fb', 'é', `${'a'.repeat(256)}`])(
    'refuses %j',
    (name) => {
      expect(isRepositoryName(name)).toBe(false);
    },
  );
  it('decides on a hostile name in linear time', () => {
    expect(isRepositoryName(`${'a-'.repeat(127)}!`)).toBe(false);
  });
});

describe('tags and digests', () => {
  it.each(['', '.a', '-a', 'a b', 'a\n', 'a/b', 'a'.repeat(129)])('refuses the tag %j', (tag) => {
    expect(isTag(tag)).toBe(false);
  });
  it.each([
    'sha256:',
    'sha256:ABC',
    `sha256:${'A'.repeat(64)}`,
    `sha256:${'a'.repeat(65)}`,
    `sha384:${'a'.repeat(96)}`,
    `sha512:${'a'.repeat(64)}`,
    'a'.repeat(64),
    `sha256:${'a'.repeat(64)}\n`,
  ])('refuses the digest %j', (digest) => {
    expect(parseDigest(digest)).toBeUndefined();
  });
  it('makes the fallback tag of both algorithms and finds back', () => {
    expect(referrersTag(`sha256:${'a'.repeat(64)}`)).toBe(`sha256-${'a'.repeat(64)}`);
    expect(referrersTag(`sha512:${'b'.repeat(128)}`)).toBe(`sha512-${'b'.repeat(64)}`);
    expect(referrersTagSubjectPrefix(`sha512-${'b'.repeat(64)}`)).toBe(`sha512:${'b'.repeat(64)}`);
    expect(referrersTagSubjectPrefix('latest')).toBeUndefined();
  });
});
