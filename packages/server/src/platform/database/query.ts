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

/** A statement as a database takes it. */
export interface Compiled {
  readonly sql: string;
  /** In order of the statement's parameters: the name to look up, or a value fixed when it was built. */
  readonly parameters: readonly (Placeholder | Value)[];
  /** All tables that it names. */
  readonly tables: ReadonlySet<string>;
  readonly changes: boolean;
  /** Kysely's tree of the statement. */
  readonly root: object;
}

/** What compiles each query once for one dialect. */
export function compilerFor(dialect: Kysely<never>): (query: Query<never, unknown>) => Compiled {
  const known = new WeakMap<Query<never, unknown>, Compiled>();
  return (query) => {
    let compiled = known.get(query);
    if (compiled === undefined) {
      const { sql: text, parameters, query: root } = query.build(dialect).compile();
      const tables = new Set<string>();
      collectTables(root, tables);
      compiled = { sql: text, parameters: parameters as (Placeholder | Value)[], tables, changes: root.kind !== 'SelectQueryNode', root };
      known.set(query, compiled);
    }
    return compiled;
  };
}

export const compile = compilerFor(sqliteCompiler);

/** Values of a statement's parameters, in its order. */
export function bind(parameters: readonly (Placeholder | Value)[], params: unknown): Value[] {
  return parameters.map((parameter) => {
    if (!(parameter instanceof Placeholder)) return parameter;
    const value = (params as Record<string, Value | undefined>)[parameter.name];
    if (value === undefined) throw new TypeError(`parameter ${parameter.name} is missing`);
    return value;
  });
}

/** Walks Kysely's tree of a statement; a table is a node of its own wherever it stands. */
export function collectTables(node: unknown, tables: Set<string>): void {
  if (typeof node !== 'object' || node === null) return;
  const { kind, table } = node as { kind?: string; table?: { identifier?: { name: string } } };
  if (kind === 'TableNode' && table?.identifier) tables.add(table.identifier.name);
  for (const child of Object.values(node)) collectTables(child, tables);
}
