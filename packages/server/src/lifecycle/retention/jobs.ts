import { ArchivedBlob, type BlobStore, ClosedBlob, readSmall } from '../../content/index.ts';
import type { Clock, Database, JobDefinition, Log } from '../../platform/index.ts';
import { nextRun } from '../../platform/index.ts';
import { createLabels, forgetLabels } from './labels.ts';
import type { Policy } from './policy.ts';
import { doRun, RUN, settleOrphan, startRun } from './run.ts';
import { forgetRun, isBusy, policiesDue, runsFinishedBefore, runsUnderWay, setNextRun } from './store.ts';
import { UNDO, undoRun } from './undo.ts';
import { forgetUses } from './uses.ts';

const EVERY_MS = 30_000;
const PAGE = 100;
const ROWS = 500;
const DAY_MS = 24 * 3_600_000;
/** For how long the results of runs, and what was told to run somewhere, are kept. */
const RESULTS_DAYS = 90;
const USES_DAYS = 400;

interface Parts {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Log;
  readonly blobs: Pick<BlobStore, 'open'>;
  readonly config: { readonly sparseIndexes: boolean; readonly sparseImages: boolean };
}

/** When a policy runs next by itself; null: never. */
export function nextOf({ enabled, schedule }: Pick<Policy, 'enabled' | 'schedule'>, now: number): number | null {
  return enabled && schedule !== '' ? nextRun({ cron: schedule }, now) : null;
}

/** Runs policies by their schedules and on demand, undoes runs, and forgets old ones. */
export function retentionJobs({ database, clock, log, blobs, config }: Parts): JobDefinition[] {
  const labelsOf = createLabels(database, clock, async (digest, most) => {
    // What lies in an archive is no reason to bring it back, and its tag stays as that of what is missing does; so does one of a
    // project that took its key away.
    return await readSmall(blobs, digest, most).catch((error: unknown) => {
      if (error instanceof ArchivedBlob || error instanceof ClosedBlob) return undefined;
      throw error;
    });
  });

  async function startDue(signal: AbortSignal): Promise<number> {
    let started = 0;
    for (const policy of await policiesDue(database, clock.now(), PAGE)) {
      signal.throwIfAborted();
      const now = clock.now();
      await database.write(async (tx) => {
        await setNextRun(tx, policy.id, nextOf(policy, now));
        // One that still runs does what this would.
        if (await isBusy(tx, policy.id)) return log.warn({ policy: policy.name }, 'a retention policy is due again while it still runs');
        await startRun(tx, policy, { dry: false, by: 'schedule', now });
        started++;
      });
    }
    return started;
  }

  async function forgetOld(signal: AbortSignal): Promise<void> {
    for (const id of await runsFinishedBefore(database, clock.now() - RESULTS_DAYS * DAY_MS, PAGE)) {
      for (let gone = ROWS; gone === ROWS; ) {
        signal.throwIfAborted();
        gone = await database.write((tx) => forgetRun(tx, id, ROWS), { durable: false });
      }
    }
    for (let gone = ROWS; gone === ROWS; ) {
      signal.throwIfAborted();
      gone = await forgetLabels(database, clock.now() - RESULTS_DAYS * DAY_MS, ROWS);
    }
    await database.write((tx) => forgetUses(tx, clock.now() - USES_DAYS * DAY_MS), { durable: false });
  }

  return [
    {
      kind: RUN,
      concurrency: 2,
      run: async (payload, context) => await doRun({ database, clock, labelsOf }, (payload as { runId: number }).runId, context),
    },
    {
      kind: UNDO,
      run: async (payload, context) => {
        const sparse = { children: config.sparseIndexes, blobs: config.sparseImages };
        return await undoRun({ database, clock, sparse }, payload as { runId: number; by: string }, context);
      },
    },
    {
      kind: 'retention.schedule',
      schedule: { everyMs: EVERY_MS },
      async run(_, { signal }) {
        for (const run of await runsUnderWay(database)) await settleOrphan(database, run, clock.now());
        return { started: await startDue(signal) };
      },
    },
    {
      kind: 'retention.prune',
      schedule: { cron: '23 4 * * *' },
      run: async (_, { signal }) => await forgetOld(signal),
    },
  ];
}
