import type { Clock, Database, JobDefinition } from '../../platform/index.ts';
import { nthNewest, pruneBeyond, pruneOlder, webhooksWithLog } from './deliveries.ts';

const DAY_MS = 24 * 3_600_000;
/** Deliveries that the log of one webhook holds. */
export const LOG_MOST = 1000;
const BATCH = 500;

export interface PruneParts {
  readonly database: Database;
  readonly clock: Clock;
  /** How long a delivery stays in the log. */
  readonly logDays: number;
}

/** The job that shortens the delivery logs; what still waits stays. */
export function pruneJob({ database, clock, logDays }: PruneParts): JobDefinition {
  return {
    kind: 'webhooks.prune',
    schedule: { cron: '47 * * * *' },
    async run(_, { signal }) {
      const repeat = async (removeSome: () => Promise<number>) => {
        for (let removed = BATCH; removed === BATCH; removed = await removeSome()) signal.throwIfAborted();
      };
      const before = clock.now() - logDays * DAY_MS;
      await repeat(() => database.write(async (tx) => await tx.run(pruneOlder, { before, limit: BATCH }), { durable: false, scope: [] }));
      for (let last = 0; ; ) {
        const webhooks = await database.all(webhooksWithLog, { last, limit: BATCH });
        for (const { id: webhookId } of webhooks) {
          last = webhookId;
          const oldest = await database.first(nthNewest, { webhookId, kept: LOG_MOST });
          if (!oldest) continue;
          const beyond = { webhookId, last: oldest.id, limit: BATCH };
          await repeat(() => database.write(async (tx) => await tx.run(pruneBeyond, beyond), { durable: false, scope: [] }));
        }
        if (webhooks.length < BATCH) return;
      }
    },
  };
}
