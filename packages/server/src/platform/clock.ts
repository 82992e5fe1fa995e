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

/** An id that sorts by time (UUID version 7, RFC 9562 section 5.7). */
export function newSortableId(now: number): string {
  const time = now.toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`;
}

/** When a sortable id was made; milliseconds since 1970. */
export function timeOfId(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}

/** What sorts before all sortable ids made at a time or later. */
export function sortableIdBound(time: number): string {
  const text = Math.max(0, Math.floor(time)).toString(16).padStart(12, '0');
  return `${text.slice(0, 8)}-${text.slice(8)}`;
}
