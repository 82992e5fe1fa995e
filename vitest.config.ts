import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

/** Rooms whose tests run on PostgreSQL too, each time; ENTREPOT_TEST_DATABASE=postgres has all of them run there. */
const ON_BOTH = ['catalog', 'access', 'evidence/trail', 'evidence/notes'].map((room) => `packages/server/src/${room}/**/*.test.ts`);

/** Counts who waits in which turn of the event loop, which is known only where the database answers at once. */
const ORDER_OF_TURNS = ['packages/server/src/access/passwords.test.ts'];

export default defineConfig({
  test: {
    // Most files wait for servers and disks more than they compute: two at a time even where there are two processors.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    globalSetup: ['packages/server/src/platform/database/testing-setup.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    reporters: ['default', './scripts/count-reporter.ts'],
    projects: [
      { extends: true, test: { name: 'all', include: ['packages/*/src/**/*.test.ts', 'e2e/**/*.test.ts'] } },
      { extends: true, test: { name: 'postgres', include: ON_BOTH, exclude: ORDER_OF_TURNS, env: { ENTREPOT_TEST_DATABASE: 'postgres' } } },
    ],
  },
});
