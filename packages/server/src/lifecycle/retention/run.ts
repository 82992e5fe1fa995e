import { findProjectById, type PlacedRepository, pageOfManifestUse, pageOfPlacedRepositories } from '../../catalog/index.ts';
import { append, type Clock, cancelJob, type Database, enqueue, findJob, type JobContext, type Session } from '../../platform/index.ts';
import { appliesTo, judgeTags, policiesFor } from './judge.ts';
import type { LabelsOf } from './labels.ts';
import type { Policy } from './policy.ts';
import { type Doomed, remove, resultOf } from './remove.ts';
import { type AskedPolicy, coversRepository } from './rules.ts';
import {
  addResults,
  addRun,
  advanceRun,
  findPolicy,
  findRun,
  forgetResultsOf,
  pageOfResults,
  type Run,
  setRunJob,
  setRunState,
} from './store.ts';
import { findUse } from './uses.ts';

export const RUN = 'retention.run';

const REPOSITORIES = 100;
const MANIFESTS = 500;
/** Tags that are deleted in one transaction. */
const BATCH = 25;
/** What a run deleted stands in the event of its end up to so many. */
const ARTIFACTS_TOLD = 100;
const DAY_MS = 24 * 3_600_000;

interface Parts {
  readonly database: Database;
  readonly clock: Clock;
  readonly labelsOf: LabelsOf;
}

/** Begins a run of a policy, and gives it. */
export async function startRun(
  tx: Session,
  policy: Policy,
  { dry, by, now }: { readonly dry: boolean; readonly by: string; readonly now: number },
): Promise<Run> {
  const id = await addRun(tx, policy, { dry, at: now, by });
  await setRunJob(tx, id, await enqueue(tx, { kind: RUN, payload: { runId: id }, now }));
  const run = await findRun(tx, id);
  if (!run) throw new Error('a run vanished in its own transaction');
  return run;
}

/** Ends a run that waits at once, one that is under way as soon as it heeds that; false where it has ended. */
export async function cancelRun(tx: Session, { id, state, jobId }: Run, now: number): Promise<boolean> {
  if (state !== 'waiting' && state !== 'running') return false;
  if (jobId !== null) await cancelJob(tx, jobId, now);
  if (state === 'waiting') await endRun(tx, id, 'cancelled', null, now);
  return true;
}

/** Ends what a job that is no more left open. */
export async function settleOrphan(database: Database, { id, jobId }: Run, now: number): Promise<void> {
  const job = jobId === null ? undefined : await findJob(database, jobId);
  if (job?.state === 'waiting' || job?.state === 'running') return;
  const state = job?.state === 'cancelled' ? 'cancelled' : 'failed';
  await database.write((tx) => endRun(tx, id, state, job?.error ?? null, now));
}

/** Ends a run, and tells of one that deletes what it came to; one of the system is told under no project's name. */
async function endRun(tx: Session, id: number, state: 'done' | 'cancelled' | 'failed', error: string | null, now: number): Promise<void> {
  const run = await findRun(tx, id);
  if (run?.state !== 'waiting' && run?.state !== 'running') return;
  await setRunState(tx, id, state, error, now);
  if (run.dry === 1) return;
  const project = run.projectId === null ? '' : (await findProjectById(tx, run.projectId))?.name;
  if (project === undefined) return;
  const { policyId, lookedAt, kept, deleted, failed, startedBy: by } = run;
  const policy = (await findPolicy(tx, policyId))?.name ?? '';
  const artifacts = await pageOfResults(tx, { runId: id, outcome: 'deleted', last: 0, limit: ARTIFACTS_TOLD });
  const retention = {
    ...{ policyId, policy, run: id, state, lookedAt, kept, deleted, failed },
    artifacts: artifacts.map(({ repository, tag, digest }) => ({ repository, tag, digest })),
  };
  await append(tx, { topic: 'retention.finished', repository: project, payload: { by, retention } }, now);
}

/** Does a run, from where an earlier try of it ended. */
export async function doRun({ database, clock, labelsOf }: Parts, runId: number, context: JobContext): Promise<unknown> {
  const { signal, hold, progress } = context;
  const run = await findRun(database, runId);
  if (!run || (run.state !== 'waiting' && run.state !== 'running')) return { skipped: true };
  const policy = await findPolicy(database, run.policyId);
  if (!policy) {
    await database.write((tx) => endRun(tx, runId, 'failed', 'the policy was deleted', clock.now()));
    return { failed: true };
  }
  await database.write(async (tx) => {
    await hold(tx);
    await setRunState(tx, runId, 'running', null, null);
  });
  try {
    for (let last = run.position; ; ) {
      const page = await pageOfPlacedRepositories(database, run.projectId, last, REPOSITORIES);
      for (const repository of page) {
        signal.throwIfAborted();
        await overRepository({ database, clock, labelsOf }, { run, policy, repository, before: last }, context);
        last = repository.id;
        await progress({ repository: repository.name });
      }
      if (page.length < REPOSITORIES) break;
    }
  } catch (error) {
    // Cancelled by somebody; a process that stops leaves the run to another.
    if (!signal.aborted || (signal.reason as Error).name !== 'Cancelled') throw error;
    await database.write((tx) => endRun(tx, runId, 'cancelled', null, clock.now()));
    throw error;
  }
  await database.write(async (tx) => {
    await hold(tx);
    await endRun(tx, runId, 'done', null, clock.now());
  });
  const { lookedAt, kept, deleted, failed } = (await findRun(database, runId)) ?? run;
  return { lookedAt, kept, deleted, failed };
}

