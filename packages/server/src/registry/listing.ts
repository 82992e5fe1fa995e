import { isRepositoryName, isTag, projectOf } from '@entrepot/oci';
import type { Identity, PullableProject } from '../access/index.ts';
import { findRepository, pageOfRepositories, pageOfTags } from '../catalog/index.ts';
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
  async function visible(identity: Identity, last: string, most: number): Promise<string[]> {
    const found: string[] = [];
    const take = async (project: PullableProject) => {
      const names = await pageIn(project, last, most);
      const inOrder = (names[0] ?? '') > (found.at(-1) ?? '');
      found.push(...names);
      if (!inOrder) found.sort();
      found.splice(most);
    };
    for (const name of beginningsOf(projectOf(last))) {
      const own = await access.pullableIn(identity, name);
      if (own) await take(own);
    }
    for await (const project of access.pullable(identity, projectOf(last))) {
      if (found.length === most && project.name > (found.at(-1) ?? '')) break;
      await take(project);
    }
    return found;
  }

  /** Names of one project's repositories, those left out that may not be pulled. */
  async function pageIn({ id, allows }: PullableProject, last: string, most: number): Promise<string[]> {
    const names: string[] = [];
    for (let after = last; ; ) {
      const page = await pageOfRepositories(database, id, after, most);
      names.push(...page.filter(allows));
      const end = page.at(-1);
      if (names.length >= most || end === undefined || page.length < most) return names.slice(0, most);
      after = end;
    }
  }

  return async ({ response, query, identity }) => {
    const n = pageSize(query, PAGE);
    const last = query.get('last') ?? '';
    if (last !== '' && !isRepositoryName(last)) throw new AppError('pagination_invalid', 'last must be a repository name');
    const found = n === 0 ? [] : await visible(identity, last, n + 1);
    const repositories = found.slice(0, n);
    const more = found.length > n ? nextLink('/v2/_catalog', { n: String(n), last: repositories.at(-1) }) : [];
    answerJson(response, 200, { repositories }, more);
  };
}

/** Projects up to one that may have repositories behind it: of `a-b` that and `a`, as `a-b/x` comes before `a/x`. */
function beginningsOf(project: string): string[] {
  return [...project.matchAll(/[-.]|$/g)].map(({ index }) => project.slice(0, index));
}
