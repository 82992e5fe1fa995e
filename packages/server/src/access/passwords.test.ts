import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { catalogMigrations } from '../catalog/index.ts';
import { roomData } from '../platform/database/testing.ts';
import type { Database } from '../platform/index.ts';
import { unthrottled } from './local/testing.ts';
import { createPasswordChecker, hashPassword, isAcceptablePassword, type PasswordChecker, randomPassword } from './passwords.ts';
import { accessMigrations } from './schema.ts';
import { createUser, setDisabled, setPassword } from './users.ts';

/** What argon2 is asked: the hashes it compares with, how many at once at most, and what it waits for. */
const argon2 = vi.hoisted(() => ({ asked: [] as string[], running: 0, most: 0, before: async (): Promise<void> => undefined }));

vi.mock('@node-rs/argon2', async (original) => {
  const real = await original<typeof import('@node-rs/argon2')>();
  return {
    ...real,
    verify: async (hash: string, ...rest: [string]) => {
      argon2.asked.push(hash);
      argon2.most = Math.max(argon2.most, ++argon2.running);
      try {
        await argon2.before();
        return await real.verify(hash, ...rest);
      } finally {
        argon2.running--;
      }
    },
  };
});

const PASSWORD = 'correct horse battery staple';
const hashed = hashPassword(PASSWORD);
let store: ReturnType<typeof roomData>;
let database: Database;
let passwords: { check(name: string, password: string): ReturnType<PasswordChecker['check']> };

beforeEach(async () => {
  Object.assign(argon2, { asked: [], running: 0, most: 0, before: async () => undefined });
  store = roomData([...catalogMigrations, ...accessMigrations]);
  database = await store.open();
  const checker = createPasswordChecker(database, unthrottled);
  passwords = { check: (name, password) => checker.check(name, password, '192.0.2.1') };
  const hash = await hashed;
  await database.write(async (tx) => {
    for (const name of ['ann', 'bob']) await createUser(tx, { name, hash, admin: false, now: 1 });
  });
});
afterEach(() => store.remove());

describe('a password', () => {
  it('is right or wrong', async () => {
    expect(await passwords.check('ann', PASSWORD)).toMatchObject({ name: 'ann', disabled: false });
    for (const wrong of ['', 'wrong', `${PASSWORD} `, PASSWORD.toUpperCase(), `${PASSWORD}\0`]) {
      expect(await passwords.check('ann', wrong)).toBeUndefined();
    }
    for (const name of ['', 'ANN', 'ann ', "ann' --", 'nobody']) expect(await passwords.check(name, PASSWORD)).toBeUndefined();
  });

  it('costs the same for a user that does not exist', async () => {
    await passwords.check('bob', 'wrong');
    await passwords.check('nobody', 'wrong');
    await passwords.check('nobody', PASSWORD);
    expect(argon2.asked).toHaveLength(3);
    const cost = (hash: string | undefined) => hash?.split('$').slice(0, 4);
    expect(argon2.asked.map(cost)).toEqual(Array(3).fill(cost(await hashed)));
    expect(new Set(argon2.asked).size).toBe(2);
  });

  it('of a disabled user is wrong, and costs the same', async () => {
    await database.write((tx) => setDisabled(tx, 'ann', true));
    expect(await passwords.check('ann', PASSWORD)).toBeUndefined();
    expect(argon2.asked).toHaveLength(1);
  });

  it('of a name outside the grammar costs the same, and such a name is looked up nowhere', async () => {
    const first = vi.spyOn(database, 'first');
    for (const name of ['', 'Ann', 'ann ', 'a'.repeat(64), 'a'.repeat(1_000_000), 'a\0b', "' or 1=1"]) {
      expect(await passwords.check(name, 'wrong')).toBeUndefined();
    }
    expect(argon2.asked).toHaveLength(7);
    expect(first).not.toHaveBeenCalled();
    expect(await passwords.check('ann', PASSWORD)).toBeDefined();
    expect(first).toHaveBeenCalledOnce();
  });

  it('longer than any can be is not even hashed', async () => {
    expect(await passwords.check('ann', 'x'.repeat(1_000_000))).toBeUndefined();
    expect(await passwords.check('nobody', 'x'.repeat(1_000_000))).toBeUndefined();
    expect(argon2.asked).toEqual([]);
  });
});

