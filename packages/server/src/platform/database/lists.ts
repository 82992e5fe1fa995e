import { type RawBuilder, type SqlBool, sql } from 'kysely';

/** Of a list: from small to large, or the other way. */
export type Order = 'asc' | 'desc';

/** What a list may be sorted by and filtered with is fixed; these are the parts its statements are made of. */
type Expression = RawBuilder<unknown>;

/** Rows beyond a position in the order of one column, and of another where that is equal; an index on both serves it as one range. */
export function beyond(column: Expression, tie: Expression, order: Order, at: Expression, tieAt: Expression): RawBuilder<SqlBool> {
  const sign = sql.raw(order === 'asc' ? '>' : '<');
  return sql<SqlBool>`${column} ${sign}= ${at} and (${column} ${sign} ${at} or ${tie} ${sign} ${tieAt})`;
}

/** The complement of `beyond`: rows up to a position, itself included. */
export function upTo(column: Expression, tie: Expression, order: Order, at: Expression, tieAt: Expression): RawBuilder<SqlBool> {
  const sign = sql.raw(order === 'asc' ? '<' : '>');
  return sql<SqlBool>`${column} ${sign}= ${at} and (${column} ${sign} ${at} or ${tie} ${sign}= ${tieAt})`;
}

/** Whether a text holds another one, in whatever case; the parameter is what `containing` makes of it. */
export function holdsText(column: Expression, pattern: Expression): RawBuilder<SqlBool> {
  return sql<SqlBool>`lower(${column}) like ${pattern} escape '\\'`;
}

/** Pattern of LIKE for a text as it stands: its own wildcards mean themselves. */
export function containing(text: string): string {
  return `%${text.toLowerCase().replace(/[\\%_]/g, '\\$&')}%`;
}

/** What comes before everything in an order. */
export const BEFORE_ALL = {
  asc: { text: '', number: Number.MIN_SAFE_INTEGER },
  desc: { text: '\u{10ffff}', number: Number.MAX_SAFE_INTEGER },
} as const;

/** What comes after everything in an order. */
export const AFTER_ALL = { asc: BEFORE_ALL.desc, desc: BEFORE_ALL.asc } as const;

/** `-name` as field and order. */
export function sortOf<F extends string>(sort: F | `-${F}`): { field: F; order: Order } {
  return sort.startsWith('-') ? { field: sort.slice(1) as F, order: 'desc' } : { field: sort as F, order: 'asc' };
}
