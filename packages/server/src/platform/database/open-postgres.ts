import type { Database } from './database.ts';
import type { PostgresOptions } from './postgres.ts';

/** Connects to a PostgreSQL database; its driver is loaded only here. Several instances may share a database. */
export async function openPostgres(url: string, options: PostgresOptions = {}): Promise<Database> {
  const { connectPostgres } = await import('./postgres.ts');
  return await connectPostgres(url, options);
}
