import { randomBytes } from 'node:crypto';
import Type, { type Static } from 'typebox';
import type { Identity } from '../../access/index.ts';
import { findProject, type ImmutabilityRule, immutabilityRulesIn } from '../../catalog/index.ts';
import { AppError, type Route, routesFor } from '../../platform/index.ts';
import type { Adapter } from './adapt.ts';
import { answerList, Items, ListQuery } from './lists.ts';
import { type HarborParts, Id, OfProject } from './parts.ts';
import { repositoryPatterns, ScopeSelectors, Selectors, scopeSelectors, tagPatterns, tagSelectors } from './selectors.ts';

const OfRule = Type.Object({ project: Type.String({ maxLength: 128 }), rule: Id });
const RuleBody = Type.Object({
  disabled: Type.Optional(Type.Boolean()),
  tag_selectors: Type.Optional(Selectors),
  scope_selectors: Type.Optional(ScopeSelectors),
});

function viewOf({ id, selector, enabled }: ImmutabilityRule, project: { readonly id: number; readonly name: string }) {
  return {
    ...{ id, project_id: project.id, disabled: !enabled, priority: 0, action: 'immutable', template: 'immutable_template' },
    tag_selectors: tagSelectors(selector.tags),
    scope_selectors: scopeSelectors(selector.repositories, project.name),
  };
}

/** Immutable tag rules of projects. Harbor gives them no names. */
export function immutableRuleRoutes({ database }: HarborParts, { change }: Adapter): Route[] {
  const { read } = routesFor<Identity>();
  const path = '/projects/:project/immutabletagrules';

  function settingsOf({ disabled, tag_selectors: tags, scope_selectors: scope }: Static<typeof RuleBody>, project: string) {
    return {
      ...(disabled === undefined ? {} : { enabled: !disabled }),
      ...(tags === undefined ? {} : { tags: tagPatterns(tags) }),
      ...(scope === undefined ? {} : { repositories: repositoryPatterns(scope.repository, project) }),
    };
  }

  return [
    read({
      tag: 'Harbor',
      method: 'GET',
      path,
      summary: 'List immutable tag rules',
      permission: 'immutability:read',
      params: OfProject,
      query: ListQuery,
      answer: Items,
      async handle(call) {
        const project = await findProject(database, call.params.project);
        if (!project) throw new AppError('not_found', `there is no project ${call.params.project}`);
        return await answerList<ImmutabilityRule>(call, {
          load: async () => (await immutabilityRulesIn(database, project.id)).toSorted((a, b) => a.id - b.id),
          fields: { id: ({ id }) => id, disabled: ({ enabled }) => String(!enabled) },
          view: async (rule) => viewOf(rule, project),
        });
      },
    }),
    change('POST /projects/:project/immutability-rules', {
      method: 'POST',
      path,
      params: OfProject,
      body: RuleBody,
      status: 201,
      async call({ params, body }) {
        const { project } = params as Static<typeof OfProject>;
        const all = { tag_selectors: [], scope_selectors: {}, ...(body as Static<typeof RuleBody>) };
        return { body: { name: `immutable ${randomBytes(4).toString('hex')}`, ...settingsOf(all, project) } };
      },
      tell: (body, { url }) => ({ headers: { Location: `${url.split('?', 1)[0]}/${(body as { id: number }).id}` } }),
    }),
    change('PATCH /projects/:project/immutability-rules/:rule', {
      method: 'PUT',
      path: `${path}/:rule`,
      params: OfRule,
      body: RuleBody,
      async call({ params, body }) {
        const { project } = params as Static<typeof OfRule>;
        return { body: settingsOf(body as Static<typeof RuleBody>, project) };
      },
    }),
    change('DELETE /projects/:project/immutability-rules/:rule', { method: 'DELETE', path: `${path}/:rule`, params: OfRule }),
  ];
}
