import { closeSync, openSync, readSync } from 'node:fs';
import { endianness } from 'node:os';
import { compile, type Query } from './query.ts';

/** Rows kept before all are dropped. */
const MAX_ROWS = 50_000;
/** Length of the header of SQLite's WAL index; it names the last committed transaction (sqlite.org/walformat.html, section 2.1). */
const HEADER_BYTES = 48;
/** Where the header counts transactions, in the byte order of the machine. */
const CHANGES = 8;
const LITTLE_ENDIAN = endianness() === 'LE';
const NONE = Symbol('no row');

/**
 * Single rows read before, valid as long as no process has committed anything since: the header of the WAL index is
 * compared once a turn, which costs less than a query. So a change is seen at once, whoever made it. Of what this process
 * commits itself it knows the tables, and keeps the rows of all others; there are no triggers and no cascades.
 */
export class RowCache {
  readonly #fd: number;
  #header: Buffer = Buffer.alloc(HEADER_BYTES);
  #spare: Buffer = Buffer.alloc(HEADER_BYTES);
  readonly #rows = new Map<Query<never, unknown>, Map<string, unknown>>();
  #count = 0;
  #current = false;
  readonly #expire = (): void => {
    this.#current = false;
  };

  /** `path` is the database's `-shm` file. */
  constructor(path: string) {
    this.#fd = openSync(path, 'r');
  }

  /** The row of a query, from before or by `read`. Rows are shared: nobody changes them. */
  first<P, R>(query: Query<P, R>, params: P, read: () => R | undefined): R | undefined {
    this.#revalidate();
    const untyped = query as unknown as Query<never, unknown>;
    let rows = this.#rows.get(untyped);
    if (rows === undefined) {
      rows = new Map();
      this.#rows.set(untyped, rows);
    }
    const key = keyOf(params);
    const known = rows.get(key);
    if (known !== undefined) return known === NONE ? undefined : (known as R);
    const row = read();
    if (++this.#count > MAX_ROWS) this.#clear();
    else if (row === undefined || !holdsBytes(row)) rows.set(key, row ?? NONE);
    return row;
  }

  /** This process has taken the write lock: nobody else commits until it gives it back. */
  locked(): void {
    this.#current = false;
    this.#revalidate();
  }

  /** This process has committed changes of these tables, and nothing else since `locked`. */
  committed(tables: ReadonlySet<string>): void {
    readSync(this.#fd, this.#spare, 0, HEADER_BYTES, 0);
    if (this.#spare.equals(this.#header)) return; // nothing had changed
    const isOurs = changesOf(this.#spare) === (changesOf(this.#header) + 1) >>> 0;
    if (!isOurs) {
      this.#current = false; // another was quicker: the next read finds out
      return;
    }
    this.#take();
    for (const [query, rows] of this.#rows) {
      if (compile(query).tables.isDisjointFrom(tables)) continue;
      this.#count -= rows.size;
      rows.clear();
    }
  }

  close(): void {
    closeSync(this.#fd);
  }

  #revalidate(): void {
    // Once for all that is served in one turn of the event loop: what began to arrive after this look is served in a later one.
    if (this.#current) return;
    this.#current = true;
    setImmediate(this.#expire);
    // A commit under way may be read half written; then the next look finds another difference and drops the rows again.
    readSync(this.#fd, this.#spare, 0, HEADER_BYTES, 0);
    if (this.#spare.equals(this.#header)) return;
    this.#take();
    this.#clear();
  }

  #take(): void {
    [this.#header, this.#spare] = [this.#spare, this.#header];
  }

  #clear(): void {
    for (const rows of this.#rows.values()) rows.clear();
    this.#count = 0;
  }
}

function changesOf(header: Buffer): number {
  return LITTLE_ENDIAN ? header.readUInt32LE(CHANGES) : header.readUInt32BE(CHANGES);
}

function keyOf(params: unknown): string {
  let key = '';
  for (const name in params as object) key += `${(params as Record<string, unknown>)[name]}\0`;
  return key;
}

function holdsBytes(row: unknown): boolean {
  return Object.values(row as object).some((value) => value instanceof Uint8Array);
}
