import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Migration } from './database.ts';
import { openPostgres } from './open-postgres.ts';
import { type PostgresFinding, postgresProblems, raiseSequence } from './postgres-health.ts';
import { newDatabase, sharedCluster } from './testing-postgres.ts';

const migrations: readonly Migration[] = [
  {
    name: 'test-health',
    up: ({ db }) => [
      db.schema
        .createTable('thing')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('name', 'text'),
      db.schema.createIndex('thing_name').on('thing').columns(['name']),
      db.schema.createTable('outbox_event').addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement()),
      db.schema.createTable('outbox_consumer').addColumn('position', 'bigint'),
    ],
  },
];

let made: Awaited<ReturnType<typeof newDatabase>>;
let sql: (text: string) => Promise<Record<string, unknown>[]>;

beforeAll(async () => {
  const cluster = await sharedCluster();
  made = await newDatabase(cluster);
  sql = (text) => cluster.sql(text, made.name);
  const database = await openPostgres(made.url);
  await database.migrate(migrations);
  await database.close();
  await sql("INSERT INTO thing (name) SELECT 'thing ' || n FROM generate_series(1, 1000) AS n");
});
afterAll(() => made.drop());

/** What is found besides what the tests' server is known for (no fsync, no full pages, no autovacuum). */
async function found(over: { deep?: boolean; connections?: number; now?: number } = {}): Promise<PostgresFinding[]> {
  const options = { deep: false, connections: 10, processes: 1, now: Date.UTC(2026, 0, 1), signal: new AbortController().signal, ...over };
  const all = [];
  for await (const finding of postgresProblems(made.url, options)) all.push(finding);
  return all.filter(({ what }) => !/fsync|full_page|checksums|autovacuum/.test(what));
}

describe('the health of PostgreSQL', () => {
  it('is told of settings that lose data', async () => {
    const options = { deep: false, connections: 10, processes: 1, now: 0, signal: new AbortController().signal };
    const told = [];
    for await (const { severity, what } of postgresProblems(made.url, options)) told.push(`${severity} ${what}`);
    expect(told).toContainEqual(expect.stringMatching(/^error has fsync off/));
    expect(told).toContainEqual(expect.stringMatching(/^warning has full_page_writes off/));
    expect(await found()).toEqual([]);
  });

  it('is told of more connections than there are, and of a version without corrections', async () => {
    expect(await found({ connections: 1000 })).toEqual([expect.objectContaining({ where: 'databaseConnections' })]);
    expect(await found({ now: Date.UTC(2040, 0, 1) })).toEqual([expect.objectContaining({ remedy: 'upgrade it' })]);
  });

  it('is told of counting that is behind, and what mends it does', async () => {
    await sql("SELECT setval('thing_id_seq', 10)");
    await sql('INSERT INTO outbox_consumer VALUES (77)'); // of events that are pruned
    const behind = await found();
    expect(behind.map(({ where, severity }) => [where, severity])).toEqual([
      ['table outbox_event', 'error'],
      ['table thing', 'error'],
    ]);
    for (const { setSequence } of behind) if (setSequence) await raiseSequence(made.url, setSequence);
    expect(await found()).toEqual([]);
    expect(await sql('INSERT INTO outbox_event DEFAULT VALUES RETURNING id::int')).toEqual([{ id: 78 }]);
    expect(await sql('INSERT INTO thing DEFAULT VALUES RETURNING id::int')).toEqual([{ id: 1001 }]);
  });

  it('is told of indexes that are not used, and constraints that nobody has looked at', async () => {
    await sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'thing_name'::regclass");
    await sql('ALTER TABLE thing ADD CONSTRAINT small CHECK (id < 5000) NOT VALID');
    expect((await found()).map(({ where, severity }) => [where, severity])).toEqual([
      ['index thing_name', 'error'],
      ['table thing', 'warning'],
    ]);
    await sql('REINDEX INDEX thing_name; ALTER TABLE thing DROP CONSTRAINT small');
    expect(await found()).toEqual([]);
  });

  it('is looked for in every page where amcheck is there, and says so where it is not', async () => {
    expect(await found({ deep: true })).toEqual([
      expect.objectContaining({ severity: 'notice', what: expect.stringContaining('amcheck') }),
    ]);
    await sql('CREATE EXTENSION amcheck');
    expect(await found({ deep: true })).toEqual([]);
    // An index that misses a row: it looks sound to everything that does not read it.
    const ready = (is: boolean) => sql(`UPDATE pg_index SET indisready = ${is} WHERE indexrelid = 'thing_name'::regclass`);
    await ready(false);
    await sql("INSERT INTO thing (name) VALUES ('missed')");
    await ready(true);
    expect(await found()).toEqual([]);
    expect(await found({ deep: true })).toEqual([expect.objectContaining({ severity: 'error', where: 'index thing_name' })]);
  });
});
