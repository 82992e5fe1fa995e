import { type AuditActor, audit, type Clock, type Database, type JobDefinition, queriesOf, type Session } from '../../platform/index.ts';
import { oldestUnsent } from '../forwarding/store.ts';
import { checkpointBefore, pageOfCheckpoints } from './checkpoints.ts';
import { isHeld } from './holds.ts';
import type { TrailTables } from './schema.ts';

const query = queriesOf<TrailTables>('evidence');
const firstRecord = query()('firstRecord', (db) => db.selectFrom('audit_record').select('seq').orderBy('seq').limit(1));
const dropUpTo = query<{ seq: number }>()('dropRecords', (db, p) => db.deleteFrom('audit_record').where('seq', '<=', p('seq')));

/** Number of the oldest record that is kept. */
export async function firstRecordOf(session: Session): Promise<number | undefined> {
  return (await session.first(firstRecord, {}))?.seq;
}

const DAY_MS = 24 * 3_600_000;
const SYSTEM: AuditActor = { kind: 'system', id: null, name: 'retention', credential: null };

interface Parts {
  readonly database: Database;
  readonly clock: Clock;
  readonly days: number;
  /** Nothing is given up while it holds, or a hold is in force. */
  readonly legalHold: boolean;
}

/**
 * Gives up records that are too old, whole segments between checkpoints at a time, so that what stays can be verified from a
 * signed place on. First a record tells of it, so that nobody can call a deletion retention; what a sink has not had yet stays.
 */
export function retentionJob({ database, clock, days, legalHold }: Parts): JobDefinition {
  return {
    kind: 'audit.retention',
    schedule: { cron: '41 3 * * *' },
    ready: async () => !legalHold && !(await isHeld(database)),
    async run(_, { signal, hold }) {
      const unsent = (await oldestUnsent(database)) ?? Number.MAX_SAFE_INTEGER;
      const end = await checkpointBefore(database, clock.now() - days * DAY_MS, unsent - 1);
      const from = await firstRecordOf(database);
      if (!end || from === undefined || from > end.seq) return { dropped: 0 };
      const begun = await database.write(async (tx) => {
        await hold(tx);
        if (await isHeld(tx)) return false;
        const entry = { actor: SYSTEM, origin: null, action: 'audit.retention', outcome: 'success' } as const;
        await audit(tx, { ...entry, resource: { type: 'audit' }, after: { from, to: end.seq, days } }, clock);
        return true;
      });
      if (!begun) return { dropped: 0 };
      for (let seq = from - 1; seq < end.seq; ) {
        signal.throwIfAborted();
        // To a checkpoint each time: whatever a crash leaves begins at a signed place.
        const upTo = (await pageOfCheckpoints(database, seq, 1))[0]?.seq ?? end.seq;
        const dropped = await database.write(
          async (tx) => {
            if (await isHeld(tx)) return false; // placed meanwhile: what is left stays
            await tx.run(dropUpTo, { seq: upTo });
            return true;
          },
          { durable: false },
        );
        if (!dropped) return { dropped: seq - from + 1, held: true };
        seq = upTo;
      }
      return { dropped: end.seq - from + 1 };
    },
  };
}
