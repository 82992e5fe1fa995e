import { hash } from 'node:crypto';
import type { Column, Table } from './shape.ts';

/** A value as every database gives it back: whole numbers exactly, with all of their 64 bits. */
export type Cell = bigint | number | string | Uint8Array | null;
/** Values in the order of the table's columns. */
export type Row = readonly Cell[];

/** How many rows a table has, and a sum over all of them that does not depend on their order. */
export interface TableSum {
  readonly rows: number;
  readonly sum: string;
}

export type Sums = ReadonlyMap<string, TableSum>;

/** Of a row that the other database would not take, or not as it is. */
export interface Misfit {
  readonly table: string;
  /** Its key, for people. */
  readonly row: string;
  readonly column: string;
  readonly problem: string;
}

/** Rows go over in batches; none has more rows, nor, but for its last row, more bytes. */
export const BATCH_ROWS = 1000;
export const BATCH_BYTES = 1 << 20;

const INT64 = 2n ** 63n;
const MASK = 2n ** 64n - 1n;

/** What keeps a value from being one of its column in any database; undefined where nothing does. */
function misfitOf({ type, nullable }: Column, value: Cell): string | undefined {
  if (value === null) return nullable ? undefined : 'is NULL';
  if (type === 'integer')
    return typeof value === 'bigint' && value >= -INT64 && value < INT64 ? undefined : 'is no whole number of 64 bits';
  if (type === 'real') return isNumber(value) ? undefined : 'is no number';
  if (type === 'bytes') return value instanceof Uint8Array ? undefined : 'is no bytes';
  if (typeof value !== 'string') return 'is no text';
  return value.includes('\0') ? 'has the character U+0000, which PostgreSQL does not store' : undefined;
}

/** Of NaN SQLite would make NULL. */
function isNumber(value: Cell): boolean {
  return typeof value === 'bigint' || (typeof value === 'number' && !Number.isNaN(value));
}

/** Misfits of a row, each with its place. */
export function misfitsOf(table: Table, row: Row): Misfit[] {
  return table.columns.flatMap((column, at) => {
    const problem = misfitOf(column, row[at] ?? null);
    return problem === undefined ? [] : [{ table: table.name, row: keyOf(table, row), column: column.name, problem }];
  });
}

function keyOf({ columns, key }: Table, row: Row): string {
  const names = key.length > 0 ? key : columns.slice(0, 2).map(({ name }) => name);
  const told = names.map((name) => `${name} ${String(row[columns.findIndex((column) => column.name === name)]).slice(0, 80)}`);
  return JSON.stringify(told.join(', ')).slice(1, -1);
}

/** Adds rows up: SHA-256 of each, the first 128 bits as two numbers, added without their carry. */
export class Summing {
  #rows = 0;
  #low = 0n;
  #high = 0n;

  add(table: Table, row: Row): void {
    const digest = hash('sha256', textOf(table, row), 'buffer');
    this.#rows++;
    this.#low = (this.#low + digest.readBigUInt64BE(0)) & MASK;
    this.#high = (this.#high + digest.readBigUInt64BE(8)) & MASK;
  }

  get rows(): number {
    return this.#rows;
  }

  sum(): TableSum {
    const hex = (part: bigint) => part.toString(16).padStart(16, '0');
    return { rows: this.#rows, sum: hex(this.#low) + hex(this.#high) };
  }
}

/** A row as one text, by which equal rows are equal, and others are not, whichever database gives them. */
function textOf({ columns }: Table, row: Row): string {
  let text = '';
  for (const [at, { type }] of columns.entries()) {
    const value = row[at] ?? null;
    if (value === null) text += 'n';
    else if (value instanceof Uint8Array) text += `b${value.length}:${hash('sha256', value)}`;
    else if (typeof value === 'string') text += `t${value.length}:${value}`;
    else text += `${type === 'real' ? `r${Number(value)}` : `i${value}`};`;
  }
  return text;
}

/** Bytes that a row takes in memory, more or less. */
export function weightOf(row: Row): number {
  let weight = 0;
  for (const value of row) weight += typeof value === 'string' || value instanceof Uint8Array ? value.length : 8;
  return weight;
}

/** Where two databases differ, in words. */
export function differences(expected: Sums, found: Sums): string[] {
  return [...expected].flatMap(([name, { rows, sum }]) => {
    const other = found.get(name);
    if (other === undefined) return [`table ${name} is missing`];
    if (other.rows !== rows) return [`table ${name} has ${other.rows} rows, not ${rows}`];
    return other.sum === sum ? [] : [`table ${name} has other values`];
  });
}
