import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createSeal } from './seal.ts';

describe('seal', () => {
  const seal = createSeal(randomBytes(32));

  it.each(['', 'secret', 'π'.repeat(5000)])('gives back what was sealed', (secret) => {
    expect(seal.open(seal.seal(secret, 'here'), 'here')).toBe(secret);
  });

  it('never seals alike twice', () => {
    expect(seal.seal('secret', 'here')).not.toBe(seal.seal('secret', 'here'));
  });

  it('opens nowhere else, under no other key, and not once a byte has changed', () => {
    const sealed = seal.seal('secret', 'here');
    expect(() => seal.open(sealed, 'there')).toThrow();
    expect(() => createSeal(randomBytes(32)).open(sealed, 'here')).toThrow();
    expect(() => seal.open('', 'here')).toThrow('too short');
    const bytes = Buffer.from(sealed, 'base64url');
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(() => seal.open(changed.toString('base64url'), 'here')).toThrow();
    }
  });
});
