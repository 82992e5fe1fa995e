import { openSqlite } from './sqlite.ts';
import { increment } from './testing-counters.ts';

// Another process on the same SQLite file, for sqlite.test.ts: does each time what it is told and answers with how often.
const [path = ''] = process.argv.slice(2);
const database = openSqlite(path, { checkpoint: false });
process.on('message', ({ times, durable }: { times: number; durable: boolean }) => {
  void (async () => {
    for (let i = 0; i < times; i++) await increment(database, 'a', durable);
    process.send?.(times);
  })();
});
process.on('disconnect', () => void database.close());
process.send?.(0);
