import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../clock.ts';
import { newId } from '../clock.ts';
import type { Database, MaybePromise, Migration, Session, WriteOptions } from './database.ts';
import { compilePostgres } from './postgres-compiler.ts';
import { type Connection, clientConfig, type Driver, prepareClient } from './postgres-connection.ts';
import { ConnectionLost, shownAs, troubleOf } from './postgres-errors.ts';
import { migratePostgres } from './postgres-migrations.ts';
import { Connections } from './postgres-pool.ts';
import { TableRows } from './postgres-rows.ts';
import { Lineage, Servers } from './postgres-servers.ts';
import { Transactions } from './postgres-transactions.ts';
import { Watch } from './postgres-watch.ts';
import type { Query } from './query.ts';

const READ_ATTEMPTS = 4;
const READ_RETRY_MS = 30;
const START_PAUSE_MS = 500;
const PING = `UPDATE migration SET applied_at = applied_at WHERE name = (SELECT min(name) FROM migration)`;

export interface PostgresOptions {
  /** Connections at once, besides the one that hears what others change. Default 10. */
  readonly connections?: number;
  /** How long to wait for a database that is not there yet. Default 30 s. */
  readonly startMs?: number;
  /** Told of each change how long it took in seconds, the wait for others and for the disk included. */
  readonly onWrite?: (seconds: number) => void;
}

/**
 * Connects to a PostgreSQL database. Several instances may share it. Throws where there is none, or it refuses; one that
 * starts is waited for.
 */
export async function connectPostgres(url: string, options: PostgresOptions = {}): Promise<Database> {
  const driver = await import('pg');
  const database = new PostgresDatabase(driver, url, options);
  const deadline = performance.now() + (options.startMs ?? 30_000);
  for (;;) {
    try {
      await database.start();
      return database;
    } catch (error) {
      if (troubleOf(lost(error)) !== 'connection' || performance.now() > deadline) {
        throw new Error(`the PostgreSQL database cannot be used: ${(error as Error).message}`, { cause: error });
      }
      await delay(START_PAUSE_MS);
    }
  }
}

/** What the driver throws without a code is about the connection. */
function lost(error: unknown): unknown {
  const isTold = (error as { severity?: unknown }).severity !== undefined;
  const { code } = error as { code?: unknown };
  return isTold || typeof code !== 'string' ? error : new ConnectionLost((error as Error).message, { cause: error });
}

class PostgresDatabase implements Database {
  readonly clock: Clock;
  readonly #driver: Driver;
  readonly #servers: Servers;
  readonly #lineage: Lineage;
  readonly #onWrite: ((seconds: number) => void) | undefined;
  readonly #watch: Watch;
  readonly #connections: Connections;
  readonly #rows: TableRows;
  readonly #transactions: Transactions;
  #closing: Promise<void> | undefined;

  constructor(driver: Driver, url: string, { connections: max = 10, onWrite }: PostgresOptions) {
    this.#driver = driver;
    this.#onWrite = onWrite;
    const rows = new TableRows(compilePostgres, () => watch.isCurrent());
    const servers = new Servers(url);
    const lineage = new Lineage(() => {
      connections.breakAll();
      watch.distrust();
    });
    const connections = new Connections({ driver, servers, lineage, max });
    const watch = new Watch({
      driver,
      servers,
      lineage,
      instance: newId(),
      onChanged: (tables) => rows.changed(tables),
      onUnsure: () => rows.clear(),
      onMoved: () => connections.breakAll(),
      onAway: () => connections.breakAll(),
    });
    this.#servers = servers;
    this.#lineage = lineage;
    this.#rows = rows;
    this.#connections = connections;
    this.#watch = watch;
    this.#transactions = new Transactions({ connections, watch, rows, most: Math.max(1, Math.floor(max / 2)) });
    this.clock = { now: () => watch.now() };
  }

  async start(): Promise<void> {
    await this.#watch.start();
  }

  all<P, R>(query: Query<P, R>, params: P): MaybePromise<R[]> {
    return this.#read((connection) => connection.all(query, params));
  }

  first<P, R>(query: Query<P, R>, params: P): MaybePromise<R | undefined> {
    return this.#rows.first(query, params, () => this.#read((connection) => connection.first(query, params)));
  }

  run<P>(query: Query<P, unknown>, params: P): MaybePromise<number> {
    return this.write(async (tx) => await tx.run(query, params));
  }

  inOrder(): never {
    throw new TypeError('an order is kept in a transaction only');
  }

  async write<T>(work: (tx: Session) => Promise<T>, options?: WriteOptions): Promise<T> {
    const begun = performance.now();
    const value = await this.#transactions.write(work, options);
    this.#onWrite?.((performance.now() - begun) / 1000);
    return value;
  }

  async migrate(migrations: readonly Migration[]): Promise<void> {
    const client = new this.#driver.Client({ ...clientConfig(this.#driver, this.#servers.current()), query_timeout: undefined });
    client.on('error', () => undefined); // the statement under way fails with it
    try {
      await client.connect();
      await prepareClient(client, this.#lineage);
      await migratePostgres(client, migrations);
    } finally {
      await client.end().catch(() => undefined);
    }
  }

  async ping(): Promise<void> {
    await this.#transactions.write(async (tx) => void (await (tx as unknown as { script(text: string): Promise<unknown> }).script(PING)), {
      scope: [],
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#transactions.idle();
    await this.#watch.stop();
    await this.#connections.close();
  }

  /** Runs a read, again on another connection where one breaks. */
  async #read<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        if (this.#watch.isAway()) throw new ConnectionLost('the database is away');
        return await this.#readOnce(work);
      } catch (error) {
        if (troubleOf(error) !== 'connection' || attempt === READ_ATTEMPTS || this.#watch.isAway()) throw shownAs(error);
        await delay(READ_RETRY_MS * 2 ** (attempt - 1) * (0.5 + Math.random()));
      }
    }
  }

  async #readOnce<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    const connection = await this.#connections.take();
    try {
      return await work(connection);
    } finally {
      this.#connections.give(connection);
    }
  }
}
