import { BEFORE_ALL, type Database, type MaybePromise, type Order, type Session } from '../database/index.ts';
import {
  cancelRunning,
  cancelWaiting,
  countJobs,
  freeAll,
  freeOf,
  insertJob,
  type JobState,
  jobById,
  jobByKey,
  jobLists,
  pruneState,
  RECURRING,
} from './store.ts';

export interface NewJob {
  readonly kind: string;
  /** Anything that JSON can carry. */
  readonly payload?: unknown;
  /**
   * Asks for the same work only once: where a job of this kind and key waits it takes the new payload, where one runs
   * it runs once more afterwards, so that no request is lost.
   */
  readonly key?: string;
  /** Default: at once. */
  readonly runAt?: number;
  readonly now: number;
}

/** Adds a job in the transaction of the change that wants it, so that it exists if and only if the change does; gives its id. */
export async function enqueue(tx: Session, { kind, payload = null, key, now, runAt = now }: NewJob): Promise<number> {
  if (key === RECURRING) throw new TypeError(`${RECURRING} is no key for a job`);
  const row = await tx.first(insertJob, { kind, key: key ?? null, payload: JSON.stringify(payload), runAt, now });
  if (!row) throw new Error('an inserted job has no id');
  return row.id;
}

/** What a running job knows of itself. */
export interface JobContext {
  /** Aborted when the job is cancelled, the process stops or the lease is lost; the reason says which. */
  readonly signal: AbortSignal;
  /** 1 at the first try. */
  readonly attempt: number;
  /** Throws, and so undoes the transaction, unless this run still holds the job: for work that must be single (invariant 10). */
  hold(tx: Session): Promise<void>;
  /** Shows how far it came; of calls in quick succession only some are written. */
  progress(value: unknown): Promise<void>;
}

/** When a job recurs: so long after its last run ended, or at the times of a cron expression, in UTC. */
export type Schedule = { readonly everyMs: number } | { readonly cron: string };

/** What to do with one kind of job. `run` may happen more than once for the same job and must bear it. */
export interface JobDefinition {
  readonly kind: string;
  /** What it gives is kept with the job, as JSON. */
  run(payload: unknown, context: JobContext): Promise<unknown>;
  /** Tries before the job is set aside as dead (a recurring one waits for its next turn instead). Default 10. */
  readonly maxAttempts?: number;
  /** How many of this kind may run in one process. Default 1. */
  readonly concurrency?: number;
  /** How long a run holds the job without sign of life. Default one minute. */
  readonly leaseMs?: number;
  /** Recurs by itself, one run at a time over all processes. */
  readonly schedule?: Schedule;
  /** Asked before a due job is claimed; must be cheap and read only. */
  ready?(): MaybePromise<boolean>;
}

/** A job as others see it. */
export interface JobView {
  readonly id: number;
  readonly kind: string;
  readonly state: JobState;
  readonly attempts: number;
  readonly progress: unknown;
  readonly result: unknown;
  readonly error: string | null;
  readonly createdAt: number;
  readonly startedAt: number | null;
  readonly finishedAt: number | null;
}

export async function findJob(session: Session, id: number): Promise<JobView | undefined> {
  const row = await session.first(jobById, { id });
  return row && toView(row);
}

/** The job of a kind and key that waits or runs. */
export async function findJobByKey(session: Session, kind: string, key: string): Promise<JobView | undefined> {
  const row = await session.first(jobByKey, { kind, key });
  return row && toView(row);
}

/** Jobs by age, after one of them. */
export async function pageOfJobs(
  session: Session,
  page: { order: Order; last?: number | undefined; kind?: string | undefined; state?: string | undefined; limit: number },
): Promise<JobView[]> {
  const { order, last = BEFORE_ALL[order].number, kind = '', state = '', limit } = page;
  return (await session.all(jobLists[order], { last, kind, state, limit })).map(toView);
}

/** The newest job of a kind and state. */
export async function latestJob(session: Session, kind: string, state: JobState): Promise<JobView | undefined> {
  return (await pageOfJobs(session, { order: 'desc', kind, state, limit: 1 }))[0];
}

function toView(row: Omit<JobView, 'progress' | 'result'> & { progress: string | null; result: string | null }): JobView {
  return { ...row, progress: parsed(row.progress), result: parsed(row.result) };
}

function parsed(text: string | null): unknown {
  return text === null ? null : JSON.parse(text);
}

/**
 * Cancels a job: one that waits at once, one that runs by its signal. False where it has ended or recurs and waits,
 * as what recurs is ended by its definition only.
 */
export async function cancelJob(tx: Session, id: number, now: number): Promise<boolean> {
  return (await tx.run(cancelWaiting, { id, now })) === 1 || (await tx.run(cancelRunning, { id })) === 1;
}

/** Frees what a process that is no more left running; without a holder what any process did. */
export async function freeJobs(tx: Session, holder: string | undefined, now: number): Promise<void> {
  if (holder === undefined) await tx.run(freeAll, { now });
  else await tx.run(freeOf, { holder, now });
}

/** Jobs by state, dead ones among them, for the metrics. */
export async function jobCounts(session: Session): Promise<{ state: string; jobs: number }[]> {
  return await session.all(countJobs, {});
}

const DAY_MS = 24 * 3_600_000;
const KEPT_MS = { done: DAY_MS, cancelled: DAY_MS, dead: 30 * DAY_MS } as const;
const PRUNE_BATCH = 500;

/** Forgets jobs done for a day and dead for 30 days, some at a time so that the write lock is never held for long. */
export async function pruneJobs(database: Database, now: number, signal: AbortSignal): Promise<void> {
  for (const state of ['done', 'cancelled', 'dead'] as const) {
    let removed = PRUNE_BATCH;
    while (removed === PRUNE_BATCH && !signal.aborted) {
      const before = now - KEPT_MS[state];
      removed = await database.write(async (tx) => await tx.run(pruneState, { state, before, limit: PRUNE_BATCH }), {
        durable: false,
        scope: [],
      });
    }
  }
}
