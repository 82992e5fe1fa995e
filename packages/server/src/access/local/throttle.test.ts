import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { catalogMigrations } from '../../catalog/index.ts';
import { roomData } from '../../platform/database/testing.ts';
import type { Database } from '../../platform/index.ts';
import { accessMigrations } from '../schema.ts';
import { createUser, findUser, type User } from '../users.ts';
import { secondFactorMigrations } from './second-factor.ts';
import { createThrottle, sourceOf, type Throttle, throttleMigrations } from './throttle.ts';

const MINUTE = 60_000;
const HOME = '192.0.2.1';
const STRANGER = '198.51.100.7';
const KEY = randomBytes(32);
let store: ReturnType<typeof roomData>;
let database: Database;
let throttle: Throttle;
let ann: User;
let now = 0;

beforeEach(async () => {
  now = Date.parse('2026-01-01T00:00:00Z');
  store = roomData([...catalogMigrations, ...accessMigrations, ...throttleMigrations, ...secondFactorMigrations]);
  database = await store.open();
  await database.write((tx) => createUser(tx, { name: 'ann', hash: 'x', admin: false, now }));
  ann = (await findUser(database, 'ann')) ?? expect.fail('no user');
  throttle = createThrottle({ database, key: KEY, now: () => now });
});
afterEach(() => store.remove());

/** What comes of a password: it was looked at and right or wrong, known as wrong, or has to wait. */
async function login(name: string, password: string, client: string, { through = throttle, right = false } = {}): Promise<string> {
  const user = name === 'ann' ? ann : undefined;
  const attempt = through.password({ name, user, password, client });
  try {
    if (!(await attempt.admit())) return 'known as wrong';
  } catch (error) {
    expect(error).toMatchObject({ code: 'too_many_requests', status: 429 });
    return `wait ${(error as { headers: Record<string, string> }).headers['Retry-After']}`;
  }
  await attempt.settle(right);
  return right ? 'right' : 'wrong';
}
const right = (client: string) => login('ann', 'the right one', client, { right: true });
let guesses = 0;
const guess = (client: string, name = 'ann') => login(name, `guess ${++guesses}`, client);
async function until(answer: RegExp, ask: () => Promise<string>, most: number): Promise<number> {
  for (let n = 0; n <= most; n++) if (answer.test(await ask())) return n;
  throw new Error(`not within ${most}`);
}

