import { setTimeout as delay } from 'node:timers/promises';
import { Connection, clientConfig, type Driver, prepareClient } from './postgres-connection.ts';
import { ConnectionLost } from './postgres-errors.ts';
import type { Lineage, Servers } from './postgres-servers.ts';

const CHANNEL = 'entrepot';
const BEAT_MS = 500;
/** Without an answer for so long the database counts as away, and news of changes as lost. */
const AWAY_MS = 2000;
const RECONNECT_MOST_MS = 500;
const BEAT = `SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now, current_setting('transaction_read_only') AS readonly`;
/** A change that writes nothing that stays: once it has been committed, so has all before it, on standbys too that are waited for. */
const BEHIND = `SELECT pg_logical_emit_message(true, 'entrepot', '')`;

interface Parts {
  readonly driver: Driver;
  readonly servers: Servers;
  readonly lineage: Lineage;
  /** Names this process in what it tells others. */
  readonly instance: string;
  /** Others have changed these tables. */
  readonly onChanged: (tables: readonly string[]) => void;
  /** From here on, or up to here, nobody knows what others change. */
  readonly onUnsure: () => void;
  /** The database was found on another server. */
  readonly onMoved: () => void;
  /** It does not answer any more. */
  readonly onAway: () => void;
}

/**
 * One connection that hears what other processes change, and asks twice a second for the time: proof that the database
 * answers, that no news was missed, and of what o'clock it is there.
 */
export class Watch {
  readonly #parts: Parts;
  readonly #stopping = new AbortController();
  #connection: Connection | undefined;
  /** When the last question was asked that was answered. */
  #provenAt = Number.NEGATIVE_INFINITY;
  #isAway = false;
  /** The database's time less `performance.now()`. */
  #offset = Number.NaN;
  #running: Promise<void> = Promise.resolve();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Resolves once it listens. */
  async start(): Promise<void> {
    await this.#connect();
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    await this.#connection?.client.end().catch(() => undefined);
  }

  /** Milliseconds since 1970 by the database's clock, which does not jump with the clock of this machine. */
  now(): number {
    return Math.round(performance.now() + this.#offset);
  }

  /** Whether all that others had committed two seconds ago was heard of. */
  isCurrent(): boolean {
    return performance.now() - this.#provenAt <= AWAY_MS;
  }

  isAway(): boolean {
    return this.#isAway;
  }

  /** A statement that tells others of changed tables when its transaction commits. */
  telling(tables: Iterable<string>): string {
    return `SELECT pg_notify('${CHANNEL}', '${this.#parts.instance} ${[...tables].join(' ')}')`;
  }

  /**
   * What became of a transaction whose commit was not answered. Only a connection older than it can say so for sure: while
   * one lives the server has not crashed, and after a crash the number may be another transaction's.
   */
  async outcomeOf(transaction: string, from: Connection, begunAt: number): Promise<string | undefined> {
    const connection = this.#connection;
    if (connection === undefined || connection.openedAt >= begunAt) return undefined;
    if (!this.#parts.lineage.isShared(connection.client, from.client)) return undefined;
    const [answer] = await this.#answered(connection.script(`SELECT pg_xact_status('${BigInt(transaction)}'::xid8) AS status`));
    const status = (answer?.rows[0] as { status: string | null } | undefined)?.status ?? undefined;
    // It may have been cut off while it waited for a standby: then it is committed here and lost with this server.
    if (status === 'committed') await this.#answered(connection.script(BEHIND));
    return status;
  }

  /** What is heard here may not be all: another connection has found the database elsewhere. */
  distrust(): void {
    void this.#connection?.client.end().catch(() => undefined); // the next question fails
    this.#provenAt = Number.NEGATIVE_INFINITY;
    this.#parts.onUnsure();
  }

  /** Connects to the first server that takes changes. Throws what the last one said where none does. */
  async #connect(): Promise<void> {
    const { servers, onMoved } = this.#parts;
    const before = servers.current();
    let failure: unknown;
    for (const url of servers.all()) {
      try {
        await this.#connectTo(url);
        if (url !== before) onMoved();
        return;
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  async #connectTo(url: string): Promise<void> {
    const { driver, lineage, instance, onChanged, onUnsure } = this.#parts;
    const client = new driver.Client(clientConfig(driver, url));
    client.on('error', () => undefined); // the question under way fails with it
    client.on('notification', ({ payload = '' }) => {
      const [who, ...tables] = payload.split(' ');
      if (who !== instance) onChanged(tables);
    });
    try {
      await client.connect();
      await prepareClient(client, lineage);
      await client.query(`LISTEN ${CHANNEL}`);
      onUnsure();
      const connection = new Connection(client);
      await this.#beat(connection);
      this.#connection = connection;
    } catch (error) {
      void client.end().catch(() => undefined);
      throw error;
    }
  }

  async #beat(connection: Connection): Promise<void> {
    const askedAt = performance.now();
    const [answer] = await this.#answered(connection.script(BEAT));
    const answeredAt = performance.now();
    const { now = Number.NaN, readonly } = (answer?.rows[0] ?? {}) as { now?: number; readonly?: string };
    if (readonly === 'on') throw new ConnectionLost('the database takes no changes any more');
    const offset = now - (askedAt + answeredAt) / 2;
    // Small differences are the network's; following them would make the clock tremble.
    if (!(Math.abs(offset - this.#offset) <= answeredAt - askedAt + 1)) this.#offset = offset;
    this.#provenAt = askedAt;
    this.#isAway = false;
  }

  /** Rejects what is not answered in time. */
  async #answered<T>(question: Promise<T>): Promise<T> {
    question.catch(() => undefined);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        // Where this process itself stood still, the answer may only wait to be read.
        setImmediate(() => setImmediate(() => reject(new Unanswered())));
      }, AWAY_MS);
    });
    return await Promise.race([question, late]).finally(() => clearTimeout(timer));
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    const isOver = () => signal.aborted;
    const pause = (ms: number) => delay(ms, undefined, { signal }).catch(() => undefined);
    while (!signal.aborted) {
      try {
        await pause(BEAT_MS);
        if (this.#connection && !isOver()) await this.#beat(this.#connection);
      } catch (error) {
        this.#lost(error instanceof Unanswered);
        for (let wait = 50; !isOver() && !(await this.#reconnected()); wait = Math.min(wait * 2, RECONNECT_MOST_MS)) await pause(wait);
      }
    }
  }

  #lost(isAway: boolean): void {
    void this.#connection?.client.end().catch(() => undefined);
    this.#connection = undefined;
    this.#provenAt = Number.NEGATIVE_INFINITY;
    this.#parts.onUnsure();
    if (isAway) this.#away();
  }

  async #reconnected(): Promise<boolean> {
    try {
      await this.#connect();
      return true;
    } catch {
      this.#away();
      return false;
    }
  }

  #away(): void {
    if (this.#isAway) return;
    this.#isAway = true;
    this.#parts.onAway();
  }
}

class Unanswered extends Error {
  override name = 'Unanswered';
  override message = 'the database does not answer';
}
