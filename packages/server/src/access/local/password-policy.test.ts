import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { randomPassword } from '../passwords.ts';
import { isGuessable } from './guessable.ts';
import { checkPassword, type PasswordRules } from './password-policy.ts';

const owner = { name: 'alice', email: 'a.liddell@example.com', fullName: 'Alice Pleasance Liddell' };
const RULES: PasswordRules = { passwordMinLength: 12, passwordClasses: 0, passwordHistory: 0 };
const refusal = (password: string, rules: Partial<PasswordRules> = {}): string | undefined => {
  try {
    checkPassword({ ...RULES, ...rules }, password, owner);
    return undefined;
  } catch (error) {
    expect(error).toMatchObject({ code: 'password_rejected', status: 400 });
    return (error as Error).message;
  }
};

describe('a password is refused', () => {
  it.each([
    '',
    'short',
    'elevenchars',
    'x'.repeat(257),
    'alice-went-to-town',
    'my-name-is-ALICE',
    'password1234',
    'P@ssw0rd1234!',
    'drowssap-1234',
    'Password2026!!',
    '123456789012',
    '210987654321',
    'qwertyuiop123',
    'qwertyuiopasdf',
    'aaaaaaaaaaaaaaaa',
    'abababababab',
    'abcdefghijklm',
    'Harbor12345!!',
    'admin@admin.123',
    'letmeinletmein',
    'WelcomeWelcome1',
    'changeme-2025!',
    'iloveyou112233',
    'EntrepotRegistry1',
    'liddell-2024-12',
    'Pleasance123456',
    'c0mpany.Summer2026',
  ])('%j', (password) => expect(refusal(password)).toBeTypeOf('string'));

  it('that lacks the kinds of characters that are asked for', () => {
    const plain = 'rather unlikely words';
    expect(refusal(plain, { passwordClasses: 2 })).toBeUndefined();
    expect(refusal(plain, { passwordClasses: 3 })).toMatch(/3 of/);
    expect(refusal('Rather unlikely word 7', { passwordClasses: 4 })).toBeUndefined();
    expect(refusal('ratherunlikelywords', { passwordClasses: 2 })).toMatch(/2 of/);
  });

  it('that is shorter than is asked for, counted in characters', () => {
    expect(refusal('zj8Kq2', { passwordMinLength: 8 })).toMatch(/8 to/);
    expect(refusal('zj8Kq2vW', { passwordMinLength: 8 })).toBeUndefined();
    expect(refusal('🙂🐙🦊🐝🌵🍋')).toMatch(/12 to/);
  });
});

it.each([
  'correct horse battery staple',
  'correct-horse-battery-staple',
  'zebra.kettle.moss.9',
  'T7#kq9!vLw2x',
  '90731846250917364820',
  'Tr0ub4dor&3 is too short',
  'eine Kuh macht Muh, viele',
])('%j is taken', (password) => expect(refusal(password)).toBeUndefined());

it('random passwords are never taken for guessable, and any text is answered in time', () => {
  for (let n = 0; n < 500; n++) expect(refusal(randomPassword())).toBeUndefined();
  fc.assert(
    fc.property(
      fc.string({ maxLength: 256 }),
      fc.string({ maxLength: 20 }),
      (text, word) => typeof isGuessable(text, [word]) === 'boolean',
    ),
  );
  for (const text of ['a', 'qwerty', 'password', '\0']) expect(isGuessable(text.repeat(256), [])).toBe(true);
});
