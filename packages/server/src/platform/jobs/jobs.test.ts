import { expect, it } from 'vitest';
import { postgresData, sqliteData } from '../database/testing.ts';
import { jobContract } from './contract.ts';
import { pauseAfter } from './schedule.ts';

jobContract('SQLite', sqliteData);
jobContract('PostgreSQL', postgresData);

it('pauses after failures grow, end at a quarter of an hour, and are spread', () => {
  expect([1, 2, 3, 4].map((attempts) => pauseAfter(attempts, 1))).toEqual([1000, 2000, 4000, 8000]);
  expect(pauseAfter(1, 0)).toBe(500);
  expect(pauseAfter(1, 0.12345)).toBe(562); // a time is a whole number of milliseconds
  expect(pauseAfter(50, 1)).toBe(15 * 60_000);
  expect(pauseAfter(1_000_000, 0)).toBe(7.5 * 60_000);
});
