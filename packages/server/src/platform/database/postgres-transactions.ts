import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { AppError } from '../errors.ts';
import type { Session, WriteOptions } from './database.ts';
import type { Connection } from './postgres-connection.ts';
import { ConnectionLost, shownAs, troubleOf, unknownOutcome } from './postgres-errors.ts';
import type { Connections } from './postgres-pool.ts';
import type { TableRows } from './postgres-rows.ts';
import type { Watch } from './postgres-watch.ts';

/** Changes of equal scope that share a transaction. */
const BATCH = 16;
const ATTEMPTS = 5;
const RETRY_FIRST_MS = 20;
/** Longest wait for a turn in this process. */
const TURN_MS = 10_000;
/** Longest wait for a commit, as for a disk or for a standby that is not there. */
const COMMIT_MS = 10_000;
/** How long the outcome of a broken commit is asked for. */
const OUTCOME_MS = 2000;

/** Advisory locks are numbers; those of scopes are far from each other and from the two below. */
const lockOf = (name: string) => createHash('sha256').update(`entrepot:${name}`).digest().readBigInt64BE();
/** Taken shared by changes with a scope, and alone by those without. */
export const EVERYTHING = lockOf('everything');
/** Taken last, by those that write what has one order. */
const ORDER = lockOf('order');

interface Job {
  readonly scope: ReadonlySet<string> | undefined;
  readonly durable: boolean;
  readonly queuedAt: number;
  /** Runs the work anew and gives what tells its caller of success. */
  readonly run: (tx: Session) => Promise<() => void>;
  readonly reject: (error: unknown) => void;
}

interface Batch {
  readonly jobs: readonly Job[];
  /** undefined: everything. */
  readonly scope: ReadonlySet<string> | undefined;
}

/** A commit that takes too long; not the bare promise, which would be waited for on its way to the caller. */
interface Unanswered {
  readonly commit: Promise<unknown>;
}

interface Parts {
  readonly connections: Connections;
  readonly watch: Watch;
  readonly rows: TableRows;
  /** Transactions at once. */
  readonly most: number;
}

/**
 * Runs changes in transactions. What was written for a single writer stays true by locks taken at the start: those without
 * a scope run alone, the others beside each other unless they share a name (decision 0013). Changes of one process that
 * would wait for each other share a transaction instead, each in a savepoint of its own.
 */
export class Transactions {
  readonly #parts: Parts;
  readonly #queue: Job[] = [];
  readonly #running = new Map<Promise<void>, Batch>();
  /** Commits whose callers were told that nobody knows. They keep their connections, so that there are never more of them. */
  readonly #overdue = new Set<Promise<unknown>>();
  #turns: NodeJS.Timeout | undefined;
  #isScheduled = false;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  write<T>(work: (tx: Session) => Promise<T>, { durable = true, scope }: WriteOptions = {}): Promise<T> {
    if (this.#overdue.size >= this.#parts.most) return Promise.reject(busy());
    return new Promise<T>((resolve, reject) => {
      this.#queue.push({
        durable: durable !== false,
        scope: scope && new Set(scope),
        queuedAt: performance.now(),
        reject,
        run: async (tx) => {
          const value = await work(tx);
          return () => resolve(value);
        },
      });
      this.#turns ??= setTimeout(() => this.#refuseLate(), TURN_MS).unref();
      if (this.#isScheduled) return;
      this.#isScheduled = true;
      queueMicrotask(() => {
        this.#isScheduled = false;
        this.#pump(); // with the changes of the same turn
      });
    });
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await Promise.resolve();
    while (this.#running.size > 0) await Promise.all(this.#running.keys());
  }

  /** Tells those that have waited too long, the first of the queue. */
  #refuseLate(): void {
    const due = performance.now() - TURN_MS;
    while (this.#queue[0] && this.#queue[0].queuedAt <= due) this.#queue.shift()?.reject(busy());
    const [next] = this.#queue;
    this.#turns = next && setTimeout(() => this.#refuseLate(), next.queuedAt - due).unref();
  }

