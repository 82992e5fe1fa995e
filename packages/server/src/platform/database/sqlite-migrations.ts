import type { DatabaseSync } from 'node:sqlite';
import type { Compilable } from 'kysely';
import type { Migration } from './database.ts';
import { sqliteCompiler } from './query.ts';

/** Where it is kept which migrations a database has had. */
export const MIGRATION_TABLE = 'CREATE TABLE IF NOT EXISTS migration (name TEXT PRIMARY KEY, applied_at INTEGER NOT NULL)';

/** Applies those migrations that are still to be applied, in the transaction under way. */
export function applyMigrations(raw: DatabaseSync, migrations: readonly Migration[]): void {
  const rows = raw.prepare('SELECT name FROM migration').all();
  const applied = new Set(rows.map(({ name }) => name));
  for (const migration of migrations) {
    if (applied.has(migration.name)) continue;
    const statements: readonly Compilable[] = migration.up({ db: sqliteCompiler, types: { bytes: 'blob' }, now: Date.now() });
    for (const statement of statements) raw.exec(statement.compile().sql);
    raw.prepare('INSERT INTO migration (name, applied_at) VALUES (?, ?)').run(migration.name, Date.now());
  }
}
