import { type Order, queriesOf, type Session } from '../../platform/index.ts';
import type { Policy, PolicySettings } from './policy.ts';
import type { Outcome, RetentionTables, RunState } from './schema.ts';

const query = queriesOf<RetentionTables>('retention');

const COLUMNS = [
  'id',
  'project_id as projectId',
  'name',
  'description',
  'enabled',
  'projects',
  'rules',
  'uncovered',
  'untagged_days as untaggedDays',
  'schedule',
  'next_at as nextAt',
  'created_at as createdAt',
  'created_by as createdBy',
  'version',
] as const;

const ofSystem = query()('ofSystem', (db) =>
  db.selectFrom('retention_policy').select(COLUMNS).where('project_id', 'is', null).orderBy('name'),
);
const ofProject = query<{ projectId: number }>()('ofProject', (db, p) =>
  db.selectFrom('retention_policy').select(COLUMNS).where('project_id', '=', p('projectId')).orderBy('name'),
);
const byId = query<{ id: number }>()('byId', (db, p) => db.selectFrom('retention_policy').select(COLUMNS).where('id', '=', p('id')));
const byPlaceAndName = query<{ projectId: number; name: string }>()('byPlaceAndName', (db, p) =>
  db.selectFrom('retention_policy').select('id').where('project_id', '=', p('projectId')).where('name', '=', p('name')),
);
const duePolicies = query<{ now: number; limit: number }>()('due', (db, p) =>
  db.selectFrom('retention_policy').select(COLUMNS).where('next_at', '<=', p('now')).orderBy('next_at').limit(p('limit')),
);
type SettingsColumns = {
  name: string;
  description: string;
  enabled: number;
  projects: string | null;
  rules: string;
  uncovered: 'keep' | 'delete';
  untaggedDays: number | null;
  schedule: string;
  nextAt: number | null;
};
const insertPolicy = query<SettingsColumns & { projectId: number | null; now: number; by: string }>()('insert', (db, p) =>
  db
    .insertInto('retention_policy')
    .values({
      project_id: p('projectId'),
      name: p('name'),
      description: p('description'),
      enabled: p('enabled'),
      projects: p('projects'),
      rules: p('rules'),
      uncovered: p('uncovered'),
      untagged_days: p('untaggedDays'),
      schedule: p('schedule'),
      next_at: p('nextAt'),
      created_at: p('now'),
      created_by: p('by'),
      version: 1,
    })
    .returning('id'),
);
const updatePolicy = query<SettingsColumns & { id: number }>()('update', (db, p) =>
  db
    .updateTable('retention_policy')
    .set((eb) => ({
      name: p('name'),
      description: p('description'),
      enabled: p('enabled'),
      projects: p('projects'),
      rules: p('rules'),
      uncovered: p('uncovered'),
      untagged_days: p('untaggedDays'),
      schedule: p('schedule'),
      next_at: p('nextAt'),
      version: eb('version', '+', 1),
    }))
    .where('id', '=', p('id')),
);
const setNext = query<{ id: number; nextAt: number | null }>()('setNext', (db, p) =>
  db
    .updateTable('retention_policy')
    .set({ next_at: p('nextAt') })
    .where('id', '=', p('id')),
);
const removePolicy = query<{ id: number }>()('remove', (db, p) => db.deleteFrom('retention_policy').where('id', '=', p('id')));

const RUN = [
  'id',
  'policy_id as policyId',
  'project_id as projectId',
  'dry',
  'state',
  'at',
  'started_by as startedBy',
  'job_id as jobId',
  'position',
  'looked_at as lookedAt',
  'kept',
  'deleted',
  'failed',
  'restored',
  'undo',
  'error',
  'finished_at as finishedAt',
] as const;
const insertRun = query<{ policyId: number; projectId: number | null; dry: number; at: number; by: string }>()('insertRun', (db, p) =>
  db
    .insertInto('retention_run')
    .values({
      policy_id: p('policyId'),
      project_id: p('projectId'),
      dry: p('dry'),
      state: 'waiting',
      at: p('at'),
      started_by: p('by'),
      position: 0,
      looked_at: 0,
      kept: 0,
      deleted: 0,
      failed: 0,
      restored: 0,
    })
    .returning('id'),
);
const setJob = query<{ id: number; jobId: number }>()('setJob', (db, p) =>
  db
    .updateTable('retention_run')
    .set({ job_id: p('jobId') })
    .where('id', '=', p('id')),
);
const runById = query<{ id: number }>()('run', (db, p) => db.selectFrom('retention_run').select(RUN).where('id', '=', p('id')));
const runLists = (order: Order) =>
  query<{ policyId: number; last: number; limit: number }>()(order === 'asc' ? 'runs' : 'runsDown', (db, p) =>
    db
      .selectFrom('retention_run')
      .select(RUN)
      .where('policy_id', '=', p('policyId'))
      .where('id', order === 'asc' ? '>' : '<', p('last'))
      .orderBy('id', order)
      .limit(p('limit')),
  );
