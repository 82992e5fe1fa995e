import { inspect } from 'node:util';
import type { Clock } from '../clock.ts';
import type { Database, Session } from '../database/index.ts';
import type { Log } from '../log.ts';
import type { JobDefinition } from './jobs.ts';
import { nextRun, pauseAfter } from './schedule.ts';
import {
  cancelledOf,
  claimJob,
  dueJob,
  extendLease,
  type Held,
  hastenRecurring,
  insertRecurring,
  rescheduleJob,
  saveProgress,
  settleJob,
} from './store.ts';

export type JobOutcome = 'done' | 'retry' | 'dead' | 'cancelled' | 'released' | 'lost';

interface Parts {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Log;
  readonly definitions: readonly JobDefinition[];
  /** Names this process in the jobs it holds. */
  readonly holder: string;
  /** Jobs of all kinds that may run at once in this process. */
  readonly concurrency?: number;
  readonly pollMs?: number;
  /** 0 to 1, for the spread of retries. */
  readonly random?: () => number;
  readonly onOutcome?: (kind: string, outcome: JobOutcome, seconds: number) => void;
}

export interface JobRunner {
  /** Begins to look for due jobs. Several processes may do so on one database. */
  start(): Promise<void>;
  /** Looks at once instead of at the next poll. */
  kick(): void;
  /** Runs all that is due now and gives how many ran. */
  runDue(): Promise<number>;
  /** Claims no more, aborts what runs and waits for it, at most so long; aborted jobs are free for others at once. */
  stop(limitMs?: number): Promise<void>;
}

/** One run under way. */
interface Run {
  readonly kind: string;
  readonly held: Held;
  readonly cancel: () => void;
}

type Claimed = Held & {
  readonly payload: string;
  readonly attempts: number;
  readonly cancelled: number;
  readonly lastError: string | null;
};

const DEFAULT_LEASE_MS = 60_000;
const DEFAULT_ATTEMPTS = 10;
const PROGRESS_MS = 1000;
const ERROR_LENGTH = 500;
/** Each statement on jobs is right by itself, whoever else is at the same rows (the fence, the state, the due time). */
const SOFT = { durable: false, scope: [] } as const;
/** A claim that the database lost would let another run have the same fence. */
const CLAIM = { ...SOFT, durable: 'process' } as const;

class LeaseLost extends Error {
  override name = 'LeaseLost';
  override message = 'the lease of this job has passed to another run';
}

class Cancelled extends Error {
  override name = 'Cancelled';
  override message = 'the job was cancelled';
}

