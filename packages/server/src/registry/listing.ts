import { isRepositoryName, isTag, projectOf } from '@entrepot/oci';
import type { Identity } from '../access/index.ts';
import { findProject, findRepository, pageOfRepositories, pageOfTags } from '../catalog/index.ts';
import { AppError } from '../platform/index.ts';
import { answerJson, type Call, nextLink, pageSize } from './http.ts';
import type { RegistryParts } from './parts.ts';

/** Longest page of tags or repositories; a longer list continues by `Link`. */
const PAGE = 1000;

/** end-8: tags in byte order. */
export function createTagsHandler({ database }: RegistryParts): (call: Call) => Promise<void> {
  return async ({ response, name, query }) => {
    const n = pageSize(query, PAGE);
    const last = query.get('last') ?? '';
    if (last !== '' && !isTag(last)) throw new AppError('pagination_invalid', 'last must be a tag');
    const repository = await findRepository(database, name);
    if (!repository) throw new AppError('name_unknown', 'repository name not known to the registry');
    const rows = n === 0 ? [] : await pageOfTags(database, repository.id, last, n + 1);
    const tags = rows.slice(0, n);
    const more = rows.length > n && n > 0;
    answerJson(response, 200, { name, tags }, more ? nextLink(`/v2/${name}/tags/list`, { n: String(n), last: tags.at(-1) }) : []);
  };
}

/** distribution's `_catalog`: repositories in byte order, only those the caller may pull. */
export function createCatalogHandler({ database, access }: RegistryParts): (call: Call) => Promise<void> {
  /** The first `most` after `last`, project by project in the order of their names: what others hold is never looked at. */
  async function visible(user: Identity['user'], last: string, most: number): Promise<string[]> {
    const found: string[] = [];
    const take = async (projectId: number) => {
      const names = await pageOfRepositories(database, projectId, last, most);
      const inOrder = (names[0] ?? '') > (found.at(-1) ?? '');
      found.push(...names);
      if (!inOrder) found.sort();
      found.splice(most);
    };
    const project = projectOf(last);
    for (const name of beginningsOf(project)) {
      const own = (await access.rights(user, name))?.has('pull') ? await findProject(database, name) : undefined;
      if (own) await take(own.id);
    }
    for await (const { id, name } of access.pullable(user, project)) {
      if (found.length === most && name > (found.at(-1) ?? '')) break;
      await take(id);
    }
    return found;
  }

  return async ({ response, query, identity }) => {
    const n = pageSize(query, PAGE);
    const last = query.get('last') ?? '';
    if (last !== '' && !isRepositoryName(last)) throw new AppError('pagination_invalid', 'last must be a repository name');
    const found = n === 0 ? [] : await visible(identity.user, last, n + 1);
    const repositories = found.slice(0, n);
    const more = found.length > n ? nextLink('/v2/_catalog', { n: String(n), last: repositories.at(-1) }) : [];
    answerJson(response, 200, { repositories }, more);
  };
}

/** Projects up to one that may have repositories behind it: of `a-b` that and `a`, as `a-b/x` comes before `a/x`. */
function beginningsOf(project: string): string[] {
  return [...project.matchAll(/[-.]|$/g)].map(({ index }) => project.slice(0, index));
}