interface Place {
  readonly run: Run;
  readonly policy: Policy;
  readonly repository: PlacedRepository;
  /** The repository that was done before. */
  readonly before: number;
}

async function overRepository(
  { database, clock, labelsOf }: Parts,
  { run, policy, repository, before }: Place,
  context: JobContext,
): Promise<void> {
  const { signal, hold } = context;
  const project = { id: repository.projectId, name: repository.project };
  if (!appliesTo(policy, project)) return;
  const asked: readonly AskedPolicy[] = await policiesFor(database, policy, project);
  const isDry = run.dry === 1;
  const parts = { database, clock, runId: run.id, position: before, hold };
  const soft = { durable: false, scope: [`retention:${run.id}`] };
  let lookedAt = 0;
  let kept = 0;
  let doomedCount = 0;

  async function dispose(doomed: readonly Doomed[]): Promise<void> {
    doomedCount += doomed.length;
    if (isDry) return;
    for (let from = 0; from < doomed.length; from += BATCH) {
      signal.throwIfAborted();
      await remove(parts, repository, doomed.slice(from, from + BATCH));
    }
  }

  if (isDry) await database.write((tx) => forgetResultsOf(tx, run.id, repository.name), soft);
  for await (const page of judgeTags(database, repository, asked, run.at, labelsOf)) {
    signal.throwIfAborted();
    lookedAt += page.length;
    const doomed = page.flatMap(({ tag, verdict }) => (verdict.keep ? [] : [{ tag, digest: tag.digest, reasons: verdict.reasons }]));
    kept += page.length - doomed.length;
    if (isDry) {
      const results = page.map(({ tag, verdict }) =>
        resultOf(repository.name, { tag, digest: tag.digest, reasons: verdict.reasons }, verdict.keep ? 'keep' : 'delete'),
      );
      await database.write((tx) => addResults(tx, run.id, results), soft);
    }
    await dispose(doomed);
  }
  for await (const doomed of untagged(database, { run, policy, repository, before }, signal)) {
    lookedAt += doomed.length;
    if (isDry) {
      const results = doomed.map((one) => resultOf(repository.name, one, 'delete'));
      await database.write((tx) => addResults(tx, run.id, results), soft);
    }
    await dispose(doomed);
  }
  await database.write(async (tx) => {
    await hold(tx);
    await advanceRun(tx, run.id, repository.id, { lookedAt, kept, deleted: isDry ? doomedCount : 0, failed: 0 });
  }, soft);
}

/** Manifests that nothing holds and nobody pushed or pulled for as long as the policy says. */
async function* untagged(database: Database, { run, policy, repository }: Place, signal: AbortSignal): AsyncGenerator<readonly Doomed[]> {
  const { untaggedDays, rules, name } = policy;
  if (untaggedDays === null) return;
  const where = { repository: repository.name, environment: repository.environment };
  if (rules.length > 0 && !coversRepository(rules, where)) return;
  const since = run.at - untaggedDays * DAY_MS;
  for (let last = 0; ; ) {
    signal.throwIfAborted();
    const page = await pageOfManifestUse(database, repository.id, last, MANIFESTS);
    const old: typeof page = [];
    for (const each of page) {
      const { tag, parent, subject, digest, pushedAt, pulledAt } = each;
      const isFree = tag === null && parent === null && subject === null && Math.max(pushedAt, pulledAt ?? 0) <= since;
      if (isFree && (await findUse(database, { repositoryId: repository.id, digest, since, now: run.at })) === undefined) old.push(each);
    }
    yield old.map(({ digest, pushedAt, pulledAt }) => {
      const days = Math.floor((run.at - Math.max(pushedAt, pulledAt ?? 0)) / DAY_MS);
      return { tag: undefined, digest, reasons: [{ policy: name, rule: 0, keeps: false, text: `without a tag for ${days} days` }] };
    });
    last = page.at(-1)?.id ?? last;
    if (page.length < MANIFESTS) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
}
