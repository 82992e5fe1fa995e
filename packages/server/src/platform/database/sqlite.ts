import { closeSync, fdatasync, fdatasyncSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { systemClock } from '../clock.ts';
import { AppError, SQLITE_BUSY, sqliteCode } from '../errors.ts';
import { Checkpointer } from './checkpointer.ts';
import type { Database, MaybePromise, Migration, Session, WriteOptions } from './database.ts';
import { bind, compile, type Placeholder, type Query, type Value } from './query.ts';
import { RowCache } from './row-cache.ts';
import { applyMigrations, MIGRATION_TABLE } from './sqlite-migrations.ts';

const BUSY_LIMIT_MS = 10_000;
const BATCH = 16;
/** Memory of a connection for pages. */
const CACHE_MIB = 8;
/** A change of nothing that is written all the same. */
const PING = 'UPDATE migration SET applied_at = applied_at WHERE rowid = (SELECT min(rowid) FROM migration)';

interface Prepared {
  readonly statement: StatementSync;
  readonly parameters: readonly (Placeholder | Value)[];
  /** Tables that it changes. */
  readonly changed: ReadonlySet<string>;
}

const NONE: ReadonlySet<string> = new Set();

/** Statements of one connection, prepared at first use. */
class Connection implements Session {
  readonly raw: DatabaseSync;
  /** Tables changed by statements so far; whoever begins a transaction empties it. */
  readonly changed = new Set<string>();
  readonly #prepared = new Map<Query<never, unknown>, Prepared>();

  constructor(path: string, busyTimeout: number, cacheMib?: number) {
    this.raw = new DatabaseSync(path, { timeout: busyTimeout });
    // NORMAL: the log is synced by WalSync, once for all transactions that wait, off the event loop.
    this.raw.exec(
      `PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0; PRAGMA foreign_keys=ON; PRAGMA cache_size=-${(cacheMib ?? CACHE_MIB) * 1000}`,
    );
    // Else what a savepoint would restore goes to a file, page by page.
    if (cacheMib !== undefined) this.raw.exec('PRAGMA temp_store=MEMORY');
  }

  all<P, R>(query: Query<P, R>, params: P): R[] {
    const { statement, parameters } = this.#prepare(query);
    return statement.all(...bind(parameters, params)) as R[];
  }

  first<P, R>(query: Query<P, R>, params: P): R | undefined {
    const { statement, parameters } = this.#prepare(query);
    return statement.get(...bind(parameters, params)) as R | undefined;
  }

  run<P>(query: Query<P, unknown>, params: P): number {
    const { statement, parameters } = this.#prepare(query);
    return Number(statement.run(...bind(parameters, params)).changes);
  }

  inOrder(work: () => Promise<void>): Promise<void> {
    return work();
  }

  #prepare<P, R>(query: Query<P, R>): Prepared {
    const key = query as unknown as Query<never, unknown>;
    let prepared = this.#prepared.get(key);
    if (prepared === undefined) {
      const { sql, parameters, tables, changes } = compile(key);
      prepared = { statement: this.raw.prepare(sql), parameters, changed: changes ? tables : NONE };
      this.#prepared.set(key, prepared);
    }
    for (const table of prepared.changed) this.changed.add(table);
    return prepared;
  }
}

interface Job {
  readonly durable: boolean;
  run(tx: Session): Promise<void>;
  /** Tells the caller of success. */
  resolve(): void;
  reject(error: unknown): void;
}

interface SqliteOptions {
  /** This process moves the log into the database file; one of those that share the file should. */
  readonly checkpoint: boolean;
  /** Memory for pages that transactions change: what does not fit is written more than once. Default 8. */
  readonly cacheMib?: number;
  /** Told of each change how long it took in seconds, the wait for others and for the disk included. */
  readonly onWrite?: (seconds: number) => void;
}

