import { setTimeout as delay } from 'node:timers/promises';
import { AppError } from '../../platform/index.ts';
import { isArchived, isRefusal } from './failures.ts';

/** Between one try, which is three requests already, and the next; milliseconds, each half of that or more. */
const PAUSES: readonly number[] = [500, 1000, 2000, 4000, 8000, 16_000, 32_000];

/** An object that is there and cannot be had: it lies in an archive. */
export class Archived extends Error {
  override name = 'Archived';
}

/**
 * Does what asks a bucket, again and again for some minutes where the server is throttled or down: for work of hours that
 * nobody waits for. What the server refuses it will refuse again: that ends it, with words for whoever set it up.
 */
export async function patiently<T>(what: string, work: () => Promise<T>, pauses: readonly number[] = PAUSES): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await work();
    } catch (error) {
      const cause = error instanceof AppError ? error.cause : error;
      if (isArchived(cause)) throw new Archived(`${what} lies in an archive; restore it first`, { cause });
      const pause = isRefusal(cause) ? undefined : pauses[tries];
      if (pause === undefined) throw new Error(`${what}: ${wordsOf(cause)}`, { cause });
      await delay(pause * (0.5 + Math.random() / 2));
    }
  }
}

function wordsOf(error: unknown): string {
  const { name = '', message = '' } = (error ?? {}) as Partial<Error>;
  return message === '' || message === 'UnknownError'
    ? `the bucket says ${name === '' ? 'nothing that can be understood' : name}`
    : `${name}: ${message}`;
}
