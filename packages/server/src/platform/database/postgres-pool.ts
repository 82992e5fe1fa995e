import type { Pool as DriverPool, PoolClient } from 'pg';
import { CONNECT_MS, Connection, clientConfig, type Driver, prepareClient } from './postgres-connection.ts';
import { ConnectionLost, postgresCode } from './postgres-errors.ts';
import type { Lineage, Servers } from './postgres-servers.ts';

const IDLE_MS = 60_000;

/** Connections that are used again, so many at most; who waits for one too long is told. */
export class Connections {
  readonly #make: () => DriverPool;
  #pool: DriverPool;
  readonly #wrapped = new WeakMap<object, Connection>();
  readonly #taken = new Set<PoolClient>();
  #isClosed = false;

  constructor({ driver, servers, lineage, max }: { driver: Driver; servers: Servers; lineage: Lineage; max: number }) {
    this.#make = () => {
      const pool = new driver.Pool({
        ...clientConfig(driver, servers.current()),
        max,
        idleTimeoutMillis: IDLE_MS,
        // Awaited by the pool, though its type does not say so.
        onConnect: (client) => prepareClient(client as never, lineage) as never,
      });
      pool.on('error', () => undefined); // an idle connection broke; the pool has dropped it
      pool.on('connect', (client) => client.on('error', () => undefined)); // the statement under way fails with it
      return pool;
    };
    this.#pool = this.#make();
  }

  async take(): Promise<Connection> {
    let client: PoolClient;
    if (this.#isClosed) throw new Error('the database is closed');
    try {
      client = await this.#pool.connect();
    } catch (error) {
      throw postgresCode(error) === undefined ? new ConnectionLost((error as Error).message, { cause: error }) : error;
    }
    this.#taken.add(client);
    let connection = this.#wrapped.get(client);
    if (connection === undefined) {
      connection = new Connection(client);
      this.#wrapped.set(client, connection);
    }
    return connection;
  }

  /** Gives a connection back, whatever became of it. */
  give(connection: Connection): void {
    const client = connection.client as unknown as PoolClient;
    this.#taken.delete(client);
    client.release(connection.isLost);
  }

  /** Breaks all connections, so that whoever waits for an answer is told at once; later ones are made anew, to where the database is now. */
  breakAll(): void {
    const old = this.#pool;
    this.#pool = this.#make();
    for (const client of this.#taken) void (client as unknown as { end(): Promise<void> }).end().catch(() => undefined);
    old.end().catch(() => undefined);
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CONNECT_MS);
    });
    await Promise.race([this.#pool.end(), limit]).finally(() => clearTimeout(timer));
  }
}
