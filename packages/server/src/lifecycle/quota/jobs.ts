import {
  alertQuota,
  checkUsage,
  endQuotaAlerts,
  hasQuotaAlerts,
  pageOfLimited,
  pruneReservations,
  QUOTA_NAMES,
  usageOf,
  WARNING_RATIO,
} from '../../catalog/index.ts';
import type { Clock, Database, JobDefinition, Log } from '../../platform/index.ts';

const WATCH_MS = 60_000;
const PAGE = 500;

interface Parts {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Log;
}

/** Name of the job that counts anew. */
export const USAGE_CHECK = 'quota.check';

/** Keeps quotas true: tells where limits are near, forgets what lapsed, and counts anew once a day. */
export function quotaJobs({ database, clock, log }: Parts): JobDefinition[] {
  /** Of each limit that is near it is told once, until usage is well below again. */
  async function warn(signal: AbortSignal): Promise<number> {
    let told = 0;
    for (let last = 0; ; ) {
      const page = await pageOfLimited(database, last, PAGE);
      for (const { projectId, ...limits } of page) {
        signal.throwIfAborted();
        last = projectId;
        const usage = await usageOf(database, projectId);
        for (const quota of QUOTA_NAMES) {
          const limit = limits[quota];
          const isNear = limit !== null && usage[quota] >= limit * WARNING_RATIO;
          if (!isNear && !(await hasQuotaAlerts(database, projectId, quota))) continue;
          const alert = { projectId, quota, level: 'warning', used: usage[quota], limit: limit ?? 0, by: 'system' } as const;
          const scope = [`quota:${projectId}`];
          if (!isNear) await database.write((tx) => endQuotaAlerts(tx, projectId, quota), { scope });
          else if (await database.write((tx) => alertQuota(tx, alert, clock.now()), { scope })) told++;
        }
      }
      if (page.length < PAGE) return told;
    }
  }

  return [
    {
      kind: 'quota.watch',
      schedule: { everyMs: WATCH_MS },
      async run(_, { signal }) {
        for (let pruned = PAGE; pruned === PAGE; ) {
          signal.throwIfAborted();
          pruned = await database.write((tx) => pruneReservations(tx, clock.now(), PAGE), { durable: false, scope: ['quota:prune'] });
        }
        return { told: await warn(signal) };
      },
    },
    {
      kind: USAGE_CHECK,
      schedule: { cron: '41 3 * * *' },
      async run(_, { signal, progress }) {
        const check = await checkUsage(database, { repair: true, signal, progress });
        for (const drift of check.drifts) log.error({ drift }, 'a project was counted otherwise than it is; mended');
        return { ...check, drifts: check.drifts.slice(0, 20) };
      },
    },
  ];
}
