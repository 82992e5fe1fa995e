import { createHash } from 'node:crypto';
import type { Client, ClientConfig, CustomTypesConfig, QueryResult } from 'pg';
import type { Session } from './database.ts';
import { compilePostgres } from './postgres-compiler.ts';
import { ConnectionLost, postgresCode, troubleOf } from './postgres-errors.ts';
import { type Invalidation, invalidationOf } from './postgres-rows.ts';
import type { Lineage } from './postgres-servers.ts';
import { bind, type Compiled, type Query } from './query.ts';

export const CONNECT_MS = 2000;
/** Longest that one statement may run; what is slower belongs into smaller steps. */
const STATEMENT_MS = 10_000;
/** Longest wait for a lock, those of scopes among them. */
const LOCK_MS = 5000;
/** A transaction whose process says nothing for so long is undone by the server, and its locks are free. */
const IDLE_MS = 10_000;
/** The same from this side, for where the network swallows the answer. */
const ANSWER_MS = 15_000;
/** A connection that says nothing for so long is asked whether it still leads anywhere. */
const PROBE_MS = 10_000;
/** For what is waited for by whoever sent it. */
const PATIENT_MS = 2 ** 31 - 1;

/** Whole numbers have 64 bits in the database and stay below 2^53 in ours; truth is 0 and 1, as in SQLite. */
const PARSERS: Parsers = {
  16: (text) => (text === 't' ? 1 : 0),
  20: Number,
  1700: Number, // sums of whole numbers
};
const NAME_LENGTH = 40;

type Parsers = Readonly<Record<number, (text: string) => unknown>>;

export type Driver = typeof import('pg');

/** What all connections have in common; `parsers` read values of types, by number, otherwise than usual. */
export function clientConfig(driver: Driver, url: string, parsers: Parsers = {}): ClientConfig {
  const getTypeParser = ((oid: Parameters<Driver['types']['getTypeParser']>[0]): unknown =>
    parsers[oid] ?? PARSERS[oid] ?? driver.types.getTypeParser(oid, 'text')) as CustomTypesConfig['getTypeParser'];
  return {
    connectionString: url,
    application_name: 'entrepot',
    keepAlive: true,
    keepAliveInitialDelayMillis: PROBE_MS,
    connectionTimeoutMillis: CONNECT_MS,
    query_timeout: ANSWER_MS,
    types: { getTypeParser },
  };
}

/** What every connection is told first. Throws where it leads to a server that takes no changes, was replaced, or is too old. */
export async function prepareClient(client: Client, lineage: Lineage): Promise<void> {
  const { rows } = await client.query<{ version: string; readonly: string; commit: string }>(
    `SELECT current_setting('server_version_num') AS version, current_setting('transaction_read_only') AS readonly,
            current_setting('synchronous_commit') AS commit`,
  );
  const [{ version, readonly, commit } = { version: '0', readonly: 'off', commit: 'on' }] = rows;
  if (Number(version) < 140_000) throw new Error(`PostgreSQL 14 or later is needed, this is ${version}`);
  if (readonly === 'on') throw new ConnectionLost('the database takes no changes: it is a standby, or set to read only');
  await lineage.accept(client);
  // An answer is a promise, whatever the server's default; stricter settings stay.
  await client.query(
    `SET statement_timeout = ${STATEMENT_MS}; SET lock_timeout = ${LOCK_MS}; SET idle_in_transaction_session_timeout = ${IDLE_MS};
     SET client_min_messages = warning${commit === 'off' ? '; SET synchronous_commit = on' : ''}`,
  );
}

interface Prepared extends Invalidation {
  readonly name: string;
  readonly compiled: Compiled;
}

const PREPARED = new WeakMap<Query<never, unknown>, Prepared>();

function prepare(query: Query<never, unknown>): Prepared {
  let prepared = PREPARED.get(query);
  if (prepared === undefined) {
    const compiled = compilePostgres(query);
    const name = `${query.name.slice(0, NAME_LENGTH)}.${createHash('sha256').update(compiled.sql).digest('hex').slice(0, 16)}`;
    prepared = { name, compiled, ...invalidationOf(compiled) };
    PREPARED.set(query, prepared);
  }
  return prepared;
}

/** Statements on one connection, one after the other, prepared at first use. */
export class Connection implements Session {
  readonly client: Client;
  readonly openedAt = performance.now();
  /** Tables changed by the transaction under way: those whose rows others may have in memory, and those of this process. */
  readonly told = new Set<string>();
  readonly changed = new Set<string>();
  /** What the work under way wants to do at the end. */
  readonly last: (() => Promise<void>)[] = [];
  /** It broke, or can be trusted no more. */
  isLost = false;
  #previous: Promise<unknown> = Promise.resolve();

  constructor(client: Client) {
    this.client = client;
  }

  async all<P, R>(query: Query<P, R>, params: P): Promise<R[]> {
    return (await this.#execute(query, params)).rows as R[];
  }

  async first<P, R>(query: Query<P, R>, params: P): Promise<R | undefined> {
    return (await this.#execute(query, params)).rows[0] as R | undefined;
  }

  async run<P>(query: Query<P, unknown>, params: P): Promise<number> {
    return (await this.#execute(query, params)).rowCount ?? 0;
  }

  inOrder(work: () => Promise<void>): void {
    this.last.push(work);
  }

  /** Several statements in one message, without parameters; gives what each said, however long that takes where told so. */
  async script(text: string, { patient = false }: { readonly patient?: boolean } = {}): Promise<QueryResult[]> {
    const query = patient ? { text, query_timeout: PATIENT_MS } : text;
    const results = await this.#send<QueryResult | QueryResult[]>(() => this.client.query(query));
    return Array.isArray(results) ? results : [results];
  }

  #execute<P>(query: Query<P, unknown>, params: P): Promise<QueryResult> {
    const { name, compiled, changed, told } = prepare(query as unknown as Query<never, unknown>);
    if (changed !== undefined) this.changed.add(changed);
    if (told !== undefined) this.told.add(told);
    const values = bind(compiled.parameters, params);
    return this.#send(() => this.client.query({ name, text: compiled.sql, values }));
  }

  /** The driver takes one statement at a time; work may ask for several at once. */
  #send<T>(query: () => Promise<T>): Promise<T> {
    const sent = this.#previous.then(query).catch((error: unknown) => {
      const shown = postgresCode(error) === undefined ? new ConnectionLost((error as Error).message, { cause: error }) : error;
      if (troubleOf(shown) === 'connection') this.isLost = true;
      throw shown;
    });
    this.#previous = sent.catch(() => undefined);
    return sent;
  }
}
