import { DatabaseSync } from 'node:sqlite';
import { workerData } from 'node:worker_threads';

// Moves the write-ahead log into the database file once, in a thread of its own, and ends.
const database = new DatabaseSync(workerData as string, { timeout: 100 });
database.exec('PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA wal_checkpoint(PASSIVE)');
database.close();