  #pump(): void {
    while (this.#running.size + this.#overdue.size < this.#parts.most) {
      const batch = this.#next();
      if (batch === undefined) return;
      const task: Promise<void> = this.#settle(batch.jobs).finally(() => {
        this.#running.delete(task);
        this.#pump();
      });
      this.#running.set(task, batch);
    }
  }

  /** The first of the queue that need not wait for others of this process, with those behind it that fit in. */
  #next(): Batch | undefined {
    const taken = new Set<string>();
    let isAllTaken = false;
    for (const { scope } of this.#running.values()) {
      if (scope === undefined) isAllTaken = true;
      for (const name of scope ?? []) taken.add(name);
    }
    const mustWait = ({ scope }: Job) => (scope === undefined ? isAllTaken : !scope.isDisjointFrom(taken));
    const index = this.#queue.findIndex((job) => {
      if (!mustWait(job)) return true;
      // Nobody overtakes one that waits for the same.
      for (const name of job.scope ?? []) taken.add(name);
      return false;
    });
    const first = this.#queue[index];
    if (first === undefined) return undefined;
    const jobs: Job[] = [];
    const isIn = ({ scope }: Job) => (first.scope && scope ? scope.isSubsetOf(first.scope) : first.scope === scope);
    for (let at = index; at < this.#queue.length && jobs.length < BATCH; ) {
      const job = this.#queue[at];
      if (job && isIn(job)) jobs.push(...this.#queue.splice(at, 1));
      else at++;
    }
    return { jobs, scope: first.scope };
  }

  /** Runs a batch until it is committed or given up, and tells all callers. Never rejects. */
  async #settle(jobs: readonly Job[]): Promise<void> {
    try {
      await this.#commit(jobs);
    } catch (error) {
      // One of them spoiled what they share: each for itself.
      if (jobs.length > 1 && troubleOf(error) === 'statement' && !(error instanceof AppError)) {
        for (const job of jobs) await this.#settle([job]);
      } else for (const job of jobs) job.reject(shownAs(error));
    }
  }

  async #commit(jobs: readonly Job[]): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      if (this.#parts.watch.isAway()) throw new ConnectionLost('the database is away');
      try {
        for (const tell of await this.#attempt(jobs)) tell();
        return;
      } catch (error) {
        const trouble = troubleOf(error);
        if ((trouble !== 'connection' && trouble !== 'again') || attempt === ATTEMPTS) throw error;
        await delay(RETRY_FIRST_MS * 2 ** (attempt - 1) * (0.5 + Math.random()));
      }
    }
  }

  /** One transaction. Gives what tells the callers; throws where nothing was stored, or nobody can say. */
  async #attempt(jobs: readonly Job[]): Promise<(() => void)[]> {
    const { connections } = this.#parts;
    const connection = await connections.take();
    let overdue: Unanswered | undefined;
    try {
      const begunAt = performance.now();
      connection.told.clear();
      connection.changed.clear();
      const transaction = await this.#begin(connection, jobs);
      const tell = jobs.length === 1 ? await runAlone(connection, jobs) : await runTogether(connection, jobs);
      overdue = await this.#end(connection, transaction, begunAt);
      if (overdue) throw unknownOutcome(new Error(`the commit of transaction ${transaction} is not answered`));
      return tell;
    } catch (error) {
      if (!connection.isLost && !overdue) await connection.script('ROLLBACK').catch(() => undefined);
      throw error;
    } finally {
      if (overdue) this.#waitFor(overdue.commit, connection);
      else connections.give(connection);
    }
  }

  /** Keeps the connection of a commit that is not answered until it is, or breaks. */
  #waitFor(commit: Promise<unknown>, connection: Connection): void {
    this.#overdue.add(commit);
    const changed = new Set(connection.changed);
    void commit
      .catch(() => undefined)
      .then(() => {
        this.#parts.rows.changed(changed);
        this.#overdue.delete(commit);
        this.#parts.connections.give(connection);
        this.#pump();
      });
  }

  /** Begins, takes the locks in one order over all processes, and gives the transaction's number. */
  async #begin(connection: Connection, jobs: readonly Job[]): Promise<string> {
    const [first] = jobs;
    const names = first?.scope;
    const locks = names === undefined ? [] : Array.from(names, lockOf).sort((a, b) => (a < b ? -1 : 1));
    const results = await connection.script(
      [
        'BEGIN',
        jobs.some(({ durable }) => durable) ? '' : 'SET LOCAL synchronous_commit = off',
        `SELECT pg_advisory_xact_lock${names === undefined ? '' : '_shared'}(${EVERYTHING})`,
        ...locks.map((lock) => `SELECT pg_advisory_xact_lock(${lock})`),
        'SELECT pg_current_xact_id()::text AS id',
      ]
        .filter((statement) => statement !== '')
        .join('; '),
    );
    const { id = '' } = (results.at(-1)?.rows[0] ?? {}) as { id?: string };
    return id;
  }

  /** Commits; gives the commit itself where it is not answered in time. */
  async #end(connection: Connection, transaction: string, begunAt: number): Promise<Unanswered | undefined> {
    const { watch, rows } = this.#parts;
    const telling = connection.told.size > 0 ? `${watch.telling(connection.told)}; ` : '';
    try {
      const commit = connection.script(`${telling}COMMIT`, { patient: true });
      const results = await inTime(commit, COMMIT_MS);
      if (results === undefined) return { commit };
      if (results.at(-1)?.command !== 'COMMIT') throw new Error('the database undid a transaction in which a statement had failed');
      rows.changed(connection.changed);
    } catch (error) {
      if (troubleOf(error) !== 'connection') throw error;
      rows.clear();
      await this.#findOut(transaction, connection, begunAt, error);
    }
    return undefined;
  }

  /** After a commit that was not answered: resolves where it is known to have happened, throws what it got where not. */
  async #findOut(transaction: string, connection: Connection, begunAt: number, cause: unknown): Promise<void> {
    const deadline = performance.now() + OUTCOME_MS;
    do {
      const status = await this.#parts.watch.outcomeOf(transaction, connection, begunAt).catch(() => undefined);
      if (status === 'committed') return;
      if (status === 'aborted') throw cause;
      if (status === undefined) break;
      await delay(50);
    } while (performance.now() < deadline);
    throw unknownOutcome(cause);
  }
}

