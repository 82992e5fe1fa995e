import Type from 'typebox';
import {
  AppError,
  BEFORE_ALL,
  type Caller,
  type Clock,
  type Database,
  enqueue,
  listOf,
  listQuery,
  PAGE_DEFAULT,
  pageOf,
  type Route,
  readCursor,
  routesFor,
  type Session,
  sortOf,
} from '../../platform/index.ts';
import { type Place, requirePolicy, resourceOf } from './places.ts';
import { cancelRun, startRun } from './run.ts';
import { findRun, isBusy, pageOfResults, pageOfRuns, type Run, setRunUndo } from './store.ts';
import { UNDO } from './undo.ts';
import { Outcomes, ResultView, RunView, resultView, runView } from './views.ts';

type RunParams = { readonly project?: string; readonly policy: number; readonly run: number };

async function requireRun(session: Session, params: RunParams): Promise<Run> {
  const policy = await requirePolicy(session, params);
  const run = await findRun(session, params.run);
  if (!run || run.policyId !== policy.id) throw new AppError('not_found', `there is no run ${params.run}`);
  return run;
}

/** Runs of policies: begin, look at, cancel, undo. */
export function runRoutesAt({ database }: { database: Database; clock: Clock }, { path, where, ofPolicy, ofRun }: Place): Route[] {
  const { read, change } = routesFor<Caller>();
  const tag = 'Retention';
  const runs = `${path}/:policy/runs`;
  return [
    read({
      method: 'GET',
      path: runs,
      summary: `List the runs of a retention policy ${where}, the latest first`,
      tag,
      permission: 'retention:read',
      params: ofPolicy,
      query: listQuery(['started'], {}),
      answer: listOf(RunView),
      async handle({ params, query: { limit = PAGE_DEFAULT, after, sort = '-started' } }) {
        const policy = await requirePolicy(database, params);
        const { order } = sortOf(sort);
        const [last] = after === undefined ? [BEFORE_ALL[order].number] : readCursor(after, [0]);
        const rows = await pageOfRuns(database, policy.id, { order, last, limit: limit + 1 });
        const { items, next } = pageOf(rows, limit, ({ id }) => [id]);
        return { body: { items: items.map(runView) }, next };
      },
    }),
    read({
      method: 'GET',
      path: `${runs}/:run`,
      summary: `Read a run of a retention policy ${where}`,
      tag,
      permission: 'retention:read',
      params: ofRun,
      answer: RunView,
      handle: async ({ params }) => ({ body: runView(await requireRun(database, params)) }),
    }),
    read({
      method: 'GET',
      path: `${runs}/:run/results`,
      summary: `List what a run of a retention policy ${where} found, with the reasons`,
      description: 'Of a dry run each tag; of another what it deleted or meant to.',
      tag,
      permission: 'retention:read',
      params: ofRun,
      query: listQuery([], { outcome: Type.Optional(Outcomes) }),
      answer: listOf(ResultView),
      async handle({ params, query: { limit = PAGE_DEFAULT, after, outcome } }) {
        const { id: runId } = await requireRun(database, params);
        const [last] = after === undefined ? [0] : readCursor(after, [0]);
        const rows = await pageOfResults(database, { runId, outcome, last, limit: limit + 1 });
        const { items, next } = pageOf(rows, limit, ({ id }) => [id]);
        return { body: { items: items.map(resultView) }, next };
      },
    }),
    change({
      method: 'POST',
      path: runs,
      summary: `Run a retention policy ${where}, or say what it would delete`,
      description: 'In the background. A dry run deletes nothing; it says of each tag what becomes of it and why.',
      tag,
      permission: 'retention:manage',
      audit: 'retention-policy.run',
      params: ofPolicy,
      body: Type.Object({ dryRun: Type.Boolean() }, { additionalProperties: false }),
      answer: RunView,
      status: 202,
      async change(tx, { params, body: { dryRun: dry }, caller, now }) {
        const policy = await requirePolicy(tx, params);
        if (!dry && (await isBusy(tx, policy.id))) throw new AppError('conflict', 'a run of the policy is under way');
        const run = await startRun(tx, policy, { dry, by: caller.actor.name, now });
        return { body: runView(run), resource: resourceOf(policy, params.project), after: { run: run.id, dryRun: dry } };
      },
    }),
    change({
      method: 'POST',
      path: `${runs}/:run/cancel`,
      summary: `Cancel a run of a retention policy ${where}`,
      description: 'What it deleted stays deleted; undo brings it back.',
      tag,
      permission: 'retention:manage',
      audit: 'retention-policy.cancel',
      params: ofRun,
      answer: RunView,
      async change(tx, { params, now }) {
        const policy = await requirePolicy(tx, params);
        const run = await requireRun(tx, params);
        if (!(await cancelRun(tx, run, now))) throw new AppError('conflict', `the run is ${run.state}`);
        return { body: runView(await requireRun(tx, params)), resource: resourceOf(policy, params.project), after: { run: run.id } };
      },
    }),
    change({
      method: 'POST',
      path: `${runs}/:run/undo`,
      summary: `Bring back what a run of a retention policy ${where} deleted`,
      description: 'From the trash, in the background. Tags that lead elsewhere meanwhile stay as they are.',
      tag,
      permission: 'retention:manage',
      audit: 'retention-policy.undo',
      params: ofRun,
      answer: RunView,
      status: 202,
      async change(tx, { params, caller, now }) {
        const policy = await requirePolicy(tx, params);
        const run = await requireRun(tx, params);
        if (run.dry === 1) throw new AppError('conflict', 'a dry run deleted nothing');
        if (await isBusy(tx, policy.id)) throw new AppError('conflict', 'a run of the policy, or its undoing, is under way');
        await setRunUndo(tx, run.id, 'waiting', null, 0);
        await enqueue(tx, { kind: UNDO, key: String(run.id), payload: { runId: run.id, by: caller.actor.name }, now });
        return { body: runView(await requireRun(tx, params)), resource: resourceOf(policy, params.project), after: { run: run.id } };
      },
    }),
  ];
}
