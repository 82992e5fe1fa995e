import { isTag, parseDigest } from '@entrepot/oci';

/** What distribution (registry:2, Harbor) writes where, below its `docker/registry/v2`; see its `registry/storage/paths.go`. */

export const REPOSITORIES = 'repositories';

function hexOf(digest: string): { algorithm: string; hex: string } {
  const parsed = parseDigest(digest);
  if (!parsed) throw new Error('a digest outside the grammar reached the layout');
  return parsed;
}

export function blobPath(digest: string): string {
  const { algorithm, hex } = hexOf(digest);
  return `blobs/${algorithm}/${hex.slice(0, 2)}/${hex}/data`;
}

export function layersPath(repository: string): string {
  return `${REPOSITORIES}/${repository}/_layers`;
}

export function revisionsPath(repository: string): string {
  return `${REPOSITORIES}/${repository}/_manifests/revisions`;
}

export function tagsPath(repository: string): string {
  return `${REPOSITORIES}/${repository}/_manifests/tags`;
}

/** `<algorithm>/<hex>/link`, as it stands below layers, revisions and the index of a tag. */
export function linkPath(digest: string): string {
  const { algorithm, hex } = hexOf(digest);
  return `${algorithm}/${hex}/link`;
}

export function currentPath(repository: string, tag: string): string {
  return `${tagsPath(repository)}/${tag}/current/link`;
}

export function historyPath(repository: string, tag: string, digest: string): string {
  return `${tagsPath(repository)}/${tag}/index/${linkPath(digest)}`;
}

/** The digest of a link by its path; undefined for what is no link. */
export function digestOfLink(path: string): string | undefined {
  const [algorithm, hex, file, ...more] = path.split('/');
  if (algorithm === undefined || hex === undefined || file !== 'link' || more.length > 0) return undefined;
  return parseDigest(`${algorithm}:${hex}`) && `${algorithm}:${hex}`;
}

/** What a file below the tags of a repository is; undefined for what is none of the layout. */
export function tagFileOf(path: string): { tag: string; digest: string | undefined } | undefined {
  const slash = path.indexOf('/');
  const tag = path.slice(0, slash);
  if (slash < 0 || !isTag(tag)) return undefined;
  const rest = path.slice(slash + 1);
  if (rest === 'current/link') return { tag, digest: undefined };
  const digest = rest.startsWith('index/') ? digestOfLink(rest.slice('index/'.length)) : undefined;
  return digest === undefined ? undefined : { tag, digest };
}

/** Longest link that is read: a sha512 digest and white space. */
export const LINK_MOST = 256;

/** The digest that a link file holds; undefined where it is empty or holds something else. */
export function digestIn(bytes: Uint8Array | undefined): string | undefined {
  const text = bytes && Buffer.from(bytes).toString('latin1').trim();
  return text !== undefined && parseDigest(text) ? text : undefined;
}