const RUNS = { asc: runLists('asc'), desc: runLists('desc') };
const unfinished = query<{ policyId: number }>()('unfinishedRun', (db, p) =>
  db
    .selectFrom('retention_run')
    .select('id')
    .where('policy_id', '=', p('policyId'))
    .where('dry', '=', 0)
    .where((eb) => eb.or([eb('state', 'in', ['waiting', 'running']), eb('undo', 'in', ['waiting', 'running'])]))
    .limit(1),
);
const underWay = query()('runsUnderWay', (db) =>
  db.selectFrom('retention_run').select(RUN).where('state', 'in', ['waiting', 'running']).limit(1000),
);
const advance = query<{ id: number; position: number; lookedAt: number; kept: number; deleted: number; failed: number }>()(
  'advance',
  (db, p) =>
    db
      .updateTable('retention_run')
      .set((eb) => ({
        position: p('position'),
        looked_at: eb('looked_at', '+', p('lookedAt')),
        kept: eb('kept', '+', p('kept')),
        deleted: eb('deleted', '+', p('deleted')),
        failed: eb('failed', '+', p('failed')),
      }))
      .where('id', '=', p('id')),
);
const setState = query<{ id: number; state: RunState; error: string | null; finishedAt: number | null }>()('setState', (db, p) =>
  db
    .updateTable('retention_run')
    .set({ state: p('state'), error: p('error'), finished_at: p('finishedAt') })
    .where('id', '=', p('id')),
);
const setUndo = query<{ id: number; undo: RunState | null; error: string | null; restored: number }>()('setUndo', (db, p) =>
  db
    .updateTable('retention_run')
    .set((eb) => ({ undo: p('undo'), error: p('error'), restored: eb('restored', '+', p('restored')) }))
    .where('id', '=', p('id')),
);
const insertResult = query<{
  runId: number;
  repository: string;
  tag: string | null;
  digest: string;
  outcome: Outcome;
  reasons: string;
}>()('insertResult', (db, p) =>
  db.insertInto('retention_result').values({
    run_id: p('runId'),
    repository: p('repository'),
    tag: p('tag'),
    digest: p('digest'),
    outcome: p('outcome'),
    reasons: p('reasons'),
  }),
);
const resultsOf = query<{ runId: number; outcome: string; last: number; limit: number }>()('results', (db, p) =>
  db
    .selectFrom('retention_result')
    .select(['id', 'repository', 'tag', 'digest', 'outcome', 'reasons'])
    .where('run_id', '=', p('runId'))
    .where('id', '>', p('last'))
    .where((eb) => eb.or([eb(p('outcome'), '=', ''), eb(eb.ref('outcome'), '=', p('outcome') as never)]))
    .orderBy('id')
    .limit(p('limit')),
);
const dropResults = query<{ runId: number; limit: number }>()('dropResults', (db, p) =>
  db
    .deleteFrom('retention_result')
    .where('id', 'in', (eb) =>
      eb.selectFrom('retention_result as old').select('old.id').where('old.run_id', '=', p('runId')).orderBy('old.id').limit(p('limit')),
    ),
);
const dropResultsOfRepository = query<{ runId: number; repository: string }>()('dropResultsOfRepository', (db, p) =>
  db.deleteFrom('retention_result').where('run_id', '=', p('runId')).where('repository', '=', p('repository')),
);
const dropRun = query<{ id: number }>()('dropRun', (db, p) => db.deleteFrom('retention_run').where('id', '=', p('id')));
const oldRuns = query<{ before: number; limit: number }>()('oldRuns', (db, p) =>
  db.selectFrom('retention_run').select('id').where('finished_at', '<', p('before')).limit(p('limit')),
);

export interface Run {
  readonly id: number;
  readonly policyId: number;
  readonly projectId: number | null;
  readonly dry: number;
  readonly state: RunState;
  readonly at: number;
  readonly startedBy: string;
  readonly jobId: number | null;
  readonly position: number;
  readonly lookedAt: number;
  readonly kept: number;
  readonly deleted: number;
  readonly failed: number;
  readonly restored: number;
  readonly undo: RunState | null;
  readonly error: string | null;
  readonly finishedAt: number | null;
}

type Row = Omit<Policy, 'rules' | 'projects' | 'enabled'> & { rules: string; projects: string | null; enabled: number };

function policyOf({ rules, projects, enabled, ...row }: Row): Policy {
  const read = {
    rules: JSON.parse(rules) as Policy['rules'],
    projects: projects === null ? null : (JSON.parse(projects) as Policy['projects']),
  };
  return { ...row, ...read, enabled: enabled === 1 };
}

function columnsOf({ rules, projects, enabled, ...others }: PolicySettings, nextAt: number | null): SettingsColumns {
  const { name, description, uncovered, untaggedDays, schedule } = others;
  const json = { rules: JSON.stringify(rules), projects: projects === null ? null : JSON.stringify(projects) };
  return { name, description, uncovered, untaggedDays, schedule, ...json, enabled: enabled ? 1 : 0, nextAt };
}

