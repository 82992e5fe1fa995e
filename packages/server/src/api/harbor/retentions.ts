import Type, { type Static } from 'typebox';
import type { Identity, Permission } from '../../access/index.ts';
import { findProjectById } from '../../catalog/index.ts';
import { placeOfRetentionPolicy } from '../../lifecycle/index.ts';
import { AppError, type Route, routesFor } from '../../platform/index.ts';
import type { Adapter, AnyCall } from './adapt.ts';
import { answerList, gather, Items, ListQuery } from './lists.ts';
import { type HarborParts, Id } from './parts.ts';
import { type Patterns, repositoryPatterns, ScopeSelectors, Selectors, scopeSelectors, tagPatterns, tagSelectors } from './selectors.ts';

/** Harbor has one policy a project and gives it no name. */
export const HARBOR_RETENTION = 'retention';
/** Templates that Harbor has too. */
const TEMPLATES = new Set(['always', 'latestPushedK', 'latestPulledN', 'nDaysSinceLastPush', 'nDaysSinceLastPull']);

const RuleBody = Type.Object({
  disabled: Type.Optional(Type.Boolean()),
  action: Type.Optional(Type.String({ maxLength: 32 })),
  template: Type.String({ maxLength: 64 }),
  params: Type.Optional(Type.Record(Type.String({ maxLength: 64 }), Type.Unknown(), { maxProperties: 10 })),
  tag_selectors: Type.Optional(Selectors),
  scope_selectors: Type.Optional(ScopeSelectors),
});
const PolicyBody = Type.Object({
  algorithm: Type.Optional(Type.String({ maxLength: 32 })),
  rules: Type.Optional(Type.Array(RuleBody, { maxItems: 50 })),
  trigger: Type.Optional(
    Type.Object({
      kind: Type.Optional(Type.String({ maxLength: 32 })),
      settings: Type.Optional(Type.Object({ cron: Type.Optional(Type.String({ maxLength: 100 })) })),
    }),
  ),
  scope: Type.Optional(
    Type.Object({ level: Type.Optional(Type.String({ maxLength: 32 })), ref: Type.Optional(Type.Integer({ minimum: 1 })) }),
  ),
});
const OfPolicy = Type.Object({ retention: Id });
const OfRun = Type.Object({ retention: Id, execution: Id });
const DryRun = Type.Object({ dry_run: Type.Optional(Type.Boolean()) });
const Action = Type.Object({ action: Type.String({ maxLength: 32 }) });

/** A policy and a run as the management API shows them. */
interface Policy {
  readonly id: number;
  readonly name: string;
  readonly schedule: string;
  readonly rules: readonly { readonly template: string; readonly n?: number; readonly repositories?: Patterns; readonly tags?: Patterns }[];
}
interface Run {
  readonly id: number;
  readonly dryRun: boolean;
  readonly state: string;
  readonly startedAt: string;
  readonly startedBy: string;
  readonly finishedAt: string | null;
}

const STATES: Readonly<Record<string, string>> = {
  waiting: 'InProgress',
  running: 'InProgress',
  done: 'Succeed',
  cancelled: 'Stopped',
  failed: 'Failed',
};

function ruleOf({ disabled = false, action = 'retain', template, params = {}, ...selectors }: Static<typeof RuleBody>, project: string) {
  if (disabled) throw new AppError('bad_request', 'a single rule cannot be disabled here; leave it out');
  if (action !== 'retain' || !TEMPLATES.has(template)) throw new AppError('bad_request', `rules retain by ${[...TEMPLATES].join(', ')}`);
  const n = Number(params[template]);
  return {
    ...{ template, ...(template === 'always' ? {} : { n }) },
    tags: tagPatterns(selectors.tag_selectors),
    repositories: repositoryPatterns(selectors.scope_selectors?.repository, project),
  };
}

function settingsOf({ algorithm = 'or', rules, trigger }: Static<typeof PolicyBody>, project: string) {
  if (algorithm !== 'or') throw new AppError('bad_request', 'rules are joined by or');
  return {
    ...(rules === undefined ? {} : { rules: rules.map((rule) => ruleOf(rule, project)) }),
    ...(trigger === undefined ? {} : { schedule: trigger.settings?.cron ?? '' }),
  };
}

function viewOf({ id, rules, schedule }: Policy, project: { readonly id: number; readonly name: string }) {
  return {
    ...{ id, algorithm: 'or', scope: { level: 'project', ref: project.id } },
    trigger: { kind: 'Schedule', references: {}, settings: { cron: schedule } },
    rules: rules.map(({ template, n, tags, repositories }, at) => ({
      ...{ id: at + 1, priority: at + 1, disabled: false, action: 'retain', template },
      params: n === undefined ? {} : { [template]: n },
      tag_selectors: tagSelectors(tags),
      scope_selectors: scopeSelectors(repositories, project.name),
    })),
  };
}

