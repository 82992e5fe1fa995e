import { type Compilable, DummyDriver, Kysely, type RawBuilder, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler, sql } from 'kysely';

export type Value = string | number | bigint | null | Uint8Array;
export type Parameters = Record<string, Value>;

/** Stands for a named parameter in a compiled query. */
export class Placeholder {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

export type Param<P> = <K extends keyof P & string>(name: K) => RawBuilder<P[K]>;

/** One SQL statement, written once, compiled once for each database and executed prepared. */
export interface Query<P, R> {
  readonly name: string;
  readonly build: (db: Kysely<never>) => Compilable<R>;
  /** Never set; carries the parameters' type. */
  readonly params?: P;
}

/** Every query defined so far, for the golden file of the project's SQL. */
export const QUERIES: Query<unknown, unknown>[] = [];

/**
 * Defines statements over the tables of one room:
 * `const query = queriesOf<Tables>(); const find = query<{ id: number }>()('find', (db, p) => db.selectFrom(…))`.
 */
export function queriesOf<Tables>(room: string) {
  return <P = Record<never, never>>() =>
    <R>(name: string, build: (db: Kysely<Tables>, p: Param<P>) => Compilable<R>): Query<P, R> => {
      const param: Param<P> = (key) => sql`${new Placeholder(key)}`;
      const query: Query<P, R> = { name: `${room}.${name}`, build: (db) => build(db as unknown as Kysely<Tables>, param) };
      QUERIES.push(query);
      return query;
    };
}

/** Builds and compiles statements; never executes any. */
export const sqliteCompiler = new Kysely<never>({
  dialect: {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  },
});

/** A statement as SQLite takes it. */
export interface Compiled {
  readonly sql: string;
  /** In order of the statement's parameters: the name to look up, or a value fixed when it was built. */
  readonly parameters: readonly (Placeholder | Value)[];
  /** All tables that it names. */
  readonly tables: ReadonlySet<string>;
  readonly changes: boolean;
}

const COMPILED = new WeakMap<Query<never, unknown>, Compiled>();

export function compile(query: Query<never, unknown>): Compiled {
  let compiled = COMPILED.get(query);
  if (compiled === undefined) {
    const { sql: text, parameters, query: root } = query.build(sqliteCompiler).compile();
    const tables = new Set<string>();
    collectTables(root, tables);
    compiled = { sql: text, parameters: parameters as (Placeholder | Value)[], tables, changes: root.kind !== 'SelectQueryNode' };
    COMPILED.set(query, compiled);
  }
  return compiled;
}

/** Walks Kysely's tree of a statement; a table is a node of its own wherever it stands. */
function collectTables(node: unknown, tables: Set<string>): void {
  if (typeof node !== 'object' || node === null) return;
  const { kind, table } = node as { kind?: string; table?: { identifier?: { name: string } } };
  if (kind === 'TableNode' && table?.identifier) tables.add(table.identifier.name);
  for (const child of Object.values(node)) collectTables(child, tables);
}