describe('what was accepted a moment ago', () => {
  const accepted = async (name = 'ann', password = PASSWORD) => (await passwords.check(name, password)) !== undefined;

  it('is accepted again without hashing, for that user and password alone', async () => {
    expect(await accepted()).toBe(true);
    expect(await accepted()).toBe(true);
    expect(argon2.asked).toHaveLength(1);
    expect(await accepted('ann', `${PASSWORD}x`)).toBe(false);
    expect(await accepted('bob')).toBe(true);
    expect(argon2.asked).toHaveLength(3);
  });

  it('is void at once when the password changes, also by another process', async () => {
    expect(await accepted()).toBe(true);
    const other = await store.open();
    const hash = await hashPassword('another long password');
    await other.write((tx) => setPassword(tx, 'ann', hash));
    expect(await accepted()).toBe(false);
    expect(await accepted('ann', 'another long password')).toBe(true);
    expect(await accepted()).toBe(false);
  });

  it('is void at once when the user is disabled, and stays so when enabled again until it is proved anew', async () => {
    expect(await accepted()).toBe(true);
    await database.write((tx) => setDisabled(tx, 'ann', true));
    expect(await accepted()).toBe(false);
    await database.write((tx) => setDisabled(tx, 'ann', false));
    const before = argon2.asked.length;
    expect(await accepted()).toBe(true);
    expect(argon2.asked.length).toBe(before + 1);
  });

  it('does not count where the password changed while it was checked', async () => {
    const hash = await hashPassword('another long password');
    argon2.before = async () => {
      argon2.before = async () => undefined;
      await database.write((tx) => setPassword(tx, 'ann', hash));
    };
    await accepted(); // proved against the password of before
    expect(await accepted()).toBe(false);
  });
});

describe('many logins at once', () => {
  it('run two at a time, wait up to a limit, and are refused past that', async () => {
    let open = () => {};
    const gate = new Promise<void>((resolve) => (open = resolve));
    expect(await passwords.check('bob', PASSWORD)).toBeDefined(); // remembered from now on
    argon2.before = () => gate;
    const checks = Array.from({ length: 66 }, () => passwords.check('ann', 'wrong'));
    await expect.poll(() => argon2.running).toBe(2);
    for (const name of ['ann', 'nobody']) {
      await expect(passwords.check(name, 'wrong')).rejects.toMatchObject({
        code: 'too_many_requests',
        status: 429,
        headers: { 'Retry-After': '2' },
      });
    }
    // Who is known does not wait behind those who guess.
    expect(await passwords.check('bob', PASSWORD)).toBeDefined();
    open();
    expect(await Promise.all(checks)).toEqual(Array(66).fill(undefined));
    expect(argon2.most).toBe(2);
    expect(await passwords.check('ann', PASSWORD)).toBeDefined();
  });

  it('go on after one that failed', async () => {
    argon2.before = () => Promise.reject(new Error('no memory'));
    const ends = await Promise.allSettled(Array.from({ length: 10 }, () => passwords.check('ann', PASSWORD)));
    expect(ends.every(({ status }) => status === 'rejected')).toBe(true);
    argon2.before = async () => undefined;
    expect(await passwords.check('ann', PASSWORD)).toBeDefined();
  });
});

describe('passwords that are made', () => {
  it('are random, long, and easy to copy', () => {
    const made = Array.from({ length: 200 }, randomPassword);
    expect(new Set(made).size).toBe(200);
    for (const password of made) {
      expect(password).toMatch(/^[a-km-np-z2-9]{26}$/);
      expect(isAcceptablePassword(password)).toBe(true);
    }
    // Each of the 32 characters is used: none was lost to arithmetic.
    expect(new Set(made.join('')).size).toBe(32);
  });

  it('are stored salted, at the cost that OWASP recommends', async () => {
    const [one, other] = await Promise.all([hashPassword(PASSWORD), hashPassword(PASSWORD)]);
    expect(one).not.toBe(other);
    expect(one).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
  });

  it('are acceptable from 12 to 256 characters', () => {
    expect([11, 12, 256, 257].map((length) => isAcceptablePassword('x'.repeat(length)))).toEqual([false, true, true, false]);
  });
});