/** Opens the database file, making it if needed. Several processes of one host may open it at once. */
export function openSqlite(path: string, options: SqliteOptions): Database {
  return new SqliteDatabase(path, options);
}

class SqliteDatabase implements Database {
  readonly clock = systemClock;
  readonly #reader: Connection;
  readonly #writer: Connection;
  readonly #sync: WalSync;
  readonly #rows: RowCache;
  readonly #checkpointer: Checkpointer | undefined;
  readonly #queue: Job[] = [];
  readonly #onWrite: ((seconds: number) => void) | undefined;
  #pumping: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(path: string, { checkpoint, cacheMib, onWrite }: SqliteOptions) {
    this.#onWrite = onWrite;
    this.#writer = new Connection(path, 5000, cacheMib);
    this.#writer.raw.exec(MIGRATION_TABLE);
    this.#writer.raw.exec('PRAGMA busy_timeout=0');
    this.#reader = new Connection(path, 5000);
    this.#reader.raw.exec('PRAGMA query_only=ON');
    syncDirectory(dirname(path));
    this.#sync = new WalSync(`${path}-wal`, this.#writer.raw);
    this.#rows = new RowCache(`${path}-shm`);
    if (checkpoint) this.#checkpointer = new Checkpointer(path);
  }

  all<P, R>(query: Query<P, R>, params: P): MaybePromise<R[]> {
    return this.#reader.all(query, params);
  }

  first<P, R>(query: Query<P, R>, params: P): MaybePromise<R | undefined> {
    return this.#rows.first(query, params, () => this.#reader.first(query, params));
  }

  run<P>(query: Query<P, unknown>, params: P): MaybePromise<number> {
    return this.write(async (tx) => tx.run(query, params));
  }

  inOrder(): never {
    throw new TypeError('an order is kept in a transaction only');
  }

  write<T>(work: (tx: Session) => Promise<T>, { durable = true }: WriteOptions = {}): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      let value: T;
      const begun = performance.now();
      this.#queue.push({
        durable: durable === true,
        run: async (tx) => {
          value = await work(tx);
        },
        resolve: () => {
          this.#onWrite?.((performance.now() - begun) / 1000);
          resolve(value);
        },
        reject,
      });
      this.#pumping ??= this.#pump();
    });
  }

  async migrate(migrations: readonly Migration[]): Promise<void> {
    const { raw } = this.#writer;
    await this.#begin();
    try {
      applyMigrations(raw, migrations);
      raw.exec('COMMIT');
    } catch (error) {
      if (raw.isTransaction) raw.exec('ROLLBACK');
      throw error;
    }
    await this.#sync.flush();
  }

  async ping(): Promise<void> {
    this.#reader.raw.prepare('SELECT 1 FROM migration LIMIT 1').get();
    await this.write(() => Promise.resolve(this.#writer.raw.exec(PING)));
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#pumping;
    await this.#sync.close();
    await this.#checkpointer?.close();
    this.#rows.close();
    this.#reader.raw.close();
    this.#writer.raw.close();
  }

  /** Runs what waits, up to BATCH callers in one transaction, each in a savepoint of its own. */
  async #pump(): Promise<void> {
    await Promise.resolve(); // lets requests of the same turn join
    while (this.#queue.length > 0) await this.#runNext();
    // In the same step as the look at the queue: whoever comes later begins anew, nobody waits for a pump that has ended.
    this.#pumping = undefined;
  }

  async #runNext(): Promise<void> {
    const batch = this.#queue.splice(0, BATCH);
    let done: Job[];
    try {
      await this.#sync.healthy();
      await this.#begin();
      done = await this.#runBatch(batch);
    } catch (error) {
      for (const job of batch) job.reject(error);
      return;
    }
    const waiting = done.filter((job) => job.durable);
    for (const job of done) if (!job.durable) job.resolve();
    if (waiting.length === 0) return;
    this.#sync.flush().then(
      () => waiting.forEach((job) => void job.resolve()),
      (error: unknown) => waiting.forEach((job) => void job.reject(error)),
    );
  }

  async #runBatch(batch: readonly Job[]): Promise<Job[]> {
    const { raw, changed } = this.#writer;
    const done: Job[] = [];
    try {
      this.#rows.locked();
      changed.clear();
      for (const job of batch) {
        raw.exec('SAVEPOINT job');
        try {
          await job.run(this.#writer);
          raw.exec('RELEASE job');
          done.push(job);
        } catch (error) {
          if (!raw.isTransaction) throw error; // SQLite gave up the whole transaction
          raw.exec('ROLLBACK TO job; RELEASE job');
          job.reject(error);
        }
      }
      raw.exec('COMMIT');
      this.#rows.committed(changed);
      return done;
    } catch (error) {
      if (raw.isTransaction) raw.exec('ROLLBACK');
      throw error;
    }
  }

  /** Takes the write lock; waits for other processes without blocking the event loop. */
  async #begin(): Promise<void> {
    const deadline = Date.now() + BUSY_LIMIT_MS;
    for (let wait = 1; ; wait = Math.min(wait * 2, 20)) {
      try {
        this.#writer.raw.exec('BEGIN IMMEDIATE');
        return;
      } catch (error) {
        if (sqliteCode(error) !== SQLITE_BUSY) throw error;
        if (Date.now() > deadline)
          throw new AppError('unavailable', 'the database is busy', { cause: error, headers: { 'Retry-After': '1' } });
        await delay(wait);
      }
    }
  }
}

