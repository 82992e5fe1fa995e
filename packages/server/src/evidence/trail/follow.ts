import { setTimeout as delay } from 'node:timers/promises';
import { AppError, auditHead, type Session } from '../../platform/index.ts';
import { type RecordFilter, type RecordRow, recordsUpFrom } from './records.ts';

const LOOK_MS = 500;
const PAGE = 200;
/** Ends a stream, so that who lost the right, or was signed out, is asked again by the request that follows. */
const LIVES_MS = 55_000;
/** How far it came is told at least so often: who comes back need not look through it again, and who went away is noticed. */
const TOLD_MS = 5000;
/** Streams of one process: each looks twice a second. */
const MOST = 50;

type Wanted = Pick<RecordFilter, 'actor' | 'action' | 'project' | 'repository' | 'outcome'>;

/** A record, or from time to time and at the end how far it came. */
export type Followed =
  | { readonly kind: 'record'; readonly seq: number; readonly record: RecordRow }
  | { readonly kind: 'position'; readonly seq: number };

export interface Follower {
  /** Records that are written from a number on (undefined: from now), as they come. Throws `too_many_requests` where too many follow. */
  follow(wanted: Wanted, after: number | undefined): Promise<AsyncGenerator<Followed>>;
}

interface Parts {
  readonly database: Session;
  /** Aborted when the process ends: who follows then follows elsewhere. */
  readonly stopping: AbortSignal;
  readonly livesMs?: number;
  readonly lookMs?: number;
}

/**
 * Follows the trail as it grows, whichever instance writes it: by numbers, of which none is missing and none appears before a
 * smaller one. Nothing is kept for who reads slowly: what comes next is read from the trail when it is asked for.
 */
export function createFollower({ database, stopping, livesMs = LIVES_MS, lookMs = LOOK_MS }: Parts): Follower {
  let following = 0;

  async function* records(wanted: Wanted, after: number): AsyncGenerator<Followed> {
    const end = performance.now() + livesMs;
    let last = after;
    let toldAt = performance.now();
    following++;
    try {
      while (!stopping.aborted) {
        const rows = await database.all(recordsUpFrom, { after: last, limit: PAGE });
        for (const record of rows) {
          last = record.seq;
          if (!isWanted(record, wanted)) continue;
          yield { kind: 'record', seq: last, record };
          toldAt = performance.now();
        }
        if (performance.now() >= end) break;
        if (performance.now() - toldAt >= TOLD_MS) {
          yield { kind: 'position', seq: last };
          toldAt = performance.now();
        }
        if (rows.length < PAGE) await delay(lookMs, undefined, { signal: stopping }).catch(() => undefined);
      }
      yield { kind: 'position', seq: last };
    } finally {
      following--;
    }
  }

  return {
    async follow(wanted, after) {
      if (following >= MOST) {
        throw new AppError('too_many_requests', `${MOST} already follow the audit trail here`, { headers: { 'Retry-After': '10' } });
      }
      const from = after ?? (await auditHead(database))?.seq ?? 0;
      return records(wanted, from);
    },
  };
}

function isWanted(record: RecordRow, wanted: Wanted): boolean {
  return (['actor', 'action', 'project', 'repository', 'outcome'] as const).every(
    (name) => wanted[name] === undefined || record[name] === wanted[name],
  );
}
