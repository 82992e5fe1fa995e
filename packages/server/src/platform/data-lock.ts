import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { SQLITE_BUSY, sqliteCode } from './errors.ts';

/**
 * Takes a data directory for this process. A start frees whatever a crash left locked, which must not happen to a
 * server that still runs, and a server that shares its uploads with one it does not know could be misled by it. The lock
 * is the kernel's, on a file by the means of SQLite, so it ends with its process however that ends. Gives what releases
 * it; throws where another process has it.
 */
export function lockData(path: string): () => void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const lock = new DatabaseSync(path, { timeout: 0 });
  try {
    lock.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    lock.close();
    if (sqliteCode(error) !== SQLITE_BUSY) throw error;
    throw new Error(`another server uses ${dirname(path)}; several processes are one server's workers`, { cause: error });
  }
  return () => {
    if (lock.isOpen) lock.close();
  };
}