/** Runs jobs of the table: each claimed under a lease, at least once, again after a failure with growing pauses. */
export function createJobRunner(parts: Parts): JobRunner {
  const { database, clock, log, definitions, holder, concurrency = 4, pollMs = 1000, random = Math.random, onOutcome } = parts;
  const stopping = new AbortController();
  const running = new Map<Promise<void>, Run>();
  let wake = () => {};
  let loop: Promise<void> | undefined;

  async function prepare(): Promise<void> {
    const now = clock.now();
    const recurring = definitions.flatMap(({ kind, schedule }) => (schedule ? [{ kind, schedule, next: nextRun(schedule, now) }] : []));
    if (recurring.length === 0) return;
    await database.write(async (tx) => {
      for (const { kind, schedule, next } of recurring) {
        await tx.run(insertRecurring, { kind, runAt: 'cron' in schedule ? next : now, now });
        await tx.run(hastenRecurring, { kind, latest: next });
      }
    }, SOFT);
  }

  /** Claims while there is room, and gives how many jobs it set going. */
  async function fill(): Promise<number> {
    let started = 0;
    for (const definition of definitions) {
      const { kind, concurrency: most = 1, leaseMs = DEFAULT_LEASE_MS } = definition;
      const ofKind = () => [...running.values()].filter((run) => run.kind === kind).length;
      while (!stopping.signal.aborted && running.size < concurrency && ofKind() < most) {
        const due = await database.all(dueJob, { kind, now: clock.now() });
        if (due.length === 0 || (await definition.ready?.()) === false) break;
        const now = clock.now();
        const claimed = await database.write(async (tx) => await tx.first(claimJob, { kind, holder, now, until: now + leaseMs }), CLAIM);
        if (!claimed) break;
        launch(definition, claimed, now + leaseMs);
        started++;
      }
    }
    return started;
  }

  function launch(definition: JobDefinition, job: Claimed, until: number): void {
    const { kind } = definition;
    const { id, fence, cancelled } = job;
    const ended = new AbortController();
    const task: Promise<void> = execute(definition, job, until, ended)
      .catch((error: unknown) => log.error({ err: error, kind, job: id }, 'a job could not be settled; its lease will lapse'))
      .finally(() => {
        running.delete(task);
        wake();
      });
    const cancel = () => ended.abort(new Cancelled());
    if (cancelled === 1) cancel();
    running.set(task, { kind, held: { id, fence }, cancel });
  }

  async function execute(definition: JobDefinition, job: Claimed, claimedUntil: number, ended: AbortController): Promise<void> {
    const { kind, maxAttempts = DEFAULT_ATTEMPTS, leaseMs = DEFAULT_LEASE_MS } = definition;
    const { id, fence, attempts } = job;
    let until = claimedUntil;
    const extend = async (tx: Session): Promise<number> => {
      const next = clock.now() + leaseMs;
      if ((await tx.run(extendLease, { id, fence, until: next })) === 0) throw new LeaseLost();
      return next;
    };
    const heartbeat = setInterval(() => {
      database.write(extend, SOFT).then(
        (next) => {
          until = next;
        },
        (error: unknown) => {
          if (error instanceof LeaseLost || clock.now() >= until) ended.abort(error);
        },
      );
    }, leaseMs / 3).unref();
    let shown = Number.NEGATIVE_INFINITY;
    const progress = async (value: unknown) => {
      if (performance.now() - shown < PROGRESS_MS) return;
      shown = performance.now();
      await database.write((tx) => Promise.resolve(tx.run(saveProgress, { id, fence, progress: JSON.stringify(value) })), SOFT);
    };
    const hold = async (tx: Session) => void (await extend(tx));
    const started = performance.now();
    const signal = AbortSignal.any([stopping.signal, ended.signal]);
    let failure: unknown;
    let result: unknown;
    try {
      // Each claim counts, so a job that takes the whole process down with it is set aside too.
      if (attempts > maxAttempts) throw new Error(job.lastError ?? 'its runs ended without a word');
      signal.throwIfAborted();
      result = await definition.run(JSON.parse(job.payload), { signal, attempt: attempts, hold, progress });
    } catch (error) {
      failure = error ?? new Error('failed without a reason');
    } finally {
      clearInterval(heartbeat);
    }
    const cancelled = ended.signal.reason instanceof Cancelled;
    const outcome = await settle(definition, job, { failure, result, cancelled });
    onOutcome?.(kind, outcome, (performance.now() - started) / 1000);
    if (failure === undefined || outcome === 'released' || outcome === 'cancelled') return;
    log[outcome === 'dead' ? 'error' : 'warn']({ err: failure, kind, job: id, attempt: attempts, outcome }, 'a job failed');
  }

  /** Writes down how a run ended; a run that lost its lease changes nothing. */
  async function settle(
    { schedule, maxAttempts = DEFAULT_ATTEMPTS }: JobDefinition,
    { id, fence, attempts }: Claimed,
    { failure, result, cancelled }: { failure: unknown; result: unknown; cancelled: boolean },
  ): Promise<JobOutcome> {
    const failed = failure !== undefined;
    const error = failed ? textOf(failure).slice(0, ERROR_LENGTH) : null;
    const kept = failed || result === undefined ? null : JSON.stringify(result);
    const now = clock.now();
    return await database.write(async (tx): Promise<JobOutcome> => {
      const again = async (dueAt: number, tries: number, outcome: JobOutcome) =>
        (await tx.run(rescheduleJob, { id, fence, dueAt, attempts: tries, result: kept, error })) === 1 ? outcome : 'lost';
      if (failed && !cancelled && stopping.signal.aborted) return await again(now, attempts - 1, 'released');
      if (failed && !cancelled && attempts < maxAttempts) return await again(now + pauseAfter(attempts, random()), attempts, 'retry');
      const outcome = !failed ? 'done' : cancelled ? 'cancelled' : 'dead';
      if (schedule) return await again(nextRun(schedule, now), 0, outcome);
      if ((await tx.run(settleJob, { id, fence, state: outcome, result: kept, error, now })) === 1) return outcome;
      return await again(now, 0, outcome); // asked for again meanwhile, unless the lease was lost
    }, SOFT);
  }

  async function heedCancellations(): Promise<void> {
    if (running.size === 0) return;
    for (const { id, fence } of await database.all(cancelledOf, { holder })) {
      for (const { held, cancel } of running.values()) if (held.id === id && held.fence === fence) cancel();
    }
  }

  async function poll(): Promise<void> {
    while (!stopping.signal.aborted) {
      // Made before looking, so that a kick meanwhile is not lost.
      const pause = new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, pollMs);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      try {
        await heedCancellations();
        await fill();
      } catch (error) {
        log.error({ err: error }, 'looking for jobs failed');
      }
      await pause;
    }
  }

  return {
    async start() {
      await prepare();
      loop ??= poll();
    },
    kick: () => wake(),
    async runDue() {
      await prepare();
      let ran = 0;
      for (let started = await fill(); started > 0; started = await fill()) {
        ran += started;
        if (running.size > 0) await Promise.race(running.keys()); // what was quick has ended already
      }
      await Promise.all(running.keys());
      return ran;
    },
    async stop(limitMs = 10_000) {
      stopping.abort(new Error('the process stops'));
      wake();
      const limit = new Promise<void>((resolve) => setTimeout(resolve, limitMs).unref());
      await Promise.race([Promise.resolve(loop).then(() => Promise.all(running.keys())), limit]);
    },
  };
}

/** Anything can be thrown, also what cannot be turned into JSON. */
function textOf(failure: unknown): string {
  return failure instanceof Error || typeof failure === 'string' ? String(failure) : inspect(failure);
}
