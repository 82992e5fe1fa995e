import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { catalogMigrations } from '../../catalog/index.ts';
import { roomData } from '../../platform/database/testing.ts';
import { createSeal, type Database } from '../../platform/index.ts';
import { accessMigrations } from '../schema.ts';
import { createUser } from '../users.ts';
import { createSecondFactors, dropSecondFactor, hasSecondFactor, type SecondFactors, secondFactorMigrations } from './second-factor.ts';
import { codeAt } from './testing.ts';

const START = Date.parse('2026-01-01T00:00:10Z');
const STEP = 30_000;
const store = roomData([...catalogMigrations, ...accessMigrations, ...secondFactorMigrations]);
let database: Database;
let factors: SecondFactors;
let users = 0;

beforeAll(async () => {
  database = await store.open();
  factors = createSecondFactors({ seal: createSeal(randomBytes(32)), key: randomBytes(32) });
});
afterAll(() => store.remove());

it('codes are computed here as RFC 6238 has them', () => {
  const secret = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ'; // '12345678901234567890', appendix B
  expect([59, 1_111_111_109, 1_234_567_890, 20_000_000_000].map((seconds) => codeAt(secret, seconds * 1000))).toEqual([
    '287082',
    '081804',
    '005924',
    '353130',
  ]);
});

async function enrolled(): Promise<{ id: number; secret: string }> {
  const name = `user-${++users}`;
  const id = (await database.write((tx) => createUser(tx, { name, hash: 'x', admin: false, now: 1 }))) ?? 0;
  const { secret } = await database.write((tx) => factors.begin(tx, { id, name }, 'Test', START));
  return { id, secret };
}
const check = (id: number, code: string, now: number, unconfirmed = false) => factors.check(database, id, code, now, { unconfirmed });
async function confirmed(): Promise<{ id: number; secret: string }> {
  const user = await enrolled();
  expect(await database.write((tx) => factors.confirm(tx, user.id))).toBe(true);
  return user;
}

it('a code is right at its time and one step around it, in digits with or without a gap', async () => {
  const { id, secret } = await confirmed();
  for (const [steps, right] of [
    [-2, false],
    [-1, true],
    [0, true],
    [1, true],
    [2, false],
  ] as const) {
    expect([steps, (await check(id, codeAt(secret, START + steps * STEP), START)) !== undefined]).toEqual([steps, right]);
  }
  const code = codeAt(secret, START);
  expect(await check(id, `${code.slice(0, 3)} ${code.slice(3)}`, START)).toBeDefined();
  for (const wrong of ['', code.slice(1), `0${code}`, `${code}0`, 'abcdef', '１２３４５６', secret])
    expect(await check(id, wrong, START)).toBeUndefined();
});

it('a code counts once, and none before it afterwards', async () => {
  const { id, secret } = await confirmed();
  const right = await check(id, codeAt(secret, START), START);
  if (!right) throw new Error('the code is right');
  const takes = await Promise.all([1, 2, 3].map(() => database.write((tx) => factors.take(tx, id, right))));
  expect(takes.toSorted()).toEqual([false, false, true]);
  expect(await check(id, codeAt(secret, START), START)).toBeUndefined();
  expect(await check(id, codeAt(secret, START - STEP), START)).toBeUndefined();
  expect(await check(id, codeAt(secret, START + STEP), START)).toBeDefined();
});

it('a seed counts only once it is confirmed, and opens for nobody else', async () => {
  const { id, secret } = await enrolled();
  const other = await confirmed();
  expect(await hasSecondFactor(database, id)).toBe(false);
  expect(await check(id, codeAt(secret, START), START)).toBeUndefined();
  expect(await check(id, codeAt(secret, START), START, true)).toBeDefined();
  expect(await check(other.id, codeAt(other.secret, START), START, true)).toBeUndefined();
  expect(await check(other.id, codeAt(secret, START), START)).toBeUndefined();
  expect(await database.write((tx) => factors.confirm(tx, id))).toBe(true);
  expect(await database.write((tx) => factors.confirm(tx, id))).toBe(false);
  expect(await hasSecondFactor(database, id)).toBe(true);
});

it("recovery codes are their owner's, good for once, and void with new ones", async () => {
  const [ann, bob] = [await confirmed(), await confirmed()];
  const codes = await database.write((tx) => factors.recoveryCodes(tx, ann.id));
  expect(codes.every((code) => /^[a-km-np-z2-9]{4}(-[a-km-np-z2-9]{4}){3}$/.test(code))).toBe(true);
  const [first = '', second = ''] = codes;
  expect(await check(bob.id, first, START)).toBeUndefined();
  const right = await check(ann.id, first, START);
  if (!right) throw new Error('the code is right');
  const takes = await Promise.all([1, 2, 3].map(() => database.write((tx) => factors.take(tx, ann.id, right))));
  expect(takes.toSorted()).toEqual([false, false, true]);
  expect(await check(ann.id, first, START)).toBeUndefined();
  expect(await check(ann.id, second, START)).toBeDefined();
  await database.write((tx) => factors.recoveryCodes(tx, ann.id));
  expect(await check(ann.id, second, START)).toBeUndefined();
  await database.write((tx) => dropSecondFactor(tx, ann.id));
  expect(await hasSecondFactor(database, ann.id)).toBe(false);
});
