import { afterAll, beforeAll, expect, test } from 'vitest';
// Loaded for their statements: the route tables come with the first request to the management API.
import './access/routes.ts';
import './catalog/routes.ts';
import './content/encryption/index.ts';
import './content/tiers/index.ts';
import './evidence/routes.ts';
import './lifecycle/routes.ts';
import './release/routes.ts';
import './supply-chain/routes.ts';
import './supply-chain/inventory/clean.ts';
import './api/index.ts';
import { migrations } from './app.ts';
import { openPostgres } from './platform/database/open-postgres.ts';
import { compilePostgres } from './platform/database/postgres-compiler.ts';
import { isKept } from './platform/database/postgres-rows.ts';
import { newDatabase, sharedCluster } from './platform/database/testing-postgres.ts';
import { QUERIES } from './platform/index.ts';

type Shared = Awaited<ReturnType<typeof sharedCluster>>;
let cluster: Shared;
let made: Awaited<ReturnType<typeof newDatabase>>;

beforeAll(async () => {
  cluster = await sharedCluster();
  made = await newDatabase(cluster);
  const database = await openPostgres(made.url);
  await database.migrate(migrations);
  await database.close();
});
afterAll(() => made.drop());

test('PostgreSQL understands every statement and knows the type of each parameter', async () => {
  const wrong: string[] = [];
  const { Client } = await import('pg');
  const client = new Client({ connectionString: made.url });
  await client.connect();
  for (const [index, query] of QUERIES.entries()) {
    const { sql } = compilePostgres(query as never);
    await client.query(`PREPARE q${index} AS ${sql}`).catch((error: unknown) => wrong.push(`${query.name}: ${error}\n  ${sql}`));
  }
  await client.end();
  expect(QUERIES.length).toBeGreaterThan(300);
  expect(wrong).toEqual([]);
});

test('all texts are compared by their bytes, all whole numbers have 64 bits', async () => {
  const columns = await cluster.sql(
    `SELECT table_name AS "table", column_name AS "column", data_type AS type, collation_name AS collation
     FROM information_schema.columns WHERE table_schema = 'public'`,
    made.name,
  );
  expect(columns.length).toBeGreaterThan(200);
  expect([...new Set(columns.map(({ type }) => type))].sort()).toEqual(['bigint', 'bytea', 'double precision', 'text']);
  expect(columns.filter(({ type, collation }) => type === 'text' && collation !== 'C')).toEqual([]);
});

test('of all statements of the product none that reads tags, uploads, jobs, sessions or secrets is kept', () => {
  const kept = QUERIES.filter((each) => isKept(compilePostgres(each as never)));
  expect(kept.length).toBeGreaterThan(10);
  const tables = new Set(kept.flatMap((each) => [...compilePostgres(each as never).tables]));
  for (const table of ['tag', 'upload_session', 'job', 'session', 'access_key_secret', 'totp', 'stored_blob', 'repository_blob']) {
    expect(tables).not.toContain(table);
  }
});
