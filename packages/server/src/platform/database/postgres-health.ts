import type { Client } from 'pg';
import { connectForLong } from './transfer/postgres-tables.ts';

/** Something about a PostgreSQL server or database that is not as it should be. */
export interface PostgresFinding {
  readonly severity: 'error' | 'warning' | 'notice';
  readonly where: string;
  readonly what: string;
  readonly remedy: string;
  /** A sequence to be set to a number, which mends it. */
  readonly setSequence?: { readonly sequence: string; readonly value: bigint };
}

interface Options {
  /** Reads every page of tables and indexes too, where the server can do that. */
  readonly deep: boolean;
  /** Connections that one process opens, and how many processes this instance has. */
  readonly connections: number;
  readonly processes: number;
  readonly now: number;
  readonly signal: AbortSignal;
}

/** PostgreSQL's own versions are maintained until November, five years after their release: 14 until 2026. */
const maintainedUntil = (major: number) => Date.UTC(2012 + major, 10, 15);
const XIDS_WARNING = 1_000_000_000;
const XIDS_ERROR = 1_800_000_000;
const OLD_TRANSACTION_S = 3600;

type Look = (client: Client, options: Options) => AsyncIterable<PostgresFinding>;

/** Looks at the server's settings, and whether what it keeps is sound. Changes nothing. */
export async function* postgresProblems(url: string, options: Options): AsyncGenerator<PostgresFinding> {
  const client = await connectForLong(url);
  try {
    for (const look of [settings, connections, indexes, sequences, activity, pages] satisfies Look[]) {
      options.signal.throwIfAborted();
      yield* look(client, options);
    }
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Sets a sequence, unless it has come further meanwhile. */
export async function raiseSequence(url: string, { sequence, value }: NonNullable<PostgresFinding['setSequence']>): Promise<void> {
  const client = await connectForLong(url);
  try {
    await client.query(`SELECT setval('${sequence}', greatest(last_value, ${value})) FROM ${sequence}`);
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function ask<R>(client: Client, text: string): Promise<R[]> {
  return (await client.query(text)).rows as R[];
}

async function* settings(client: Client, { now }: Options): AsyncGenerator<PostgresFinding> {
  const names = [
    'server_version_num',
    'fsync',
    'full_page_writes',
    'data_checksums',
    'synchronous_standby_names',
    'autovacuum',
    'server_encoding',
  ];
  const rows = await ask<{ name: string; setting: string; reset: string }>(
    client,
    `SELECT name, setting, reset_val AS reset FROM pg_settings WHERE name IN ('synchronous_commit', ${names.map((n) => `'${n}'`).join(', ')})`,
  );
  const set = new Map(rows.map(({ name, setting }) => [name, setting]));
  const major = Math.floor(Number(set.get('server_version_num')) / 10_000);
  const where = 'the PostgreSQL server';
  if (now > maintainedUntil(major))
    yield { severity: 'warning', where, what: `is of version ${major}, which gets no corrections any more`, remedy: 'upgrade it' };
  if (set.get('fsync') === 'off')
    yield { severity: 'error', where, what: 'has fsync off: a crash of its host can destroy the database', remedy: 'set fsync = on' };
  if (set.get('full_page_writes') === 'off') {
    const remedy = 'set full_page_writes = on, unless its file system never tears a page (ZFS)';
    yield { severity: 'warning', where, what: 'has full_page_writes off: a crash of its host can tear pages', remedy };
  }
  if (set.get('data_checksums') === 'off') {
    const remedy = 'stop it and run pg_checksums --enable';
    yield { severity: 'notice', where, what: 'keeps no checksums of its pages: what the disk changes is not noticed', remedy };
  }
  if (set.get('autovacuum') === 'off')
    yield { severity: 'warning', where, what: 'has autovacuum off: tables grow without end', remedy: 'set autovacuum = on' };
  if (set.get('server_encoding') !== 'UTF8') {
    const remedy = "entrepot backup, and restore into a database made with ENCODING 'UTF8' TEMPLATE template0";
    yield { severity: 'error', where: 'the database', what: `has the encoding ${set.get('server_encoding')}`, remedy };
  }
  const [standbys] = await ask<{ count: bigint }>(client, 'SELECT count(*) AS count FROM pg_stat_replication');
  const commit = rows.find(({ name }) => name === 'synchronous_commit');
  if (Number(standbys?.count ?? 0n) > 0 && set.get('synchronous_standby_names') === '') {
    const remedy = 'name one in synchronous_standby_names where no acknowledged push may be lost in a failover';
    yield { severity: 'notice', where, what: 'has standbys that may be behind: a failover can lose the last pushes', remedy };
  } else if (set.get('synchronous_standby_names') !== '' && commit?.setting === 'local') {
    const remedy = 'set synchronous_commit = on';
    yield { severity: 'warning', where, what: 'does not wait for its synchronous standby (synchronous_commit is local)', remedy };
  }
}

async function* connections(client: Client, { connections: each, processes }: Options): AsyncGenerator<PostgresFinding> {
  const [row] = await ask<{ most: number }>(
    client,
    `SELECT least(current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
       (SELECT CASE WHEN rolconnlimit < 0 THEN 100000 ELSE rolconnlimit END FROM pg_roles WHERE rolname = current_user),
       (SELECT CASE WHEN datconnlimit < 0 THEN 100000 ELSE datconnlimit END FROM pg_database WHERE datname = current_database()))::int AS most`,
  );
  const most = row?.most ?? 0;
  const wanted = processes * (each + 1);
  if (wanted <= most) return;
  yield {
    severity: 'warning',
    where: 'databaseConnections',
    what: `lets this instance alone open ${wanted} connections, and the server takes ${most}`,
    remedy: 'lower it, or raise max_connections (or the limit of the role or the database)',
  };
}

async function* indexes(client: Client): AsyncGenerator<PostgresFinding> {
  const broken = await ask<{ name: string }>(
    client,
    `SELECT indexrelid::regclass::text AS name FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
     WHERE relnamespace = current_schema()::regnamespace AND NOT (indisvalid AND indisready)`,
  );
  for (const { name } of broken)
    yield { severity: 'error', where: `index ${name}`, what: 'is not valid, and not used', remedy: `REINDEX INDEX CONCURRENTLY ${name}` };
  const unproven = await ask<{ name: string; table: string }>(
    client,
    `SELECT quote_ident(conname) AS name, conrelid::regclass::text AS table FROM pg_constraint
     WHERE connamespace = current_schema()::regnamespace AND NOT convalidated`,
  );
  for (const { name, table } of unproven) {
    const remedy = `ALTER TABLE ${table} VALIDATE CONSTRAINT ${name}`;
    yield { severity: 'warning', where: `table ${table}`, what: `may contradict its constraint ${name}`, remedy };
  }
}

/** What numbers rows must be beyond all that it gave: a number that comes twice, or too late for who waits for later ones, is lost. */
async function* sequences(client: Client): AsyncGenerator<PostgresFinding> {
  const numbered = await ask<{ table: string; column: string; sequence: string | null }>(
    client,
    `SELECT quote_ident(table_name) AS table, quote_ident(column_name) AS column,
       pg_get_serial_sequence(quote_ident(table_name), column_name) AS sequence
     FROM information_schema.columns WHERE table_schema = current_schema() AND is_identity = 'YES' ORDER BY 1`,
  );
  for (const { table, column, sequence } of numbered) {
    if (sequence === null) continue;
    const consumed = table === 'outbox_event' ? ', (SELECT max(position) FROM outbox_consumer)' : '';
    const [row] = await ask<{ last: bigint; used: bigint }>(
      client,
      `SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END AS last,
         greatest((SELECT max(${column}) FROM ${table})${consumed}, 0)::bigint AS used FROM ${sequence}`,
    );
    if (row === undefined || row.last >= row.used) continue;
    yield {
      severity: 'error',
      where: `table ${table}`,
      what: `will give the number ${row.last + 1n} next, though ${row.used} was given: new rows are refused or not seen`,
      remedy: 'entrepot doctor --mend',
      setSequence: { sequence, value: row.used },
    };
  }
}

async function* activity(client: Client): AsyncGenerator<PostgresFinding> {
  const [row] = await ask<{ age: bigint }>(
    client,
    'SELECT age(datfrozenxid)::bigint AS age FROM pg_database WHERE datname = current_database()',
  );
  const age = Number(row?.age ?? 0n);
  if (age > XIDS_WARNING) {
    const what = `has ${age} transactions that no vacuum has looked at; at 2,100,000,000 it takes no changes any more`;
    const remedy = 'find what keeps autovacuum from it (old transactions, replication slots), or run VACUUM';
    yield { severity: age > XIDS_ERROR ? 'error' : 'warning', where: 'the database', what, remedy };
  }
  const old = await ask<{ pid: number; name: string; seconds: number }>(
    client,
    `SELECT pid, application_name AS name, extract(epoch FROM now() - xact_start)::int AS seconds FROM pg_stat_activity
     WHERE datname = current_database() AND xact_start < now() - interval '${OLD_TRANSACTION_S} s' AND pid <> pg_backend_pid()`,
  );
  for (const { pid, name, seconds } of old) {
    const what = `has had a transaction open for ${Math.floor(seconds / 60)} minutes, which keeps vacuum from its work`;
    yield { severity: 'warning', where: `connection ${pid} (${name})`, what, remedy: `end it: SELECT pg_terminate_backend(${pid})` };
  }
}

/** Pages of tables and indexes, by the extension amcheck. */
async function* pages(client: Client, { deep, signal }: Options): AsyncGenerator<PostgresFinding> {
  if (!deep) return;
  const [usable] = await ask<{ yes: number }>(
    client,
    `SELECT EXISTS (SELECT 1 FROM pg_proc JOIN pg_depend ON classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e'
       JOIN pg_extension ON pg_extension.oid = refobjid WHERE extname = 'amcheck' AND proname = 'verify_heapam'
       AND has_function_privilege(pg_proc.oid, 'EXECUTE')) AS yes`,
  );
  if (usable?.yes !== 1) {
    const what = 'cannot be read through: the extension amcheck is not there, or not allowed';
    const remedy = 'as a superuser: CREATE EXTENSION amcheck; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO the role of the registry';
    yield { severity: 'notice', where: 'tables and indexes', what, remedy };
    return;
  }
  const all = await ask<{ name: string; kind: string }>(
    client,
    `SELECT pg_class.oid::regclass::text AS name, relkind::text AS kind FROM pg_class LEFT JOIN pg_am ON pg_am.oid = relam
     WHERE relnamespace = current_schema()::regnamespace AND (relkind = 'r' OR relkind = 'i' AND amname = 'btree') ORDER BY 2 DESC, 1`,
  );
  for (const { name, kind } of all) {
    signal.throwIfAborted();
    const remedy =
      kind === 'i' ? `REINDEX INDEX CONCURRENTLY ${name}` : 'stop the servers, keep a copy, and entrepot restore the newest backup';
    for (const what of await damageOf(client, name, kind)) {
      yield { severity: 'error', where: `${kind === 'i' ? 'index' : 'table'} ${name}`, what: `is damaged: ${what}`, remedy };
    }
  }
}

async function damageOf(client: Client, name: string, kind: string): Promise<string[]> {
  try {
    if (kind === 'i') {
      await client.query('SELECT bt_index_check($1::regclass, true)', [name]);
      return [];
    }
    const { rows } = await client.query<{ msg: string }>('SELECT msg FROM verify_heapam($1::regclass) LIMIT 20', [name]);
    return rows.map(({ msg }) => msg);
  } catch (error) {
    return [(error as Error).message];
  }
}
