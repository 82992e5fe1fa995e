import { AppError } from '../errors.ts';

/** Of an error what to do about it; nothing of the transaction is stored. */
export type Trouble =
  /** The connection is of no use any more: the work can be done again on another. */
  | 'connection'
  /** The database asks for the work to be done again. */
  | 'again'
  /** It did not come to its turn in time. */
  | 'late'
  /** The statement itself is wrong, or what it was given, or what the work made of it. */
  | 'statement';

/** The connection broke, was given up, or could not be made. */
export class ConnectionLost extends Error {
  override name = 'ConnectionLost';
}

/** Codes of PostgreSQL (postgresql.org/docs/current/errcodes-appendix.html); those of class 08 are `connection` too. */
const TROUBLE: Readonly<Record<string, Trouble>> = {
  '25006': 'connection', // read only: a former primary
  '25P03': 'connection', // idle in a transaction for too long
  '26000': 'connection', // prepared statement unknown
  '53300': 'connection', // too many connections
  '57P01': 'connection', // terminated by an administrator
  '57P02': 'connection', // another backend crashed
  '57P03': 'connection', // starting or stopping
  '57P05': 'connection', // idle for too long
  '40001': 'again',
  '40P01': 'again', // deadlock
  '55P03': 'late', // lock_timeout
  '57014': 'late', // statement_timeout
};
const NOT_SUPPORTED = '0A000';
const DISK_FULL = '53100';
const NOT_IN_TEXT = new Set(['22021', '22P05']);

/** Code of an error that PostgreSQL itself told of. */
export function postgresCode(error: unknown): string | undefined {
  const { code, severity } = (error ?? {}) as { readonly code?: unknown; readonly severity?: unknown };
  return severity !== undefined && typeof code === 'string' ? code : undefined;
}

export function troubleOf(error: unknown): Trouble {
  if (error instanceof ConnectionLost) return 'connection';
  const code = postgresCode(error);
  if (code === undefined) return 'statement';
  // Tables changed under a prepared statement, as by the migration of a newer instance: another connection prepares it anew.
  if (code === NOT_SUPPORTED && (error as Error).message.includes('cached plan')) return 'connection';
  return TROUBLE[code] ?? (code.startsWith('08') ? 'connection' : 'statement');
}

const RETRY = { 'Retry-After': '1' };

/** What callers see of an error of the database. */
export function shownAs(error: unknown): unknown {
  const told = (code: 'unavailable' | 'storage_full' | 'bad_request', message: string) =>
    new AppError(code, message, { cause: error, headers: code === 'bad_request' ? {} : RETRY });
  const trouble = troubleOf(error);
  if (trouble === 'late') return told('unavailable', 'the database is busy; nothing was stored');
  if (trouble !== 'statement') return told('unavailable', 'the database cannot be reached at the moment; nothing was stored');
  const code = postgresCode(error) ?? '';
  if (code === DISK_FULL) return told('storage_full', 'the database has no space left; nothing was stored');
  if (NOT_IN_TEXT.has(code)) return told('bad_request', 'a text holds a character that cannot be stored');
  return error;
}

/** The connection broke while it committed, and nobody can say what became of it: never a success, and safe to repeat. */
export function unknownOutcome(cause: unknown): AppError {
  return new AppError('unavailable', 'the connection to the database broke at the end; try again', { cause, headers: RETRY });
}
