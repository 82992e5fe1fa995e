import { setTimeout as delay } from 'node:timers/promises';
import type { Compilable } from 'kysely';
import type { Client } from 'pg';
import type { Migration } from './database.ts';
import { postgresCompiler } from './postgres-compiler.ts';
import { postgresCode } from './postgres-errors.ts';

/** Held by the one that migrates; a number of its own beside those of scopes. */
const MIGRATING = '7305808869231650913';
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
  await client.query('CREATE TABLE IF NOT EXISTS migration (name text COLLATE "C" PRIMARY KEY, applied_at bigint NOT NULL)');
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
  const statements: readonly Compilable[] = up({ db: postgresCompiler, types: { bytes: 'bytea' }, now: Date.now() });
  for (let tries = 1; ; tries++) {
    try {
      await client.query('BEGIN');
      for (const statement of statements) await client.query(statement.compile().sql);
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
