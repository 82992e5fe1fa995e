import { rmSync } from 'node:fs';
import type { Migration } from '../database.ts';
import { relations } from '../postgres-migrations.ts';
import { connectForLong, makePostgresTables, openPostgresTables } from './postgres-tables.ts';
import { differences, type Misfit, misfitsOf, type Row, Summing, type Sums } from './rows.ts';
import { type Table, tablesOf } from './shape.ts';
import { makeSqliteTables, openSqliteTables } from './sqlite-tables.ts';

/** A database that is read, as it is at one moment. */
export interface Source {
  migrations(): Promise<string[]>;
  /** All rows of a table, in no order. */
  rows(table: Table): AsyncIterable<readonly Row[]>;
  /** The largest number that the database has given in a table that it numbers, whether the row is still there or not. */
  lastNumber(table: Table): Promise<bigint>;
  end(): Promise<void>;
}

/** A database that is being filled, of which nobody sees anything before it is finished. */
export interface Target extends Source {
  insert(table: Table, rows: readonly Row[]): Promise<void>;
  setLastNumber(table: Table, value: bigint): Promise<void>;
  /** Builds indexes and foreign keys; gives what contradicts them. */
  build(): Promise<string[]>;
  finish(): Promise<void>;
}

export interface TransferOptions {
  readonly signal: AbortSignal;
  /** Told of each table and how many of its rows were copied or compared. */
  progress(table: string, rows: number): void;
}

const MISFITS_TOLD = 100;

/** Rows that the other database would not take as they are. */
class Misfits extends Error {
  override name = 'Misfits';
  constructor(misfits: readonly Misfit[]) {
    const lines = misfits.slice(0, MISFITS_TOLD).map(({ table, row, column, problem }) => `  ${table} (${row}): ${column} ${problem}`);
    const more = misfits.length > MISFITS_TOLD ? '\n  …' : '';
    super(`nothing was stored; these rows cannot be copied as they are, change them first:\n${lines.join('\n')}${more}`);
  }
}

/** Fills an empty PostgreSQL database from a file of SQLite. */
export async function sqliteToPostgres(
  from: string,
  to: string,
  migrations: readonly Migration[],
  options: TransferOptions,
): Promise<Sums> {
  const tables = tablesOf(migrations);
  return await copyAll(openSqliteTables(from), () => makePostgresTables(to, migrations, tables), { tables, migrations, options });
}

/** Throws unless a PostgreSQL database is empty. */
export async function requireEmptyPostgres(url: string): Promise<void> {
  const client = await connectForLong(url);
  const found = await relations(client).finally(() => client.end().catch(() => undefined));
  if (found.length > 0) throw new Error(`the PostgreSQL database is not empty: it has ${found.join(', ')}`);
}

/**
 * Fills a PostgreSQL database from a file of SQLite, unless a run that was cut off at its very end has done so already. Throws
 * where it holds anything else.
 */
export async function fillPostgres(from: string, to: string, migrations: readonly Migration[], options: TransferOptions): Promise<void> {
  const client = await connectForLong(to);
  const found = await relations(client).finally(() => client.end().catch(() => undefined));
  if (found.length === 0) return void (await sqliteToPostgres(from, to, migrations, options));
  const differ = await differencesBetween(from, to, migrations, options);
  if (differ.length > 0)
    throw new Error(`the PostgreSQL database is not empty, and holds something else: ${differ.slice(0, 5).join('; ')}`);
}

/** Makes a file of SQLite from a PostgreSQL database, as it is at one moment. What fails leaves no file. */
export async function postgresToSqlite(
  from: string,
  to: string,
  migrations: readonly Migration[],
  options: TransferOptions,
): Promise<Sums> {
  rmSync(to, { force: true });
  try {
    const tables = tablesOf(migrations);
    const make = async () => makeSqliteTables(to, migrations, tables);
    return await copyAll(await openPostgresTables(from), make, { tables, migrations, options });
  } catch (error) {
    rmSync(to, { force: true });
    throw error;
  }
}

