import { type Order, queriesOf, type Session } from '../../platform/index.ts';
import type { HeatTables } from './schema.ts';

const query = queriesOf<HeatTables>('tiers');

/** What a run moved, and what it left where it was, by reason. */
export interface TierRun {
  readonly id: number;
  /** `schedule`, or who asked for it. */
  readonly startedBy: string;
  readonly startedAt: number;
  /** null: it runs, or its process ended. */
  readonly finishedAt: number | null;
  readonly demoted: number;
  readonly demotedBytes: number;
  readonly promoted: number;
  readonly promotedBytes: number;
  readonly failed: number;
  readonly reasons: RunReasons;
  readonly hotBefore: number;
  readonly hotAfter: number;
  readonly error: string | null;
}

export interface RunReasons {
  readonly moved: Readonly<Record<string, number>>;
  readonly kept: Readonly<Record<string, number>>;
}

const insertRun = query<{ by: string; at: number; hotBytes: number }>()('insertTierRun', (db, p) =>
  db
    .insertInto('tier_run')
    .values({
      ...{ started_by: p('by'), started_at: p('at'), finished_at: null, hot_before: p('hotBytes'), hot_after: p('hotBytes') },
      ...{ demoted: 0, demoted_bytes: 0, promoted: 0, promoted_bytes: 0, failed: 0, reasons: '{"moved":{},"kept":{}}', error: null },
    })
    .returning('id'),
);
const updateRun = query<Omit<TierRun, 'startedBy' | 'startedAt' | 'hotBefore' | 'reasons'> & { reasons: string }>()(
  'updateTierRun',
  (db, p) =>
    db
      .updateTable('tier_run')
      .set({
        ...{ finished_at: p('finishedAt'), demoted: p('demoted'), demoted_bytes: p('demotedBytes'), promoted: p('promoted') },
        ...{ promoted_bytes: p('promotedBytes'), failed: p('failed'), reasons: p('reasons'), hot_after: p('hotAfter'), error: p('error') },
      })
      .where('id', '=', p('id')),
);
const BEYOND = { asc: '>', desc: '<' } as const;
const runs = (name: string, order: Order) =>
  query<{ last: number; limit: number }>()(name, (db, p) =>
    db
      .selectFrom('tier_run')
      .select(['id', 'started_by as startedBy', 'started_at as startedAt', 'finished_at as finishedAt', 'demoted', 'promoted', 'failed'])
      .select(['demoted_bytes as demotedBytes', 'promoted_bytes as promotedBytes', 'reasons', 'error'])
      .select(['hot_before as hotBefore', 'hot_after as hotAfter'])
      .where('id', BEYOND[order], p('last'))
      .orderBy('id', order)
      .limit(p('limit')),
  );
const RUNS = { asc: runs('tierRuns', 'asc'), desc: runs('tierRunsDown', 'desc') };

export async function beginRun(tx: Session, run: { by: string; at: number; hotBytes: number }): Promise<number> {
  const row = await tx.first(insertRun, run);
  if (!row) throw new Error('a run has no number');
  return row.id;
}

export async function saveRun(tx: Session, { reasons, ...run }: Omit<TierRun, 'startedBy' | 'startedAt' | 'hotBefore'>): Promise<void> {
  await tx.run(updateRun, { ...run, reasons: JSON.stringify(reasons) });
}

export async function pageOfRuns(session: Session, order: Order, last: number, limit: number): Promise<TierRun[]> {
  return (await session.all(RUNS[order], { last, limit })).map((row) => ({ ...row, reasons: JSON.parse(row.reasons) as RunReasons }));
}
