import { randomUUID } from 'node:crypto';

/** Time and identity, handed in so that tests decide them. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
}

export const systemClock: Clock = { now: () => Date.now() };

export function newId(): string {
  return randomUUID();
}
