import fc from 'fast-check';
import { expect, it } from 'vitest';
import { isKeySecret, newKeySecret } from './key-secret.ts';

it('a new secret has the form by which scanners know it, and is like no other', () => {
  const secrets = Array.from({ length: 200 }, newKeySecret);
  expect(new Set(secrets).size).toBe(200);
  for (const secret of secrets) {
    expect(secret).toMatch(/^ent_[0-9A-Za-z]{38}$/);
    expect(isKeySecret(secret)).toBe(true);
  }
  // As many bits as promised: no character is rare or missing.
  expect(new Set(secrets.flatMap((secret) => [...secret.slice(4, 36)])).size).toBe(62);
});

it('a secret with one character changed has not the form', () => {
  const secret = newKeySecret();
  for (let at = 0; at < secret.length; at++) {
    const other = secret[at] === 'x' ? 'y' : 'x';
    expect(isKeySecret(secret.slice(0, at) + other + secret.slice(at + 1))).toBe(false);
  }
});

it('no other text has the form', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^ent_[0-9A-Za-z]{38}$/)), (text) => {
      expect(isKeySecret(text)).toBe(false);
    }),
  );
  expect(isKeySecret(`${newKeySecret()}\n`)).toBe(false);
});
