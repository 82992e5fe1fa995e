import Type from 'typebox';
import { AppError } from '../../platform/index.ts';

/** A time as it stands in a body or an answer. */
export const Time = Type.String({ maxLength: 40, format: 'date-time' });
export const Expiry = Type.Union([Time, Type.Null()], { description: 'null: never' });

const DATE_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/;

/** Milliseconds of a time that is to come. Throws `bad_request` for any other text. */
export function readFuture(text: string, now: number): number {
  const at = DATE_TIME.test(text) ? Date.parse(text) : Number.NaN;
  if (!(at > now)) throw new AppError('bad_request', `${text} is no time that is to come, such as 2031-01-31T12:00:00Z`);
  return at;
}

/** When something ends; null: never, which is also what nothing said means. */
export function readExpiry(text: string | null | undefined, now: number): number | null {
  return text === undefined || text === null ? null : readFuture(text, now);
}

export function shownTime(at: number): string;
export function shownTime(at: number | null): string | null;
export function shownTime(at: number | null): string | null {
  return at === null ? null : new Date(at).toISOString();
}
