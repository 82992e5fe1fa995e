import { isDigest } from '../digest.ts';
import { isRepositoryName, isTag } from '../reference.ts';

/** What people and pipelines name an image by: `[registry/]repository[:tag][@digest]`. */
export interface ImageReference {
  /** Host and port, as `registry.example:5000`. */
  readonly registry: string;
  readonly repository: string;
  readonly tag: string | undefined;
  readonly digest: string | undefined;
}

const HUB = 'docker.io';
const HOST = /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?$/;

/**
 * Reads a reference as docker does: the first part is a registry where it has a dot or a port or is `localhost`, else it
 * belongs to a repository of Docker Hub, `library/` where it is alone. Without tag and digest the tag is `latest`. Undefined
 * for what is no reference.
 */
export function parseImageReference(text: string): ImageReference | undefined {
  const at = text.indexOf('@');
  const digest = at < 0 ? undefined : text.slice(at + 1);
  const named = at < 0 ? text : text.slice(0, at);
  const slash = named.indexOf('/');
  const first = slash < 0 ? '' : named.slice(0, slash);
  const isHost = first === 'localhost' || first.startsWith('[') || /[.:A-Z]/.test(first);
  const registry = isHost ? first : HUB;
  const path = isHost ? named.slice(slash + 1) : named;
  const colon = path.lastIndexOf(':');
  const tag = colon < 0 ? undefined : path.slice(colon + 1);
  const name = colon < 0 ? path : path.slice(0, colon);
  const repository = registry === HUB && !name.includes('/') ? `library/${name}` : name;
  const isReference =
    HOST.test(registry) && isRepositoryName(repository) && (tag === undefined || isTag(tag)) && (digest === undefined || isDigest(digest));
  if (!isReference) return undefined;
  return { registry, repository, tag: tag ?? (digest === undefined ? 'latest' : undefined), digest };
}

/** The reference in full; with a digest and a tag it has both. */
export function formatImageReference({ registry, repository, tag, digest }: ImageReference): string {
  return `${registry}/${repository}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
}

/** Address of the distribution API of a registry; plain HTTP only for this machine itself, or where it is allowed. */
export function baseUrlOf(registry: string, plainHttp = isLoopback(registry)): string {
  return `${plainHttp ? 'http' : 'https'}://${registry === HUB ? 'registry-1.docker.io' : registry}`;
}

function isLoopback(registry: string): boolean {
  const host = registry.replace(/:[0-9]+$/, '');
  return host === 'localhost' || host === '[::1]' || /^127\.[0-9.]+$/.test(host);
}
