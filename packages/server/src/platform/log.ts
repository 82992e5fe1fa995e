import { type Logger, pino } from 'pino';

export type Log = Logger;

/** Paths whose values never reach the log (invariant 11). */
const SECRETS = ['password', 'token', 'secret', 'authorization', '*.password', '*.token', '*.secret', '*.authorization', 'req.headers'];

/** Structured log on standard output, one JSON object a line. */
export function createLog(level: string): Log {
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime, redact: { paths: SECRETS, censor: '[redacted]' } });
}
