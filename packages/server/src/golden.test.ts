import { expect, test } from 'vitest';
// Loaded for their statements: the route tables come with the first request to the management API.
import './access/routes.ts';
import './catalog/routes.ts';
import './content/routes.ts';
import './content/encryption/index.ts';
import './content/tiers/index.ts';
import './evidence/routes.ts';
import './lifecycle/routes.ts';
import './release/routes.ts';
import './supply-chain/routes.ts';
import './supply-chain/inventory/clean.ts';
import './api/index.ts';
// And what commands beside a server ask.
import './backup.ts';
import './doctor.ts';
import './move.ts';
import './scrub.ts';
import { migrations } from './app.ts';
import { createMetrics, QUERIES, sqliteCompiler } from './platform/index.ts';

// What others build on: dashboards, databases already in use. A change here is seen in the review of the golden file.
// `npx vitest run golden -u` writes the files anew.

test('names, labels and help of all metrics', async () => {
  const metrics = createMetrics();
  metrics.watch({
    tiers: async () => [],
    uploadsOpen: async () => 0,
    jobs: async () => [],
    outboxBacklog: async () => 0,
    auditSinks: async () => [],
    storage: async () => ({ damagedBlobs: 0, damagedManifests: 0, scrubbedAt: null }),
    collection: async () => ({ links: 0, blobs: 0, left: 0, oldest: undefined, now: 0 }),
  });
  const lines = metrics.registry.getMetricsAsArray().map((metric) => {
    const { name, help, aggregator, labelNames = [] } = metric as unknown as Described;
    return `${name}{${labelNames.join(',')}} ${kindOf(metric)}, over workers ${aggregator}: ${help}`;
  });
  await expect(`${lines.sort().join('\n')}\n`).toMatchFileSnapshot('../golden/metrics.txt');
});

test('the SQL of all migrations', async () => {
  const text = migrations.map((migration) => {
    const statements = migration.up({ db: sqliteCompiler, types: { bytes: 'blob' }, now: 0 });
    return `-- ${migration.name}\n${statements.map((statement) => `${laidOut(statement.compile().sql)};\n`).join('')}`;
  });
  expect(new Set(migrations.map(({ name }) => name)).size).toBe(migrations.length);
  await expect(text.join('\n')).toMatchFileSnapshot('../golden/schema.sql');
});

test('the SQL of all queries', async () => {
  const queries = [...QUERIES].sort((a, b) => (a.name < b.name ? -1 : 1));
  expect(queries.length).toBeGreaterThan(50);
  const names = queries.map(({ name }) => name);
  expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
  const text = queries.map((query) => `-- ${query.name}\n${query.build(sqliteCompiler).compile().sql};\n`);
  await expect(text.join('')).toMatchFileSnapshot('../golden/queries.sql');
});

interface Described {
  readonly name: string;
  readonly help: string;
  readonly aggregator: string;
  readonly labelNames?: readonly string[];
}

function kindOf(metric: object): string {
  return metric.constructor.name.toLowerCase();
}

/** A column or constraint a line, so that a change is one line. */
function laidOut(sql: string): string {
  if (!sql.startsWith('create table')) return sql;
  const open = sql.indexOf('(');
  const columns = sql.slice(open + 1, -1).replace(/, (?=["c])(?![^(]*\))/g, ',\n  ');
  return `${sql.slice(0, open)}(\n  ${columns}\n)`;
}
