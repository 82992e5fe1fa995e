import { closeSync, openSync, readSync } from 'node:fs';
import type { Query } from './query.ts';

/** Rows kept before all are dropped. */
const MAX_ROWS = 50_000;
/** Length of the header of SQLite's WAL index; it names the last committed transaction (sqlite.org/walformat.html, section 2.1). */
const HEADER_BYTES = 48;
const NONE = Symbol('no row');

/**
 * Single rows read before, valid as long as no process has committed anything since: the header of the WAL index is
 * compared once a turn, which costs less than a query. So a change is seen at once, whoever made it.
 */
export class RowCache {
  readonly #fd: number;
  #header: Buffer = Buffer.alloc(HEADER_BYTES);
  #spare: Buffer = Buffer.alloc(HEADER_BYTES);
  readonly #rows = new Map<object, Map<string, unknown>>();
  #count = 0;
  #current = false;
  /** Has the next read look for commits again; called after each commit of this process, as that may come within one turn. */
  readonly expire = (): void => {
    this.#current = false;
  };

  /** `path` is the database's `-shm` file. */
  constructor(path: string) {
    this.#fd = openSync(path, 'r');
  }

  /** The row of a query, from before or by `read`. Rows are shared: nobody changes them. */
  first<P, R>(query: Query<P, R>, params: P, read: () => R | undefined): R | undefined {
    this.#revalidate();
    let rows = this.#rows.get(query);
    if (rows === undefined) {
      rows = new Map();
      this.#rows.set(query, rows);
    }
    const key = keyOf(params);
    const known = rows.get(key);
    if (known !== undefined) return known === NONE ? undefined : (known as R);
    const row = read();
    if (++this.#count > MAX_ROWS) this.#clear();
    else if (row === undefined || !holdsBytes(row)) rows.set(key, row ?? NONE);
    return row;
  }

  close(): void {
    closeSync(this.#fd);
  }

  #revalidate(): void {
    // Once for all that runs in one turn: a request that arrives later than this look is served in a later turn.
    if (this.#current) return;
    this.#current = true;
    process.nextTick(this.expire);
    // A commit under way may be read half written; then the next look finds another difference and drops the rows again.
    readSync(this.#fd, this.#spare, 0, HEADER_BYTES, 0);
    if (this.#spare.equals(this.#header)) return;
    [this.#header, this.#spare] = [this.#spare, this.#header];
    this.#clear();
  }

  #clear(): void {
    for (const rows of this.#rows.values()) rows.clear();
    this.#count = 0;
  }
}

function keyOf(params: unknown): string {
  let key = '';
  for (const name in params as object) key += `${(params as Record<string, unknown>)[name]}\0`;
  return key;
}

function holdsBytes(row: unknown): boolean {
  return Object.values(row as object).some((value) => value instanceof Uint8Array);
}