/** Policies of a project, or of the system, by name. */
export async function policiesIn(session: Session, projectId: number | null): Promise<Policy[]> {
  return (projectId === null ? await session.all(ofSystem, {}) : await session.all(ofProject, { projectId })).map(policyOf);
}

export async function findPolicy(session: Session, id: number): Promise<Policy | undefined> {
  const row = await session.first(byId, { id });
  return row && policyOf(row);
}

/** Id of the project that a policy is of; null: of the system, undefined: there is none. */
export async function placeOfRetentionPolicy(session: Session, id: number): Promise<number | null | undefined> {
  return (await session.first(byId, { id }))?.projectId;
}

/** Id of the policy of a project that has a name. */
export async function projectPolicyNamed(session: Session, projectId: number, name: string): Promise<number | undefined> {
  return (await session.first(byPlaceAndName, { projectId, name }))?.id;
}

export async function addPolicy(
  tx: Session,
  projectId: number | null,
  settings: PolicySettings,
  { nextAt, by, now }: { nextAt: number | null; by: string; now: number },
): Promise<number> {
  const row = await tx.first(insertPolicy, { ...columnsOf(settings, nextAt), projectId, by, now });
  if (!row) throw new Error('an inserted policy has no id');
  return row.id;
}

export async function changePolicy(tx: Session, id: number, settings: PolicySettings, nextAt: number | null): Promise<void> {
  await tx.run(updatePolicy, { ...columnsOf(settings, nextAt), id });
}

export async function deletePolicy(tx: Session, id: number): Promise<void> {
  await tx.run(removePolicy, { id });
}

/** Policies whose schedule is due. */
export async function policiesDue(session: Session, now: number, limit: number): Promise<Policy[]> {
  return (await session.all(duePolicies, { now, limit })).map(policyOf);
}

export async function setNextRun(tx: Session, id: number, nextAt: number | null): Promise<void> {
  await tx.run(setNext, { id, nextAt });
}

export async function addRun(
  tx: Session,
  { id: policyId, projectId }: Pick<Policy, 'id' | 'projectId'>,
  { dry, at, by }: { dry: boolean; at: number; by: string },
): Promise<number> {
  const row = await tx.first(insertRun, { policyId, projectId, dry: dry ? 1 : 0, at, by });
  if (!row) throw new Error('an inserted run has no id');
  return row.id;
}

export async function setRunJob(tx: Session, id: number, jobId: number): Promise<void> {
  await tx.run(setJob, { id, jobId });
}

export async function findRun(session: Session, id: number): Promise<Run | undefined> {
  return await session.first(runById, { id });
}

export async function pageOfRuns(session: Session, policyId: number, page: { order: Order; last: number; limit: number }): Promise<Run[]> {
  const { order, last, limit } = page;
  return await session.all(RUNS[order], { policyId, last, limit });
}

/** Whether a run of a policy that deletes, or its undoing, is under way. */
export async function isBusy(session: Session, policyId: number): Promise<boolean> {
  return (await session.first(unfinished, { policyId })) !== undefined;
}

export async function runsUnderWay(session: Session): Promise<Run[]> {
  return await session.all(underWay, {});
}

export interface Step {
  readonly lookedAt: number;
  readonly kept: number;
  readonly deleted: number;
  readonly failed: number;
}

export async function advanceRun(tx: Session, id: number, position: number, step: Step): Promise<void> {
  await tx.run(advance, { id, position, ...step });
}

export async function setRunState(
  tx: Session,
  id: number,
  state: RunState,
  error: string | null,
  finishedAt: number | null,
): Promise<void> {
  await tx.run(setState, { id, state, error, finishedAt });
}

export async function setRunUndo(tx: Session, id: number, undo: RunState | null, error: string | null, restored: number): Promise<void> {
  await tx.run(setUndo, { id, undo, error, restored });
}

export interface Result {
  readonly id: number;
  readonly repository: string;
  readonly tag: string | null;
  readonly digest: string;
  readonly outcome: Outcome;
  /** JSON. */
  readonly reasons: string;
}

export async function addResults(tx: Session, runId: number, results: readonly Omit<Result, 'id'>[]): Promise<void> {
  for (const result of results) await tx.run(insertResult, { runId, ...result });
}

export async function pageOfResults(
  session: Session,
  { runId, outcome = '', last, limit }: { runId: number; outcome?: string | undefined; last: number; limit: number },
): Promise<Result[]> {
  return await session.all(resultsOf, { runId, outcome, last, limit });
}

/** Forgets what a run that was interrupted found of the repository that it was at. */
export async function forgetResultsOf(tx: Session, runId: number, repository: string): Promise<void> {
  await tx.run(dropResultsOfRepository, { runId, repository });
}

/** Forgets results of a run, some at a time, and then the run; gives how many results. */
export async function forgetRun(tx: Session, id: number, limit: number): Promise<number> {
  const gone = await tx.run(dropResults, { runId: id, limit });
  if (gone < limit) await tx.run(dropRun, { id });
  return gone;
}

export async function runsFinishedBefore(session: Session, before: number, limit: number): Promise<number[]> {
  return (await session.all(oldRuns, { before, limit })).map(({ id }) => id);
}