/** What is resolved in time; undefined where it is not. */
async function inTime<T>(work: Promise<T>, ms: number): Promise<T | undefined> {
  work.catch(() => undefined);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, ms, undefined);
  });
  return await Promise.race([work, late]).finally(() => clearTimeout(timer));
}

const busy = () => new AppError('unavailable', 'the database is busy; nothing was stored', { headers: { 'Retry-After': '1' } });

type Tell = () => void;

async function runAlone(connection: Connection, jobs: readonly Job[]): Promise<Tell[]> {
  const tell: Tell[] = [];
  for (const job of jobs) {
    connection.last.length = 0;
    tell.push(await job.run(connection));
    await finish(connection, [...connection.last]);
  }
  return tell;
}

/** Each in a savepoint, so that one that fails takes no other with it. */
async function runTogether(connection: Connection, jobs: readonly Job[]): Promise<Tell[]> {
  const tell: Tell[] = [];
  const last: (() => Promise<void>)[] = [];
  for (const job of jobs) {
    await connection.script('SAVEPOINT job');
    connection.last.length = 0;
    try {
      const done = await job.run(connection);
      await connection.script('RELEASE job');
      tell.push(done);
      last.push(...connection.last);
    } catch (error) {
      const trouble = troubleOf(error);
      if (trouble === 'connection' || trouble === 'again') throw error;
      await connection.script('ROLLBACK TO job; RELEASE job');
      tell.push(() => job.reject(shownAs(error)));
    }
  }
  await finish(connection, last);
  return tell;
}

/** What has one order over all transactions, as the last of this one. */
async function finish(connection: Connection, last: readonly (() => Promise<void>)[]): Promise<void> {
  if (last.length === 0) return;
  await connection.script(`SELECT pg_advisory_xact_lock(${ORDER})`);
  for (const work of last) await work();
}
