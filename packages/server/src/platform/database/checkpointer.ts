import { statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { workerData } from 'node:worker_threads';

// Moves the write-ahead log into the database file off the request path, in a thread of its own.
const path = workerData as string;
const CHECK_MS = 1000;
const LOG_BYTES = 4 << 20;
const database = new DatabaseSync(path, { timeout: 100 });
database.exec('PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0');

setInterval(() => {
  try {
    if (statSync(`${path}-wal`).size >= LOG_BYTES) database.exec('PRAGMA wal_checkpoint(PASSIVE)');
  } catch {
    // Disk trouble shows up, and is reported, where requests meet it; the next round tries again.
  }
}, CHECK_MS);
