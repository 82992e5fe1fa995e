import { projectOf } from '@entrepot/oci';
import Type, { type Static } from 'typebox';
import type { Identity } from '../../access/index.ts';
import { artifactCount, findRepositoryFacts, listRepositories, type RepositoryFacts } from '../../catalog/index.ts';
import { AppError, type Route, repositoryIn, routesFor } from '../../platform/index.ts';
import type { Adapter } from './adapt.ts';
import { answerList, gather, Items, ListQuery } from './lists.ts';
import { type HarborParts, OfProject, OfRepository, time } from './parts.ts';
import { projectsSeen } from './projects.ts';

const RepositoryBody = Type.Object({ description: Type.Optional(Type.String({ maxLength: 4096 })) });

const FIELDS = {
  name: ({ name }: Found) => name,
  description: ({ description }: Found) => description,
  creation_time: ({ createdAt }: Found) => createdAt,
  update_time: ({ updatedAt }: Found) => updatedAt,
};

type Found = RepositoryFacts & { readonly projectId: number };

/** Repositories. */
export function repositoryRoutes({ database, access, seen }: HarborParts, { change }: Adapter): Route[] {
  const { read } = routesFor<Identity>();
  const common = { tag: 'Harbor' } as const;

  async function viewOf({ id, projectId, name, description, createdAt, updatedAt }: Found) {
    return {
      id,
      project_id: projectId,
      name,
      description,
      artifact_count: await artifactCount(database, id),
      pull_count: 0,
      creation_time: time(createdAt),
      update_time: time(updatedAt),
    };
  }

  /** Repositories of a project that a caller sees, by name. */
  async function inProject(caller: Identity, project: string, most: number): Promise<Found[]> {
    const { id: projectId, allows } = await seen(caller, project);
    return await gather(most, async (last: readonly [string | number, number] | undefined, limit) => {
      const page = await listRepositories(database, { projectId, sort: 'name', order: 'asc', last, limit, includes: allows });
      return { items: page.repositories.map((facts) => ({ ...facts, projectId })), next: page.next };
    });
  }

  return [
    read({
      ...common,
      method: 'GET',
      path: '/repositories',
      summary: 'List the repositories of all projects',
      permission: 'public',
      query: ListQuery,
      answer: Items,
      handle: async (call) =>
        await answerList(call, {
          async load(most) {
            const found: Found[] = [];
            for (const { name } of await projectsSeen({ database, access }, call.caller, most)) {
              if (found.length < most) found.push(...(await inProject(call.caller, name, most - found.length)));
            }
            return found;
          },
          fields: FIELDS,
          view: viewOf,
        }),
    }),
    read({
      ...common,
      method: 'GET',
      path: '/projects/:project/repositories',
      summary: 'List the repositories of a project',
      permission: 'public',
      params: OfProject,
      query: ListQuery,
      answer: Items,
      handle: async (call) =>
        await answerList(call, { load: (most) => inProject(call.caller, call.params.project, most), fields: FIELDS, view: viewOf }),
    }),
    read({
      ...common,
      method: 'GET',
      path: '/projects/:project/repositories/:repository',
      summary: 'Read a repository',
      permission: 'artifact:read',
      params: OfRepository,
      answer: Type.Unknown(),
      async handle({ params, caller }) {
        const name = repositoryIn(params.project, params.repository);
        const facts = await findRepositoryFacts(database, name);
        if (!facts) throw new AppError('not_found', `there is no repository ${name}`);
        const { id: projectId } = await seen(caller, projectOf(name));
        return { body: await viewOf({ ...facts, projectId }) };
      },
    }),
    change('PATCH /projects/:project/repositories/:repository', {
      method: 'PUT',
      path: '/projects/:project/repositories/:repository',
      params: OfRepository,
      body: RepositoryBody,
      call: async ({ body }) => {
        const { description = '' } = body as Static<typeof RepositoryBody>;
        return { body: { description } };
      },
    }),
    change('DELETE /projects/:project/repositories/:repository', {
      method: 'DELETE',
      path: '/projects/:project/repositories/:repository',
      params: OfRepository,
    }),
  ];
}
