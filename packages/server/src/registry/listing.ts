import { isRepositoryName, isTag } from '@entrepot/oci';
import { findRepository, pageOfRepositories, pageOfTags } from '../catalog/index.ts';
import { AppError } from '../platform/index.ts';
import { answerJson, type Call, nextLink, pageSize } from './http.ts';
import type { RegistryParts } from './parts.ts';

/** Longest page of tags or repositories; a longer list continues by `Link`. */
const PAGE = 1000;
/** Repositories looked at for one page of the catalogue; one who may see few of many pages on. */
const SCAN = 10_000;

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
  return async ({ response, query, identity }) => {
    const n = pageSize(query, PAGE);
    let last = query.get('last') ?? '';
    if (last !== '' && !isRepositoryName(last)) throw new AppError('pagination_invalid', 'last must be a repository name');
    const visible = new Map<string, boolean>();
    const repositories: string[] = [];
    let more = n > 0;
    for (let scanned = 0; more && scanned < SCAN && repositories.length < n; ) {
      const rows = await pageOfRepositories(database, last, PAGE);
      scanned += rows.length;
      more = rows.length === PAGE;
      for (const row of rows) {
        let show = visible.get(row.project);
        if (show === undefined) {
          show = (await access.rights(identity.user, row.project))?.has('pull') ?? false;
          visible.set(row.project, show);
        }
        last = row.name;
        if (!show) continue;
        repositories.push(row.name);
        if (repositories.length < n) continue;
        more ||= row !== rows.at(-1);
        break;
      }
    }
    answerJson(response, 200, { repositories }, more ? nextLink('/v2/_catalog', { n: String(n), last }) : []);
  };
}
