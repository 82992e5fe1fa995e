import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DIGEST_ALGORITHMS, digestOf, isDigest, isDigestAlgorithm, parseDigest } from './digest.ts';

const algorithm = fc.constantFrom(...DIGEST_ALGORITHMS);

describe('digests', () => {
  it('are what the hash says, of any bytes, and are read back', () => {
    fc.assert(
      fc.property(fc.uint8Array(), algorithm, (bytes, name) => {
        const hex = createHash(name).update(bytes).digest('hex');
        expect(digestOf(bytes, name)).toBe(`${name}:${hex}`);
        expect(parseDigest(digestOf(bytes, name))).toEqual({ algorithm: name, hex });
      }),
    );
    expect(digestOf('')).toBe(`sha256:${createHash('sha256').digest('hex')}`);
  });

  it('are refused with one character changed, added or left out', () => {
    const other = fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }).filter((text) => !/[a-f0-9]/.test(text));
    fc.assert(
      fc.property(algorithm, fc.nat(), other, fc.constantFrom('replace', 'insert', 'delete'), (name, place, text, how) => {
        const digest = digestOf('content', name);
        const at = place % digest.length;
        const kept = how === 'insert' ? at : at + 1;
        const changed = digest.slice(0, at) + (how === 'delete' ? '' : text) + digest.slice(kept);
        fc.pre(changed !== digest);
        expect(isDigest(changed)).toBe(false);
      }),
    );
  });

  it('are not looked for in arbitrary text', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect([isDigest(text), isDigestAlgorithm(text)]).toEqual([false, false]);
      }),
    );
    for (const name of ['constructor', '__proto__', 'toString']) expect(isDigest(`${name}:${'a'.repeat(64)}`)).toBe(false);
  });
});