describe('wrong passwords of a stranger', () => {
  it('wait longer and longer after five', async () => {
    expect(await until(/wait 5$/, () => guess(STRANGER), 10)).toBe(5);
    let before = 5;
    for (let n = 0; n < 6; n++) {
      now += before * 1000 - 1;
      expect(await guess(STRANGER)).toBe('wait 1');
      now += 1;
      expect(await guess(STRANGER)).toBe('wrong');
      const [, seconds] = /^wait (\d+)$/.exec(await guess(STRANGER)) ?? [];
      expect(Number(seconds)).toBeGreaterThanOrEqual(before); // a little is forgiven meanwhile
      before = Number(seconds);
    }
    expect(before).toBeGreaterThanOrEqual(80);
  });

  it('lock the owner out neither elsewhere nor at home, though they come from the same address', async () => {
    expect(await right(HOME)).toBe('right');
    await until(/wait/, () => guess(STRANGER), 10);
    expect(await right(HOME)).toBe('right');
    expect(await right('203.0.113.9')).toBe('right'); // where it never was
    for (let n = 0; n < 50; n++) expect(await guess(HOME)).toBe('wrong');
    await until(/wait/, () => guess(HOME, 'nobody'), 10);
    expect(await right(HOME)).toBe('right');
    // Without end they slow down there too, and the owner waits ten seconds at the most.
    await until(/wait/, () => guess(HOME), 60);
    for (let n = 0; n < 50; n++) {
      now += 10_000;
      expect(await guess(HOME)).toBe('wrong');
      expect(Number((await guess(HOME)).slice(5))).toBeLessThanOrEqual(10);
    }
    now += 10_000;
    expect(await right(HOME)).toBe('right');
  });

  it('for many names from one address wait together, whatever the case of a name', async () => {
    expect(await until(/wait/, () => guess(STRANGER, `name-${guesses}`), 40)).toBe(30);
    expect(await guess(STRANGER, 'ann')).toMatch(/wait/);
    expect(await guess(HOME, 'ANN')).toBe('wrong');
    for (const name of ['Ann', 'aNN', 'anN', 'ANn']) await guess(HOME, name);
    expect(await guess(HOME, 'ann')).toMatch(/wait/);
  });

  it('are forgiven with time', async () => {
    await until(/wait/, () => guess(STRANGER), 10);
    now += 30 * MINUTE;
    expect(await until(/wait/, () => guess(STRANGER), 10)).toBe(3);
    now += 3 * 60 * MINUTE;
    expect(await until(/wait/, () => guess(STRANGER), 10)).toBe(5);
  });

  it('are counted over all processes', async () => {
    const other = createThrottle({ database: await store.open(), key: KEY, now: () => now });
    let n = 0;
    const alternately = () => login('ann', `guess ${++guesses}`, STRANGER, { through: ++n % 2 ? other : throttle });
    expect(await until(/wait/, alternately, 10)).toBe(5);
  });

  it('count once where they are the same, as of a program that goes on with an old one', async () => {
    for (let n = 0; n < 100; n++) expect(await login('ann', 'old', STRANGER)).toBe(n === 0 ? 'wrong' : 'known as wrong');
    expect(await guess(STRANGER)).toBe('wrong');
    // Not for anybody else, and no longer once it is the one that is right.
    expect(await login('bob', 'old', STRANGER)).toBe('wrong');
    ann = { ...ann, generation: ann.generation + 1 };
    expect(await login('ann', 'old', STRANGER, { right: true })).toBe('right');
  });

  it('are not forgiven for a login of the guesser', async () => {
    await until(/wait/, () => guess(STRANGER, `name-${guesses}`), 40);
    now += MINUTE;
    expect(await right(STRANGER)).toBe('right');
    expect(await guess(STRANGER, 'other')).toBe('wrong');
    expect(await guess(STRANGER, 'other')).toMatch(/wait/);
  });
});

it('codes of a second factor are guessed five times, from everywhere together but where the user has logged in', async () => {
  let looked = 0;
  const code = async (client: string) => {
    const look = async () => void looked++;
    return await throttle.code({ userId: ann.id, client }, look).then(
      () => 'wrong',
      () => 'wait',
    );
  };
  await right(HOME);
  let n = 0;
  expect(await until(/wait/, () => code(`198.51.100.${++n}`), 10)).toBe(5);
  expect(await until(/wait/, () => code(HOME), 10)).toBe(5);
  // Nor more at once.
  now += 3 * 60 * MINUTE;
  looked = 0;
  await Promise.all(Array.from({ length: 100 }, () => code(STRANGER)));
  expect(looked).toBe(5);
  now += MINUTE;
  expect(await throttle.code({ userId: ann.id, client: STRANGER }, async () => 'right')).toBe('right');
});

it('an address counts as far as it tells customers apart', () => {
  expect(sourceOf('192.0.2.1')).toBe('192.0.2.1');
  expect(sourceOf('::ffff:192.0.2.1')).toBe('192.0.2.1');
  expect(sourceOf('2001:db8:1:2:3:4:5:6')).toBe('2001:db8:1:2::/64');
  expect(sourceOf('2001:db8:1:2::1')).toBe('2001:db8:1:2::/64');
  expect(sourceOf('2001:db8:1:3::1')).not.toBe(sourceOf('2001:db8:1:2::1'));
  expect(sourceOf('')).toBe('');
});
