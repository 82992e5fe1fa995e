import type { Client } from 'pg';
import type { Migration } from '../database.ts';
import { clientConfig, prepareClient } from '../postgres-connection.ts';
import { makeTables } from '../postgres-migrations.ts';
import { addressesOf, Lineage } from '../postgres-servers.ts';
import { BATCH_BYTES, BATCH_ROWS, type Row, weightOf } from './rows.ts';
import type { ColumnType, Table } from './shape.ts';
import type { Source, Target } from './transfer.ts';

const ARRAYS: Readonly<Record<ColumnType, string>> = { integer: 'bigint[]', real: 'float8[]', text: 'text[]', bytes: 'bytea[]' };
const INT8 = 20;
/** Rows that are fetched at once at first, and at most where they may be as large as a manifest. */
const FIRST_ROWS = 32;

const quoted = (name: string) => `"${name}"`;

/** A connection for work that takes long, to the one of the servers that takes changes: no statement is given up. */
export async function connectForLong(url: string): Promise<Client> {
  let failure: Error | undefined;
  for (const address of addressesOf(url)) {
    try {
      return await connectTo(address);
    } catch (error) {
      failure ??= error as Error;
    }
  }
  throw new Error(`the PostgreSQL database cannot be used: ${failure?.message}`, { cause: failure });
}

async function connectTo(address: string): Promise<Client> {
  const driver = await import('pg');
  const client = new driver.Client({ ...clientConfig(driver, address, { [INT8]: BigInt }), query_timeout: undefined });
  client.on('error', () => undefined); // the statement under way fails with it
  try {
    await client.connect();
    await prepareClient(client, new Lineage(() => undefined));
    await client.query('SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0');
    return client;
  } catch (error) {
    await client.end().catch(() => undefined);
    throw error;
  }
}

/** All tables of a database as they are at one moment, beside servers that read and write it. */
export async function openPostgresTables(url: string): Promise<Source> {
  const client = await connectForLong(url);
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  return { ...readerOf(client), end: () => client.end().catch(() => undefined) };
}

function readerOf(client: Client): Omit<Source, 'end'> {
  return {
    async migrations() {
      const { rows: tables } = await client.query<{ there: number }>("SELECT to_regclass('migration') IS NOT NULL AS there");
      if (tables[0]?.there !== 1) return [];
      const { rows } = await client.query<{ name: string }>('SELECT name FROM migration');
      return rows.map(({ name }) => name);
    },

    async *rows({ name, columns }) {
      const isLarge = columns.some(({ type }) => type === 'bytes');
      await client.query(
        `DECLARE each_row NO SCROLL CURSOR FOR SELECT ${columns.map((c) => quoted(c.name)).join(', ')} FROM ${quoted(name)}`,
      );
      try {
        for (let most = FIRST_ROWS; ; ) {
          const { rows } = await client.query<Row[]>({ text: `FETCH ${most} FROM each_row`, rowMode: 'array' } as never);
          if (rows.length === 0) break;
          yield rows as unknown as Row[];
          const bytes = (rows as unknown as Row[]).reduce((sum, row) => sum + weightOf(row), 0);
          if (bytes > BATCH_BYTES) most = FIRST_ROWS;
          else if (!isLarge) most = Math.min(most * 2, BATCH_ROWS);
        }
      } finally {
        await client.query('CLOSE each_row').catch(() => undefined);
      }
    },

    async lastNumber({ name, numbered }) {
      if (numbered === undefined) return 0n;
      const { rows } = await client.query<{ name: string | null }>('SELECT pg_get_serial_sequence($1, $2) AS name', [
        quoted(name),
        numbered,
      ]);
      const sequence = rows[0]?.name;
      if (sequence === null || sequence === undefined) return 0n;
      const { rows: values } = await client.query<{ last: bigint; called: number }>(
        `SELECT last_value AS last, is_called AS called FROM ${sequence}`,
      );
      return values[0]?.called === 1 ? values[0].last : 0n;
    },
  };
}

/**
 * Fills an empty database in one transaction: nobody sees anything of it before it is whole, and what is cut off leaves
 * nothing behind. Throws unless it is empty.
 */
export async function makePostgresTables(url: string, migrations: readonly Migration[], tables: readonly Table[]): Promise<Target> {
  const client = await connectForLong(url);
  const built: string[] = [];
  try {
    await client.query('BEGIN');
    await makeTables(client, migrations);
    await client.query(`TRUNCATE ${tables.map(({ name }) => quoted(name)).join(', ')}`); // what migrations put there
    built.push(...(await takeApart(client)));
  } catch (error) {
    await client.end().catch(() => undefined);
    throw error;
  }

  return {
    ...readerOf(client),

    async insert({ name, columns }, rows) {
      const names = columns.map((column) => quoted(column.name)).join(', ');
      const values = columns.map(({ type }, at) => `$${at + 1}::${ARRAYS[type]}`).join(', ');
      const arrays = columns.map((_, at) => rows.map((row) => row[at]));
      await client.query(`INSERT INTO ${quoted(name)} (${names}) SELECT * FROM unnest(${values})`, arrays);
    },

    async setLastNumber({ name, numbered }, value) {
      await client.query('SELECT setval(pg_get_serial_sequence($1, $2), $3::bigint)', [quoted(name), numbered, value.toString()]);
    },

    async build() {
      for (const statement of built) await client.query(statement);
      await client.query('ANALYZE');
      return [];
    },

    async finish() {
      await client.query('COMMIT');
      await client.end();
    },

    end: () => client.end().catch(() => undefined),
  };
}

/** Drops what is quicker to build once all rows are there: foreign keys and indexes; gives the statements that do so. */
async function takeApart(client: Client): Promise<string[]> {
  const { rows: indexes } = await client.query<{ name: string; made: string }>(
    `SELECT relname AS name, pg_get_indexdef(pg_class.oid) AS made FROM pg_class
     WHERE relkind = 'i' AND relnamespace = current_schema()::regnamespace
       AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = pg_class.oid AND contype IN ('p', 'u', 'x'))`,
  );
  const { rows: keys } = await client.query<{ name: string; from: string; made: string }>(
    `SELECT conname AS name, relname AS "from", pg_get_constraintdef(pg_constraint.oid) AS made FROM pg_constraint
     JOIN pg_class ON pg_class.oid = conrelid WHERE contype = 'f' AND connamespace = current_schema()::regnamespace`,
  );
  for (const { name } of indexes) await client.query(`DROP INDEX ${quoted(name)}`);
  for (const { name, from } of keys) await client.query(`ALTER TABLE ${quoted(from)} DROP CONSTRAINT ${quoted(name)}`);
  return [
    ...indexes.map(({ made }) => made),
    ...keys.map(({ name, from, made }) => `ALTER TABLE ${quoted(from)} ADD CONSTRAINT ${quoted(name)} ${made}`),
  ];
}
