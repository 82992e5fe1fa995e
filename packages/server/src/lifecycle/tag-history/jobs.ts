import { changesToSweep, endSweepAt, forgetOld, type HistorySweep, keepNewest, type SweptChange } from '../../catalog/index.ts';
import type { JobDefinition, Session } from '../../platform/index.ts';
import type { LifecycleParts } from '../parts.ts';

const DAY_MS = 24 * 3_600_000;
/** Changes looked at, and those forgotten of one tag, in one transaction. */
const BATCH = 200;

/** Keeps the history of tags short: its cost follows what changed, not what is there. */
export function tagHistoryJobs({ database, clock, config }: Pick<LifecycleParts, 'database' | 'clock' | 'config'>): JobDefinition[] {
  async function sweep(
    kind: HistorySweep,
    until: number,
    signal: AbortSignal,
    cut: (tx: Session, change: SweptChange) => Promise<number>,
  ): Promise<number> {
    let forgotten = 0;
    for (let found = BATCH; found === BATCH; ) {
      const changes = await changesToSweep(database, kind, until, BATCH);
      found = changes.length;
      for (let isMore = changes.length > 0; isMore; ) {
        signal.throwIfAborted();
        const removed = await database.write(
          async (tx) => {
            const counts: number[] = [];
            for (const change of changes) counts.push(await cut(tx, change));
            return counts;
          },
          { durable: false },
        );
        forgotten += removed.reduce((sum, count) => sum + count, 0);
        isMore = removed.includes(BATCH);
      }
      const last = changes.at(-1);
      if (last) await database.write((tx) => endSweepAt(tx, kind, last.id), { durable: false });
    }
    return forgotten;
  }

  return [
    {
      kind: 'tag-history.prune',
      schedule: { cron: '41 * * * *' },
      async run(_, { signal }) {
        const now = clock.now();
        const beyond = await sweep('new', now, signal, (tx, change) => keepNewest(tx, change, config.tagHistoryChanges, BATCH));
        const old = await sweep('old', now - config.tagHistoryDays * DAY_MS, signal, (tx, change) => forgetOld(tx, change, BATCH));
        return { forgotten: beyond + old };
      },
    },
  ];
}