function runView({ id, dryRun, state, startedAt, startedBy, finishedAt }: Run, policyId: number) {
  const times = { start_time: startedAt, end_time: finishedAt ?? '' };
  return {
    id,
    policy_id: policyId,
    ...times,
    status: STATES[state] ?? state,
    trigger: startedBy === 'schedule' ? 'SCHEDULE' : 'MANUAL',
    dry_run: dryRun,
  };
}

const BASE = '/projects/:project/retention-policies';

/** The retention policy of a project that was made here or bears that name. Which project it is stands not in the path, so rights are looked at here. */
export function retentionRoutes({ database, access }: HarborParts, { change, read: inner }: Adapter): Route[] {
  const { read } = routesFor<Identity>();
  const common = { tag: 'Harbor', permission: 'login' } as const;

  /** The policy of a path, and its project. What one may not see looks like what is not there. */
  async function placeOf({ caller, params }: Pick<AnyCall, 'caller' | 'params'>, permission: Permission) {
    const { retention } = params as Static<typeof OfPolicy>;
    const projectId = await placeOfRetentionPolicy(database, retention);
    const project = typeof projectId === 'number' ? await findProjectById(database, projectId) : undefined;
    if (!project || !(await access.holds(caller, permission, { project: project.name })))
      throw new AppError('not_found', `there is no retention policy ${retention}`);
    return { project, params: { project: project.name, policy: retention } };
  }

  const changed = (name: string, method: 'PUT' | 'DELETE') =>
    change(name, {
      method,
      path: '/retentions/:retention',
      permission: 'login',
      params: OfPolicy,
      ...(method === 'PUT' ? { body: PolicyBody } : {}),
      async call(call) {
        const { project, params } = await placeOf(call, 'retention:manage');
        return { params, body: method === 'PUT' ? settingsOf(call.body as Static<typeof PolicyBody>, project.name) : undefined };
      },
    });

  return [
    change(`POST ${BASE}`, {
      method: 'POST',
      path: '/retentions',
      permission: 'login',
      params: Type.Object({}),
      body: PolicyBody,
      status: 201,
      async call({ body, caller }) {
        const { scope, ...settings } = body as Static<typeof PolicyBody>;
        if (scope?.level !== 'project' || scope.ref === undefined) throw new AppError('bad_request', 'scope names a project by its id');
        const project = await findProjectById(database, scope.ref);
        if (!project || !(await access.holds(caller, 'retention:manage', { project: project.name })))
          throw new AppError('not_found', `there is no project ${scope.ref}`);
        return {
          params: { project: project.name },
          body: { name: HARBOR_RETENTION, uncovered: 'delete', ...settingsOf(settings, project.name) },
        };
      },
      tell: (body, { url }) => ({ headers: { Location: `${url.split('?', 1)[0]}/${(body as Policy).id}` } }),
    }),
    read({
      ...common,
      method: 'GET',
      path: '/retentions/:retention',
      summary: 'Read a retention policy of a project',
      params: OfPolicy,
      answer: Type.Unknown(),
      async handle(call) {
        const { project, params } = await placeOf(call, 'retention:read');
        const { body } = await inner(`GET ${BASE}/:policy`, { ...call, params, query: {}, body: undefined });
        return { body: viewOf(body as Policy, project) };
      },
    }),
    changed(`PATCH ${BASE}/:policy`, 'PUT'),
    changed(`DELETE ${BASE}/:policy`, 'DELETE'),
    read({
      ...common,
      method: 'GET',
      path: '/retentions/:retention/executions',
      summary: 'List the runs of a retention policy',
      params: OfPolicy,
      query: ListQuery,
      answer: Items,
      async handle(call) {
        const { params } = await placeOf(call, 'retention:read');
        return await answerList<Run>(call, {
          load: (most) =>
            gather(most, async (after: string | undefined, limit) => {
              const { body, next } = await inner(`GET ${BASE}/:policy/runs`, { ...call, params, body: undefined, query: { limit, after } });
              return { items: (body as { items: Run[] }).items, next };
            }),
          fields: { id: ({ id }) => id },
          view: async (run) => runView(run, params.policy),
        });
      },
    }),
    change(`POST ${BASE}/:policy/runs`, {
      method: 'POST',
      path: '/retentions/:retention/executions',
      permission: 'login',
      params: OfPolicy,
      body: DryRun,
      status: 201,
      async call(call) {
        const { params } = await placeOf(call, 'retention:manage');
        return { params, body: { dryRun: (call.body as Static<typeof DryRun>).dry_run ?? false } };
      },
      tell: (body, { url }) => ({ headers: { Location: `${url.split('?', 1)[0]}/${(body as Run).id}` } }),
    }),
    change(`POST ${BASE}/:policy/runs/:run/cancel`, {
      method: 'PATCH',
      path: '/retentions/:retention/executions/:execution',
      permission: 'login',
      params: OfRun,
      body: Action,
      async call(call) {
        if ((call.body as Static<typeof Action>).action !== 'stop') throw new AppError('bad_request', 'the only action is stop');
        const { params } = await placeOf(call, 'retention:manage');
        return { params: { ...params, run: (call.params as Static<typeof OfRun>).execution } };
      },
    }),
  ];
}
