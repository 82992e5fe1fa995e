import { afterAll } from 'vitest';

const cleanups: (() => void | Promise<void>)[] = [];

/**
 * Has something done when all tests of the file are over, whatever became of them; what was asked for last comes first.
 * A test process does not reach its `exit` event: vitest ends it by a signal.
 */
export function atEnd(cleanup: () => void | Promise<void>): void {
  cleanups.push(cleanup);
}

afterAll(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});
