// Grammars of distribution-spec, "Pulling manifests".
const NAME = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;

/** Longest repository name accepted; clients cap host and name together at 255. */
export const NAME_MAX_LENGTH = 255;

export function isRepositoryName(text: string): boolean {
  return text.length <= NAME_MAX_LENGTH && NAME.test(text);
}

export function isTag(text: string): boolean {
  return TAG.test(text);
}

/** The project of a repository is the first path component of its name. */
export function projectOf(repository: string): string {
  const slash = repository.indexOf('/');
  return slash < 0 ? repository : repository.slice(0, slash);
}

/** The tag under which clients without the referrers API keep the referrers of a digest (distribution-spec, "Referrers tag schema"). */
export function referrersTag(digest: string): string {
  const colon = digest.indexOf(':');
  const part = (text: string, limit: number) => text.slice(0, limit).replace(/[^a-zA-Z0-9._-]/g, '-');
  return `${part(digest.slice(0, colon), 32)}-${part(digest.slice(colon + 1), 64)}`;
}

const REFERRERS_TAG = /^(sha256|sha512)-([a-f0-9]{64})$/;

/** Prefix of the digests whose referrers a tag of the fallback schema holds: a whole sha256 digest, the first 64 digits of a sha512 one. */
export function referrersTagSubjectPrefix(tag: string): string | undefined {
  const match = REFERRERS_TAG.exec(tag);
  return match ? `${match[1]}:${match[2]}` : undefined;
}
