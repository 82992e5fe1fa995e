import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TSchema } from 'typebox';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Instance, startApp } from './app.ts';
import { loadConfig, type Route } from './platform/index.ts';

// What programs of others are built on: the management API as its document tells it, assembled from the rooms' route tables.
// `npx vitest run golden -u` writes the file anew.

let folder: string;
let app: Instance;
let routes: readonly Route[] = [];
let document: Document;

interface Document {
  readonly paths: Record<string, Record<string, { operationId: string; tags: string[]; responses: Record<string, unknown> }>>;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'entrepot-openapi-'));
  const config = loadConfig({ env: {}, flags: { dataDir: folder, listen: '127.0.0.1:0', logLevel: 'silent' } });
  app = await startApp(config, { shared: false, leader: true, holder: 'openapi' }, (all) => {
    routes = all;
    return all;
  });
  document = (await (await fetch(`http://127.0.0.1:${app.port}/api/openapi.json`)).json()) as Document;
});
afterAll(async () => {
  await app.stop();
  rmSync(folder, { recursive: true, force: true });
});

const nameOf = ({ method, path }: Route) => `${method} ${path}`;

test('the document of the management API', async () => {
  await expect(`${laidOut(document)}\n`).toMatchFileSnapshot('../golden/openapi.json');
});

test('every route stands in the document, once, under a name of its own', () => {
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { operationId }]) => ({ route: `${method.toUpperCase()} ${path}`, operationId })),
  );
  const told = routes.map(({ method, path }) => `${method} /api/v1${path.replace(/:(\w+)/g, '{$1}')}`);
  expect(operations.map(({ route }) => route).sort()).toEqual([...told].sort());
  expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(routes.length);
  expect(routes.length).toBeGreaterThan(60);
});

test('every answer is described', () => {
  const silent = routes.filter(({ answer, produces, status }) => answer === undefined && produces === undefined && (status ?? 204) !== 204);
  expect(silent.map(nameOf)).toEqual([]);
});

test('every change is audited, under a name that says what of what', () => {
  const changes = routes.filter((route) => 'change' in route);
  expect(changes.filter((route) => !/^[a-z]+(?:-[a-z]+)*\.[a-z]+(?:-[a-z]+)*$/.test(route.audit)).map(nameOf)).toEqual([]);
  expect(changes.length).toBeGreaterThan(20);
});

test('nothing that comes in is without bounds', () => {
  const faults = routes.flatMap((route) =>
    [
      ...unbounded(route.params, 'params'),
      ...unbounded(route.query, 'query', { closed: true }),
      ...unbounded(route.body, 'body', { closed: true }),
    ].map((fault) => `${nameOf(route)}: ${fault}`),
  );
  expect(faults).toEqual([]);
});

/** Parts of a schema that take strings, lists or objects of any size. */
function unbounded(schema: unknown, at: string, { closed = false } = {}): string[] {
  if (typeof schema !== 'object' || schema === null) return [];
  const {
    type,
    enum: options,
    const: value,
    maxLength,
    maxItems,
    properties,
    items,
    additionalProperties,
    patternProperties,
    anyOf,
    allOf,
    maxProperties,
  } = schema as Schema;
  const deeper = { closed };
  const faults: string[] = [];
  if (type === 'string' && options === undefined && value === undefined && maxLength === undefined) faults.push(`${at} has no maxLength`);
  if (type === 'array' && maxItems === undefined) faults.push(`${at} has no maxItems`);
  if (type === 'object' && closed && additionalProperties !== false && patternProperties === undefined)
    faults.push(`${at} takes properties that it does not name`);
  if (patternProperties !== undefined && maxProperties === undefined) faults.push(`${at} has no maxProperties`);
  for (const [name, part] of Object.entries(properties ?? {})) faults.push(...unbounded(part, `${at}.${name}`, deeper));
  for (const [index, part] of [...(anyOf ?? []), ...(allOf ?? []), ...Object.values(patternProperties ?? {})].entries()) {
    faults.push(...unbounded(part, `${at}[${index}]`, deeper));
  }
  if (items !== undefined) faults.push(...unbounded(items, `${at}[]`, deeper));
  return faults;
}

/** JSON with all that is short on one line, so that a change is seen as one. */
function laidOut(value: unknown, indent = ''): string {
  const short = JSON.stringify(value);
  if (typeof value !== 'object' || value === null || short.length + indent.length <= 140) return short;
  const inner = `${indent} `;
  const parts = Array.isArray(value)
    ? value.map((item) => laidOut(item, inner))
    : Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${laidOut(item, inner)}`);
  const [open, close] = Array.isArray(value) ? '[]' : '{}';
  return `${open}\n${parts.map((part) => `${inner}${part}`).join(',\n')}\n${indent}${close}`;
}

type Schema = TSchema & {
  readonly type?: string;
  readonly enum?: unknown;
  readonly const?: unknown;
  readonly maxLength?: number;
  readonly maxItems?: number;
  readonly maxProperties?: number;
  readonly properties?: Record<string, unknown>;
  readonly patternProperties?: Record<string, unknown>;
  readonly additionalProperties?: unknown;
  readonly items?: unknown;
  readonly anyOf?: readonly unknown[];
  readonly allOf?: readonly unknown[];
};
