import { type Compilable, type Kysely, type RawBuilder, sql } from 'kysely';

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
      QUERIES.push(query as Query<unknown, unknown>);
      return query;
    };
}
