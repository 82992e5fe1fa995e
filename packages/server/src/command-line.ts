import { userInfo } from 'node:os';
import type { AuditActor } from './platform/index.ts';

/** Who owns the data directory needs no login; the record says which account of the system it was. */
export function commandLine(): AuditActor {
  return { kind: 'command-line', id: null, name: userInfo().username, credential: null };
}
