import type { ServerResponse } from 'node:http';

interface Whole {
  readonly response: ServerResponse;
  readonly body: string | Uint8Array | undefined;
}

/** Answers of this turn of the event loop, in their order. */
let waiting: Whole[] = [];

/**
 * Ends a response whose head and body are all here; a string is latin1. Those of one turn of the event loop go to the kernel one
 * after the other at its end: who waits for them on this machine is woken once and not for each, which is worth a quarter of the rate.
 */
export function endTogether(response: ServerResponse, body?: string | Uint8Array): void {
  if (waiting.push({ response, body }) === 1) setImmediate(endAll);
}

/** Ends what waits, for who cannot wait for the end of the turn. */
export function endAll(): void {
  const ready = waiting;
  waiting = [];
  for (const { response, body } of ready) response.end(body, 'latin1');
}
