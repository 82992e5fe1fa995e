import type { Client } from 'pg';
import { ConnectionLost, postgresCode } from './postgres-errors.ts';

/**
 * Addresses of the servers of one database, one for each host of a list as libpq takes it: `postgresql://a:5432,b/name` or
 * `?host=/run/a,/run/b&port=5432,5433`. Throws where hosts and ports do not pair.
 */
export function addressesOf(url: string): string[] {
  const [, before = '', hosts = '', path = '', query = ''] = /^(\w+:\/\/(?:[^/?#]*@)?)([^/?#]*)([^?]*)\??(.*)$/.exec(url) ?? [];
  const parameters = new URLSearchParams(query);
  const named = parameters.get('host')?.split(',') ?? [];
  const ports = parameters.get('port')?.split(',') ?? [];
  if (named.length < 2)
    return hosts.includes(',') ? hosts.split(',').map((host) => `${before}${host}${path}${query && `?${query}`}`) : [url];
  if (ports.length > 1 && ports.length !== named.length) throw new Error('the address of the database has more or fewer ports than hosts');
  return named.map((host, index) => {
    parameters.set('host', host);
    const port = ports[index] ?? ports[0];
    if (port !== undefined) parameters.set('port', port);
    return `${before}${hosts.split(',')[0]}${path}?${parameters.toString()}`;
  });
}

/** The servers that may have the database; one of them takes changes at a time. */
export class Servers {
  readonly #urls: readonly string[];
  #index = 0;

  constructor(url: string) {
    this.#urls = addressesOf(url);
  }

  /** Where the database was found last. */
  current(): string {
    return this.#urls[this.#index] ?? '';
  }

  /** All of them, the current one first; whoever finds the database at one leaves it current. */
  *all(): Generator<string> {
    const first = this.#index;
    for (let tried = 0; tried < this.#urls.length; tried++) {
      this.#index = (first + tried) % this.#urls.length;
      yield this.current();
    }
    this.#index = first;
  }
}

const HISTORY = `SELECT system_identifier::text AS system, substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS timeline
                   FROM pg_control_system()`;

/**
 * Which history of the database this process stands in. A standby that is promoted begins a new one, under a higher number:
 * from then on whoever still reaches the former primary, through a balancer or over an old connection, must not believe it.
 */
export class Lineage {
  readonly #onNewer: () => void;
  readonly #known = new WeakMap<object, string>();
  #system = '';
  #timeline = 0;

  constructor(onNewer: () => void) {
    this.#onNewer = onNewer;
  }

  /** Takes a new connection in. Throws where it leads to a former primary. */
  async accept(client: Client): Promise<void> {
    const found = await historyOf(client);
    if (found === undefined) return;
    const { system, timeline } = found;
    const isSame = system === this.#system;
    if (isSame && timeline < this.#timeline) throw new ConnectionLost('the database is a former primary: another server has taken over');
    const isNewer = this.#system !== '' && (!isSame || timeline > this.#timeline);
    this.#system = system;
    this.#timeline = timeline;
    this.#known.set(client, `${system}/${timeline}`);
    if (isNewer) this.#onNewer();
  }

  /** Whether two connections lead to one history, as far as the servers tell. */
  isShared(one: object, other: object): boolean {
    return this.#known.get(one) === this.#known.get(other);
  }
}

/** Undefined where the server does not tell, as some that are run by others. */
async function historyOf(client: Client): Promise<{ system: string; timeline: number } | undefined> {
  try {
    const { rows } = await client.query<{ system: string; timeline: string }>(HISTORY);
    const [row] = rows;
    return row && { system: row.system, timeline: Number.parseInt(row.timeline, 16) };
  } catch (error) {
    if (postgresCode(error) === undefined) throw error;
    return undefined;
  }
}
