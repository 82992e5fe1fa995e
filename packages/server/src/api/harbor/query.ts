import { AppError } from '../../platform/index.ts';

/** One condition of `q`: exactly a value, about one, one of several, all of several, or within bounds. */
export type Condition =
  | { readonly kind: 'exact' | 'fuzzy'; readonly value: string }
  | { readonly kind: 'any' | 'all'; readonly values: readonly string[] }
  | { readonly kind: 'range'; readonly min: string; readonly max: string };

/** What a field of an item holds; times as milliseconds since 1970. */
export type FieldValue = string | number | boolean | null | readonly string[];

/** Fields that a list may be filtered and sorted by, and nothing else (attack class C4). */
export type Fields<T> = Readonly<Record<string, (item: T) => FieldValue>>;

const MOST_CONDITIONS = 20;

/** Reads Harbor's `q`: `k=v,k=~v,k=[min~max],k={a b},k=(a b)`. Throws `bad_request` for anything else. */
export function parseQ(q: string): [string, Condition][] {
  if (q === '') return [];
  const parts = unescaped(q).split(',');
  if (parts.length > MOST_CONDITIONS) throw new AppError('bad_request', `q holds ${MOST_CONDITIONS} conditions at the most`);
  return parts.map((part) => {
    const equals = part.indexOf('=');
    const [key, value] = [part.slice(0, equals), part.slice(equals + 1)];
    if (equals < 1 || value === '') throw new AppError('bad_request', 'a condition of q is key=value, neither of them empty');
    return [key, conditionOf(value)];
  });
}

/** Some clients encode it twice. */
function unescaped(q: string): string {
  try {
    return decodeURIComponent(q);
  } catch {
    return q;
  }
}

function conditionOf(value: string): Condition {
  const inner = value.slice(1, -1);
  const list = () => inner.split(' ').map(unquoted).filter(Boolean);
  if (value.startsWith('~') && value.length > 1) return { kind: 'fuzzy', value: value.slice(1) };
  if (value.startsWith('{') && value.endsWith('}')) return { kind: 'any', values: list() };
  if (value.startsWith('(') && value.endsWith(')')) return { kind: 'all', values: list() };
  if (value.startsWith('[') && value.endsWith(']')) {
    const [min = '', max = '', ...more] = inner.split('~').map((text) => unquoted(text.trim()));
    if (more.length === 0 && inner.includes('~') && (min !== '' || max !== '')) return { kind: 'range', min, max };
  }
  if (/^[~[{(]/.test(value)) throw new AppError('bad_request', `q has a value that cannot be read: ${value.slice(0, 60)}`);
  return { kind: 'exact', value: value.startsWith('\\') ? value.slice(1) : value };
}

function unquoted(text: string): string {
  return text.replace(/^["']|["']$/g, '');
}

/** Whether a value meets a condition. */
export function meets(value: FieldValue, condition: Condition): boolean {
  const texts = Array.isArray(value) ? (value as readonly string[]) : value === null ? [] : [String(value)];
  switch (condition.kind) {
    case 'exact':
      if (Array.isArray(value) && condition.value === 'nil') return texts.length === 0;
      if (Array.isArray(value) && condition.value === '*') return texts.length > 0;
      return texts.includes(condition.value);
    case 'fuzzy':
      return texts.some((text) => text.toLowerCase().includes(condition.value.toLowerCase()));
    case 'any':
      return condition.values.some((wanted) => texts.includes(wanted));
    case 'all':
      return condition.values.every((wanted) => texts.includes(wanted));
    case 'range':
      return isWithin(value, condition);
  }
}

function isWithin(value: FieldValue, { min, max }: { min: string; max: string }): boolean {
  if (typeof value !== 'number') return typeof value === 'string' && (min === '' || value >= min) && (max === '' || value <= max);
  return (min === '' || value >= boundOf(min)) && (max === '' || value <= boundOf(max));
}

const TIME = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}:\d{2})?$/;

/** A bound for numbers: a time in UTC, as milliseconds since 1970, or a number. */
function boundOf(text: string): number {
  const bound = TIME.test(text) ? Date.parse(text.includes('T') ? `${text}Z` : text) : Number(text);
  if (Number.isNaN(bound)) throw new AppError('bad_request', `${text.slice(0, 60)} is neither a time nor a number`);
  return bound;
}

/** The fields of `sort`, with their order. */
export function parseSort(sort: string): { field: string; descending: boolean }[] {
  return sort
    .split(',')
    .filter((part) => part !== '')
    .map((part) => ({ field: part.replace(/^-/, ''), descending: part.startsWith('-') }));
}

export function compare(a: FieldValue, b: FieldValue): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  const [left, right] = [String(a), String(b)];
  return left < right ? -1 : left > right ? 1 : 0;
}