/** Where a file of SQLite and a PostgreSQL database differ, in words; nothing where both have the same rows. */
export async function differencesBetween(
  file: string,
  url: string,
  migrations: readonly Migration[],
  options: TransferOptions,
): Promise<string[]> {
  const tables = tablesOf(migrations);
  const here = openSqliteTables(file);
  try {
    const there = await openPostgresTables(url);
    try {
      const [known, found] = [new Set(await here.migrations()), new Set(await there.migrations())];
      if (known.symmetricDifference(found).size > 0) return ['they have had other migrations'];
      return differences(await sumsOf(here, tables, options), await sumsOf(there, tables, options));
    } finally {
      await there.end();
    }
  } finally {
    await here.end();
  }
}

interface Copying {
  readonly tables: readonly Table[];
  readonly migrations: readonly Migration[];
  readonly options: TransferOptions;
}

/** Copies all tables, reads the copy, and finishes it only where it is the same. Ends both. */
async function copyAll(source: Source, make: () => Promise<Target>, { tables, migrations, options }: Copying): Promise<Sums> {
  try {
    requireSame(await source.migrations(), migrations);
    const target = await make();
    try {
      const sums = await copyTables(source, target, tables, options);
      const astray = await target.build().catch((error: unknown) => refused('', error));
      const found = [...astray, ...differences(sums, await sumsOf(target, tables, options))];
      if (found.length > 0) throw new Error(`nothing was stored; the copy is not sound: ${found.slice(0, 20).join('; ')}`);
      options.signal.throwIfAborted();
      await target.finish();
      return sums;
    } finally {
      await target.end();
    }
  } finally {
    await source.end();
  }
}

function requireSame(found: readonly string[], migrations: readonly Migration[]): void {
  const known = new Set(migrations.map(({ name }) => name));
  const unknown = found.filter((name) => !known.has(name));
  if (unknown.length > 0) throw new Error(`the database is of a newer version, which made ${unknown[0]}; copy it with that version`);
  if (found.length < known.size) throw new Error('the database is of an older version; start the server of this version on it once');
}

async function copyTables(source: Source, target: Target, tables: readonly Table[], { signal, progress }: TransferOptions): Promise<Sums> {
  const sums = new Map<string, ReturnType<Summing['sum']>>();
  const misfits: Misfit[] = [];
  for (const table of tables) {
    const summing = new Summing();
    const number = table.columns.findIndex(({ name }) => name === table.numbered);
    let last = await source.lastNumber(table);
    let copied = 0;
    for await (const rows of source.rows(table)) {
      signal.throwIfAborted();
      for (const row of rows) {
        misfits.push(...(misfits.length > MISFITS_TOLD ? [] : misfitsOf(table, row)));
        summing.add(table, row);
        const given = row[number];
        if (typeof given === 'bigint' && given > last) last = given;
      }
      if (misfits.length === 0) await target.insert(table, rows).catch((error: unknown) => refused(`table ${table.name}: `, error));
      copied += rows.length;
      progress(table.name, copied);
    }
    sums.set(table.name, summing.sum());
    if (last > 0n && misfits.length === 0) await target.setLastNumber(table, last);
  }
  if (misfits.length > 0) throw new Misfits(misfits);
  return sums;
}

async function sumsOf(source: Source, tables: readonly Table[], { signal, progress }: TransferOptions): Promise<Sums> {
  const sums = new Map<string, ReturnType<Summing['sum']>>();
  for (const table of tables) {
    const summing = new Summing();
    for await (const rows of source.rows(table)) {
      signal.throwIfAborted();
      for (const row of rows) summing.add(table, row);
      progress(table.name, summing.rows);
    }
    sums.set(table.name, summing.sum());
  }
  return sums;
}

function refused(where: string, error: unknown): never {
  const { message, detail } = error as Error & { readonly detail?: string };
  throw new Error(`nothing was stored; ${where}${message}${detail === undefined ? '' : ` (${detail})`}`, { cause: error });
}