const fdatasyncAsync = promisify(fdatasync);

/**
 * Makes committed transactions durable: one fdatasync of the write-ahead log serves all that wait for it.
 *
 * Why this is enough: a commit in WAL mode is its frames in the log, and SQLite (synchronous=NORMAL) syncs log and
 * database itself around a checkpoint, so a frame is always either in a synced log or in a synced database before it
 * counts. After a failed sync the kernel may call the lost pages clean, so a later success would lie; the log is then
 * written again byte for byte under the write lock before anything else is acknowledged.
 */
class WalSync {
  readonly #path: string;
  readonly #fd: number;
  readonly #writer: DatabaseSync;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #failed = false;

  constructor(path: string, writer: DatabaseSync) {
    this.#path = path;
    this.#fd = openSync(path, 'r+');
    this.#writer = writer;
  }

  /** Resolves when all that was committed before the call is on disk. */
  flush(): Promise<void> {
    if (this.#running === undefined) {
      this.#running = this.#flushNow().finally(() => {
        this.#running = undefined;
      });
      return this.#running;
    }
    this.#next ??= this.#running
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined;
        return this.flush();
      });
    return this.#next;
  }

  async healthy(): Promise<void> {
    if (this.#failed && !this.#writer.isTransaction) this.#rewrite();
  }

  async close(): Promise<void> {
    await (this.#next ?? this.#running)?.catch(() => undefined);
    closeSync(this.#fd);
  }

  async #flushNow(): Promise<void> {
    if (this.#failed) throw new AppError('unavailable', 'the database log cannot be synced', { headers: { 'Retry-After': '2' } });
    try {
      await fdatasyncAsync(this.#fd);
    } catch (error) {
      this.#failed = true;
      throw error;
    }
  }

  /** Dirties every page of the log again and syncs it; throws while the disk still fails. */
  #rewrite(): void {
    this.#writer.exec('BEGIN IMMEDIATE');
    try {
      const chunk = Buffer.alloc(1 << 20);
      for (let at = 0; ; ) {
        const length = readSync(this.#fd, chunk, 0, chunk.length, at);
        if (length === 0) break;
        writeSync(this.#fd, chunk, 0, length, at);
        at += length;
      }
      fdatasyncSync(this.#fd);
      syncDirectory(dirname(this.#path));
      this.#failed = false;
    } finally {
      this.#writer.exec('ROLLBACK');
    }
  }
}

function syncDirectory(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
