import type { Static } from 'typebox';
import { placeIdOf } from '../../catalog/routes.ts';
import {
  AppError,
  type Caller,
  type Clock,
  type Database,
  listOf,
  listQuery,
  pageByName,
  type Route,
  requireMatch,
  routesFor,
  type Session,
} from '../../platform/index.ts';
import { nextOf } from './jobs.ts';
import { PLACES, type Place, requirePolicy, resourceOf } from './places.ts';
import { checkRules, type Policy, type PolicySettings } from './policy.ts';
import { runRoutesAt } from './run-routes.ts';
import { addPolicy, changePolicy, deletePolicy, isBusy, policiesIn } from './store.ts';
import { useRoutes } from './use-routes.ts';
import { NewPolicy, PolicyChange, PolicyView, policyView, settingsOf } from './views.ts';

const MOST = 100;

const etagOf = ({ id, version }: Policy) => `${id}.${version}`;
const NEW: Omit<PolicySettings, 'name'> = {
  ...{ description: '', enabled: true, projects: null, rules: [], uncovered: 'keep', untaggedDays: null, schedule: '' },
};

/** Settings as they become. Throws for what makes no sense, or a name that the place has already. */
async function settled(
  tx: Session,
  placeId: number | null,
  change: Static<typeof PolicyChange>,
  { before, now }: { before: Policy | undefined; now: number },
): Promise<{ settings: PolicySettings; nextAt: number | null }> {
  const settings: PolicySettings = { ...NEW, name: '', ...before, ...(change as Partial<PolicySettings>) };
  checkRules(settings);
  if (placeId !== null && settings.projects !== null) throw new AppError('bad_request', 'a policy of a project names no projects');
  const others = (await policiesIn(tx, placeId)).filter(({ id }) => id !== before?.id);
  if (others.some(({ name }) => name === settings.name)) {
    throw new AppError('conflict', `there is a retention policy ${settings.name} already`);
  }
  if (others.length >= MOST) throw new AppError('conflict', `there are ${MOST} retention policies already`);
  try {
    return { settings, nextAt: nextOf(settings, now) };
  } catch (cause) {
    throw new AppError('bad_request', `the schedule cannot be read: ${(cause as Error).message}`, { cause });
  }
}

interface Parts {
  readonly database: Database;
  readonly clock: Clock;
}

/** Policies that delete tags by rules, their runs, and what is told to be in use. */
export function retentionRoutes({ database, clock }: Parts): Route[] {
  return [
    ...PLACES.flatMap((each) => [...policyRoutesAt(database, each), ...runRoutesAt({ database, clock }, each)]),
    ...useRoutes(database),
  ];
}

function policyRoutesAt(database: Session, { path, where, ofPlace, ofPolicy }: Place): Route[] {
  const { read, change } = routesFor<Caller>();
  const tag = 'Retention';
  const one = `${path}/:policy`;
  return [
    read({
      method: 'GET',
      path,
      summary: `List the retention policies ${where}`,
      tag,
      permission: 'retention:read',
      params: ofPlace,
      query: listQuery(['name'], {}),
      answer: listOf(PolicyView),
      async handle({ params, query }) {
        const { items, next } = pageByName(await policiesIn(database, await placeIdOf(database, params)), query);
        return { body: { items: items.map(policyView) }, next };
      },
    }),
    read({
      method: 'GET',
      path: one,
      summary: `Read a retention policy ${where}`,
      tag,
      permission: 'retention:read',
      params: ofPolicy,
      answer: PolicyView,
      async handle({ params }) {
        const policy = await requirePolicy(database, params);
        return { body: policyView(policy), etag: etagOf(policy) };
      },
    }),
    change({
      method: 'POST',
      path,
      summary: `Make a retention policy ${where}`,
      description: 'It deletes nothing before it runs, by its schedule or on demand.',
      tag,
      permission: 'retention:manage',
      audit: 'retention-policy.create',
      params: ofPlace,
      body: NewPolicy,
      answer: PolicyView,
      status: 201,
      async change(tx, { params, body, caller, now }) {
        const placeId = await placeIdOf(tx, params);
        const { settings, nextAt } = await settled(tx, placeId, body, { before: undefined, now });
        const id = await addPolicy(tx, placeId, settings, { nextAt, by: caller.actor.name, now });
        const policy = await requirePolicy(tx, { ...params, policy: id });
        const resource = resourceOf(policy, params.project);
        return { body: policyView(policy), etag: etagOf(policy), resource, after: settingsOf(policy) };
      },
    }),
    change({
      method: 'PATCH',
      path: one,
      summary: `Change a retention policy ${where}`,
      tag,
      permission: 'retention:manage',
      audit: 'retention-policy.update',
      params: ofPolicy,
      body: PolicyChange,
      answer: PolicyView,
      async change(tx, call) {
        const { params, body, now } = call;
        const before = await requirePolicy(tx, params);
        requireMatch(call, etagOf(before));
        const { settings, nextAt } = await settled(tx, before.projectId, body, { before, now });
        await changePolicy(tx, before.id, settings, nextAt);
        const after = await requirePolicy(tx, params);
        const told = { before: settingsOf(before), after: settingsOf(after) };
        return { body: policyView(after), etag: etagOf(after), resource: resourceOf(after, params.project), ...told };
      },
    }),
    change({
      method: 'DELETE',
      path: one,
      summary: `Delete a retention policy ${where}`,
      tag,
      permission: 'retention:manage',
      audit: 'retention-policy.delete',
      params: ofPolicy,
      async change(tx, call) {
        const policy = await requirePolicy(tx, call.params);
        requireMatch(call, etagOf(policy));
        if (await isBusy(tx, policy.id)) throw new AppError('conflict', 'a run of the policy is under way; cancel it first');
        await deletePolicy(tx, policy.id);
        return { resource: resourceOf(policy, call.params.project), before: settingsOf(policy) };
      },
    }),
  ];
}
