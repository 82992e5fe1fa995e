import { setTimeout as delay } from 'node:timers/promises';
import type { Compilable } from 'kysely';
import type { Client } from 'pg';
import type { Migration } from './database.ts';
import { postgresCompiler } from './postgres-compiler.ts';
import { postgresCode } from './postgres-errors.ts';

/** Held by the one that migrates; a number of its own beside those of scopes. */
const MIGRATING = '7305808869231650913';
const MIGRATION_TABLE = 'CREATE TABLE IF NOT EXISTS migration (name text COLLATE "C" PRIMARY KEY, applied_at bigint NOT NULL)';
/** A change of a table that waits for a lock makes everybody else wait behind it. */
const LOCK_MS = 2000;
const TRIES = 30;
const LOCK_NOT_AVAILABLE = '55P03';

/**
 * Applies migrations on a connection of its own, one instance at a time; the others wait. Each is a transaction, as an
 * older instance may be at work and must not wait for all of them.
 */
export async function migratePostgres(client: Client, migrations: readonly Migration[]): Promise<void> {
  if ((await missing(client, migrations)).length === 0) return;
  await client.query('SET statement_timeout = 0; SET lock_timeout = 0');
  await client.query(`SELECT pg_advisory_lock(${MIGRATING})`);
  await client.query(MIGRATION_TABLE);
  await client.query(`SET lock_timeout = ${LOCK_MS}`);
  for (const migration of await missing(client, migrations)) await apply(client, migration);
}

async function missing(client: Client, migrations: readonly Migration[]): Promise<Migration[]> {
  const { rows: tables } = await client.query("SELECT to_regclass('migration') IS NOT NULL AS there");
  if ((tables[0] as { there: number } | undefined)?.there !== 1) return [...migrations];
  const { rows } = await client.query<{ name: string }>('SELECT name FROM migration');
  const applied = new Set(rows.map(({ name }) => name));
  return migrations.filter(({ name }) => !applied.has(name));
}

async function apply(client: Client, { name, up }: Migration): Promise<void> {
  const statements = statementsOf(up);
  for (let tries = 1; ; tries++) {
    try {
      await client.query('BEGIN');
      for (const statement of statements) await client.query(statement);
      await client.query('INSERT INTO migration (name, applied_at) VALUES ($1, $2)', [name, Date.now()]);
      await client.query('COMMIT');
      return;
    } catch (error) {
      await client.query('ROLLBACK').catch(() => undefined);
      if (postgresCode(error) !== LOCK_NOT_AVAILABLE || tries === TRIES) throw error;
      await delay(200 + Math.random() * 300); // lets those through that waited behind
    }
  }
}

function statementsOf(up: Migration['up']): string[] {
  const statements: readonly Compilable[] = up({ db: postgresCompiler, types: { bytes: 'bytea' }, now: Date.now() });
  return statements.map((statement) => statement.compile().sql);
}

/**
 * Makes all tables in the transaction under way, which nobody sees before it is committed; whoever would migrate meanwhile
 * waits for its end. Throws unless the database is empty.
 */
export async function makeTables(client: Client, migrations: readonly Migration[]): Promise<void> {
  await client.query(`SELECT pg_advisory_xact_lock(${MIGRATING})`);
  const found = await relations(client);
  if (found.length > 0) throw new Error(`the PostgreSQL database is not empty: it has ${found.join(', ')}`);
  await client.query(MIGRATION_TABLE);
  for (const { up } of migrations) for (const statement of statementsOf(up)) await client.query(statement);
}

/** Tables, views and sequences that are there already, a few of them; those of extensions do not count. */
export async function relations(client: Client): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT relname AS name FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
     AND NOT EXISTS (SELECT 1 FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')
     ORDER BY relname LIMIT 5`,
  );
  return rows.map(({ name }) => name);
}
