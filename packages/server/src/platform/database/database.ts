import type { Compilable, Kysely } from 'kysely';
import type { Clock } from '../clock.ts';
import type { Query } from './query.ts';

/** SQLite answers at once, PostgreSQL later; callers await either. */
export type MaybePromise<T> = T | Promise<T>;

/** Goes on with what may be there already, without a turn of the event loop where it is: for what every request passes. */
export function andThen<T, R>(value: MaybePromise<T>, next: (value: T) => MaybePromise<R>): MaybePromise<R> {
  return value instanceof Promise ? value.then(next) : next(value);
}

/** Runs statements: outside a transaction on the database itself, inside on what `write` hands over. */
export interface Session {
  all<P, R>(query: Query<P, R>, params: P): MaybePromise<R[]>;
  first<P, R>(query: Query<P, R>, params: P): MaybePromise<R | undefined>;
  /** Runs a change and gives the number of rows it touched. */
  run<P>(query: Query<P, unknown>, params: P): MaybePromise<number>;
  /**
   * In a transaction: runs statements as its last, one transaction after the other whatever their scopes, for what has one
   * order in all the database, such as the audit chain. Where there is a single writer anyway, at once.
   */
  inOrder(work: () => Promise<void>): MaybePromise<void>;
}

export interface WriteOptions {
  /**
   * true, the default: on disk before it counts. false: visible at once, but lost where the database's host, or a PostgreSQL
   * server, crashes within a second: for what does no harm if it never happened. `process`: not lost while this process lives,
   * for what it goes on to build on, as a lease: only SQLite, which ends with the process where its host does, need not wait.
   */
  readonly durable?: boolean | 'process';
  /**
   * What the change reads and writes, as names such as `repository:7`: it runs beside changes of other scopes and after those
   * of its own. Without a scope it runs alone. Databases with a single writer, as SQLite, run all changes one by one.
   */
  readonly scope?: readonly string[];
}

/** Where migrations are written once for all dialects. */
export interface MigrationContext {
  readonly db: Kysely<never>;
  /** Column types that differ between dialects. */
  readonly types: { readonly bytes: 'blob' | 'bytea' };
  /** When the migration is applied; milliseconds since 1970. */
  readonly now: number;
}

export interface Migration {
  readonly name: string;
  up(context: MigrationContext): readonly Compilable[];
}

export interface Database extends Session {
  /**
   * Runs `work` in one transaction; it resolves once the change is on disk (unless not durable) and rejects,
   * leaving no trace, if `work` throws. `work` may await statements of its session and nothing else, as locks are held
   * meanwhile, and may be run again from its start where the database asks for it.
   */
  write<T>(work: (tx: Session) => Promise<T>, options?: WriteOptions): Promise<T>;
  /** Applies the migrations not yet applied, in order, each in a transaction. */
  migrate(migrations: readonly Migration[]): Promise<void>;
  /** The time that all instances agree on: the database's where it is a server of its own. */
  readonly clock: Clock;
  /** Throws unless a write is possible now; it makes one. */
  ping(): Promise<void>;
  close(): Promise<void>;
}
