import Type, { type Static } from 'typebox';
import {
  addImmutabilityRule,
  changeImmutabilityRule,
  deleteImmutabilityRule,
  findImmutabilityRule,
  type ImmutabilityRule,
  type ImmutabilitySettings,
  immutabilityRulesIn,
} from '../../catalog/index.ts';
import { placeIdOf, placesOf } from '../../catalog/routes.ts';
import {
  AppError,
  type AuditResource,
  type Caller,
  listOf,
  listQuery,
  pageByName,
  type Route,
  requireMatch,
  routesFor,
  type Session,
} from '../../platform/index.ts';

const Pattern = Type.String({ minLength: 1, maxLength: 512 });
const Patterns = (what: string, description: string) =>
  Type.Object(
    {
      include: Type.Optional(
        Type.Array(Pattern, {
          minItems: 1,
          maxItems: 50,
          uniqueItems: true,
          description: `${what} of which one must match; ${description}`,
        }),
      ),
      exclude: Type.Optional(Type.Array(Pattern, { maxItems: 50, uniqueItems: true, description: `${what} none of which may match` })),
    },
    { additionalProperties: false },
  );
const Name = Type.String({ minLength: 1, maxLength: 100, pattern: '^[^\\p{C}]+$' });
const settings = {
  description: Type.Optional(Type.String({ maxLength: 1000 })),
  repositories: Type.Optional(Patterns('patterns over full repository names', 'default: any')),
  tags: Type.Optional(Patterns('patterns over tags', 'default: any')),
  enabled: Type.Optional(Type.Boolean()),
};
const NewRule = Type.Object({ name: Name, ...settings }, { additionalProperties: false });
const RuleChange = Type.Object({ name: Type.Optional(Name), ...settings }, { additionalProperties: false });
const PatternsView = Type.Object({ include: Type.Array(Type.String()), exclude: Type.Array(Type.String()) });
const RuleView = Type.Object({
  id: Type.Integer(),
  name: Type.String(),
  description: Type.String(),
  repositories: PatternsView,
  tags: PatternsView,
  enabled: Type.Boolean(),
  createdAt: Type.String({ format: 'date-time' }),
  createdBy: Type.String(),
});

function viewOf({ id, name, description, selector, enabled, createdAt, createdBy }: ImmutabilityRule): Static<typeof RuleView> {
  const copy = ({ include, exclude }: ImmutabilityRule['selector']['tags']) => ({ include: [...include], exclude: [...exclude] });
  const { repositories, tags } = selector;
  return {
    ...{ id, name, description, repositories: copy(repositories), tags: copy(tags), enabled },
    createdAt: new Date(createdAt).toISOString(),
    createdBy,
  };
}

const PLACES = placesOf('immutability-rules', (outer) => ({ ofRule: Type.Object({ ...outer, rule: Type.Integer({ minimum: 1 }) }) }));

async function requireRule(session: Session, params: { readonly project?: string; readonly rule: number }): Promise<ImmutabilityRule> {
  const found = await findImmutabilityRule(session, await placeIdOf(session, params), params.rule);
  if (!found) throw new AppError('not_found', `there is no immutability rule ${params.rule}`);
  return found;
}

const ALL: ImmutabilitySettings['selector']['tags'] = { include: ['**'], exclude: [] };
const etagOf = ({ id, version }: ImmutabilityRule) => `${id}.${version}`;

function resourceOf({ name }: ImmutabilityRule, project: string | undefined): AuditResource {
  return { type: 'immutability-rule', name, ...(project === undefined ? {} : { project }) };
}

/** Rules by which tags, once they exist, neither move nor go. */
export function immutabilityRoutes({ database }: { readonly database: Session }): Route[] {
  return PLACES.flatMap((each) => routesAt(database, each));
}

function routesAt(database: Session, { path, where, ofPlace, ofRule }: (typeof PLACES)[number]): Route[] {
  const { read, change } = routesFor<Caller>();
  const tag = 'Immutability';
  const one = `${path}/:rule`;
  return [
    read({
      method: 'GET',
      path,
      summary: `List the immutability rules ${where}`,
      tag,
      permission: 'immutability:read',
      params: ofPlace,
      query: listQuery(['name'], {}),
      answer: listOf(RuleView),
      async handle({ params, query }) {
        const { items, next } = pageByName(await immutabilityRulesIn(database, await placeIdOf(database, params)), query);
        return { body: { items: items.map(viewOf) }, next };
      },
    }),
    read({
      method: 'GET',
      path: one,
      summary: `Read an immutability rule ${where}`,
      tag,
      permission: 'immutability:read',
      params: ofRule,
      answer: RuleView,
      async handle({ params }) {
        const rule = await requireRule(database, params);
        return { body: viewOf(rule), etag: etagOf(rule) };
      },
    }),
    change({
      method: 'POST',
      path,
      summary: `Make an immutability rule ${where}`,
      description: 'It holds at once, for tags that are there already too. Where several rules match, each of them is enough.',
      tag,
      permission: 'immutability:manage',
      audit: 'immutability-rule.create',
      params: ofPlace,
      body: NewRule,
      answer: RuleView,
      status: 201,
      async change(tx, { params, body, caller, now }) {
        const { name, description = '', repositories, tags, enabled = true } = body;
        const selector = { repositories: { ...ALL, ...repositories }, tags: { ...ALL, ...tags } };
        const by = caller.actor.name;
        const rule = await addImmutabilityRule(tx, await placeIdOf(tx, params), { name, description, selector, enabled }, { by, now });
        return { body: viewOf(rule), etag: etagOf(rule), resource: resourceOf(rule, params.project), after: viewOf(rule) };
      },
    }),
    change({
      method: 'PATCH',
      path: one,
      summary: `Change an immutability rule ${where}`,
      tag,
      permission: 'immutability:manage',
      audit: 'immutability-rule.update',
      params: ofRule,
      body: RuleChange,
      answer: RuleView,
      async change(tx, call) {
        const before = await requireRule(tx, call.params);
        requireMatch(call, etagOf(before));
        const { name = before.name, description = before.description, repositories, tags, enabled = before.enabled } = call.body;
        const selector = {
          repositories: { ...before.selector.repositories, ...repositories },
          tags: { ...before.selector.tags, ...tags },
        };
        const after = await changeImmutabilityRule(tx, before, { name, description, selector, enabled });
        const told = { resource: resourceOf(before, call.params.project), before: viewOf(before), after: viewOf(after) };
        return { body: viewOf(after), etag: etagOf(after), ...told };
      },
    }),
    change({
      method: 'DELETE',
      path: one,
      summary: `Delete an immutability rule ${where}: what it held may move and go from now on`,
      tag,
      permission: 'immutability:manage',
      audit: 'immutability-rule.delete',
      params: ofRule,
      async change(tx, call) {
        const rule = await requireRule(tx, call.params);
        requireMatch(call, etagOf(rule));
        await deleteImmutabilityRule(tx, rule);
        return { resource: resourceOf(rule, call.params.project), before: viewOf(rule) };
      },
    }),
  ];
}
