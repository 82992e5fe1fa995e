import { DatabaseSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';

const MOST_PROBLEMS = 100;

/**
 * Writes a database of SQLite, as it is at one moment, into a new file, beside other processes that read and write it. In a
 * thread, as it takes as long as reading all of it. Rejects where the database is damaged. Not synced.
 */
export function copySqlite(from: string, to: string, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const thread = new Worker(new URL('./copy-thread.ts', import.meta.url), { workerData: { from, to } });
    const stop = () => void thread.terminate().then(() => reject(signal?.reason as Error));
    signal?.addEventListener('abort', stop, { once: true });
    thread.once('error', reject);
    thread.once('exit', (code) => {
      signal?.removeEventListener('abort', stop);
      if (code === 0) resolve();
      else reject(new Error('the thread that copies the database ended'));
    });
  });
}

/** What SQLite finds wrong with a database file, and rows that name others which are not there; nothing where it is sound. */
export function sqliteProblems(path: string): string[] {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { readOnly: true, timeout: 10_000 });
    const pages = database.prepare(`PRAGMA integrity_check(${MOST_PROBLEMS})`).all() as { integrity_check: string }[];
    const found = pages.map((row) => row.integrity_check).filter((text) => text !== 'ok');
    if (found.length > 0) return found;
    const rows = database.prepare('PRAGMA foreign_key_check').all() as { table: string; rowid: number | null; parent: string }[];
    return rows.slice(0, MOST_PROBLEMS).map(({ table, rowid, parent }) => `row ${rowid} of ${table} has no row of ${parent}`);
  } catch (error) {
    return [(error as Error).message];
  } finally {
    database?.close();
  }
}
