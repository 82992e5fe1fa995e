import { DatabaseSync } from 'node:sqlite';
import { workerData } from 'node:worker_threads';

const { from, to } = workerData as { from: string; to: string };
const database = new DatabaseSync(from, { readOnly: true, timeout: 10_000 });
try {
  database.prepare('VACUUM INTO ?').run(to);
} finally {
  database.close();
}
