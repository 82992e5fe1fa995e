import { setImmediate as nextTurn } from 'node:timers/promises';
import Type, { type Static } from 'typebox';
import { AppError } from '../../platform/index.ts';
import { compare, type Fields, meets, parseQ, parseSort } from './query.ts';

const SIZE = 10;
/** Items looked at for one list: Harbor's pages are numbers, so those before a page are read again for each. */
const MOST = 10_000;

/** Parameters of every list; unlike in the management API others are ignored, as Harbor does. */
export const ListQuery = Type.Object({
  page: Type.Optional(Type.Integer({ minimum: 1, maximum: MOST })),
  page_size: Type.Optional(Type.Integer({ minimum: 1, maximum: 100 })),
  q: Type.Optional(Type.String({ maxLength: 2048 })),
  sort: Type.Optional(Type.String({ maxLength: 256 })),
});

/** Any JSON array. */
export const Items = Type.Array(Type.Unknown());

export interface Listed<T> {
  /** The first so many in the order of the list. */
  load(most: number): Promise<readonly T[]>;
  /** How many there are, where that is known without reading them. */
  count?(): Promise<number>;
  readonly fields: Fields<T>;
  /** Filters that stand beside `q`. */
  readonly where?: (item: T) => boolean;
  view(item: T): Promise<unknown>;
}

interface Call {
  readonly query: Static<typeof ListQuery>;
  readonly url: string;
}

/** A page of a list with `X-Total-Count` and `Link`, filtered by `q` and sorted by `sort`. */
export async function answerList<T>({ query, url }: Call, list: Listed<T>) {
  const { page = 1, page_size: size = SIZE, q = '', sort = '' } = query;
  if (page * size > MOST) throw new AppError('bad_request', `lists end at ${MOST} items here; longer ones are read under /api/v1`);
  const conditions = parseQ(q).map(([name, condition]) => ({ read: fieldOf(list.fields, name), condition }));
  const orders = parseSort(sort).map(({ field, descending }) => ({ read: fieldOf(list.fields, field), sign: descending ? -1 : 1 }));
  const isPlain = conditions.length === 0 && orders.length === 0 && list.where === undefined;
  const total = isPlain ? await list.count?.() : undefined;
  const loaded = await list.load(total === undefined ? MOST : page * size);
  const found = loaded.filter(
    (item) => (list.where?.(item) ?? true) && conditions.every(({ read, condition }) => meets(read(item), condition)),
  );
  if (orders.length > 0) {
    found.sort((a, b) => orders.reduce((sum, { read, sign }) => sum || sign * compare(read(a), read(b)), 0));
  }
  const all = total ?? found.length;
  const items: unknown[] = [];
  for (const item of found.slice((page - 1) * size, page * size)) items.push(await list.view(item));
  const links = linksOf(url, { page, size, total: all });
  return { body: items, headers: { 'X-Total-Count': String(all), ...(links === '' ? {} : { Link: links }) } };
}

function fieldOf<T>(fields: Fields<T>, name: string): Fields<T>[string] {
  const read = Object.hasOwn(fields, name) ? fields[name] : undefined;
  if (!read) throw new AppError('bad_request', `this list has no field ${name.slice(0, 60)} to filter or sort by`);
  return read;
}

function linksOf(url: string, { page, size, total }: { page: number; size: number; total: number }): string {
  const [path = '', text = ''] = url.split('?', 2);
  const at = (number: number, rel: string) => {
    const parameters = new URLSearchParams(text);
    parameters.set('page', String(number));
    parameters.set('page_size', String(size));
    return `<${path}?${parameters}>; rel="${rel}"`;
  };
  const before = page > 1 && (page - 1) * size < total ? [at(page - 1, 'prev')] : [];
  return [...before, ...(page * size < total ? [at(page + 1, 'next')] : [])].join(' , ');
}

/** Pages read for one list: those of filtered lists may be empty, and still go on. */
const MOST_PAGES = 50;

/** The first so many items of a list that goes on page by page; other requests have their turn between. */
export async function gather<T, P>(
  most: number,
  pageAfter: (last: P | undefined, limit: number) => Promise<{ readonly items: readonly T[]; readonly next: P | undefined }>,
): Promise<T[]> {
  const gathered: T[] = [];
  let last: P | undefined;
  for (let pages = 0; pages < MOST_PAGES && gathered.length < most; pages++) {
    if (pages > 0) await nextTurn();
    const { items, next } = await pageAfter(last, Math.min(1000, most - gathered.length));
    gathered.push(...items);
    if (next === undefined) break;
    last = next;
  }
  return gathered;
}
