import { digestOf, parseDigest, parseManifest } from '@entrepot/oci';
import type { Static, TObject } from 'typebox';
import type { Session } from '../platform/index.ts';
import type { ArtifactContent, Platform } from './artifact-schema.ts';
import { findManifest, manifestBytes, type StoredManifest } from './manifests.ts';

export type Content = Static<TObject<typeof ArtifactContent>>;
type Reading = (digest: string, most: number, repositoryId: number) => Promise<Uint8Array | undefined>;

const CONFIG_TYPES: ReadonlySet<string> = new Set([
  'application/vnd.oci.image.config.v1+json',
  'application/vnd.docker.container.image.v1+json',
]);
const CONFIG_BYTES = 256 * 1024;

/** What a stored manifest says; undefined where it was deleted meanwhile. */
export async function contentOf(
  session: Session,
  stored: StoredManifest & { readonly repositoryId: number },
  readBlob: Reading,
): Promise<Content | undefined> {
  const bytes = await manifestBytes(session, stored.id);
  if (!bytes) return undefined;
  const { annotations = {}, blobs, children } = parseManifest(bytes, stored.mediaType);
  const platforms = platformsOf(bytes);
  const config = blobs.find(({ mediaType }) => CONFIG_TYPES.has(mediaType));
  const image = config && imageOf(await readBlob(config.digest, CONFIG_BYTES, stored.repositoryId));
  return {
    manifestSize: stored.size,
    annotations: { ...annotations },
    blobs: blobs.map(({ mediaType, digest, size }) => ({ mediaType, digest, size })),
    children: children.map(({ mediaType, digest, size }) => {
      const platform = platforms.get(digest);
      return { mediaType, digest, size, ...(platform ? { platform } : {}) };
    }),
    ...(image ? { image } : {}),
  };
}

/** Platforms of an index's children (image-spec image-index.md). */
export function platformsOf(manifest: Uint8Array): Map<string, Static<typeof Platform>> {
  const { manifests } = JSON.parse(Buffer.from(manifest).toString()) as { manifests?: unknown };
  const found = new Map<string, Static<typeof Platform>>();
  for (const child of Array.isArray(manifests) ? (manifests as { digest?: unknown; platform?: unknown }[]) : []) {
    const platform = platformOf(child.platform);
    if (typeof child.digest === 'string' && platform) found.set(child.digest, platform);
  }
  return found;
}

function platformOf(given: unknown): Static<typeof Platform> | undefined {
  const { os, architecture, variant, 'os.version': osVersion } = (given ?? {}) as Record<string, unknown>;
  if (typeof os !== 'string' || typeof architecture !== 'string') return undefined;
  return {
    os,
    architecture,
    ...(typeof variant === 'string' ? { variant } : {}),
    ...(typeof osVersion === 'string' ? { osVersion } : {}),
  };
}

/** What a config says of its image (image-spec config.md); whatever else it may be, nothing is. */
function imageOf(config: Uint8Array | undefined): Content['image'] {
  let read: unknown;
  try {
    read = config && JSON.parse(Buffer.from(config).toString());
  } catch {
    return undefined;
  }
  const platform = platformOf(read);
  if (!platform) return undefined;
  const { created, author } = read as Record<string, unknown>;
  return {
    platform,
    ...(typeof created === 'string' ? { created } : {}),
    ...(typeof author === 'string' ? { author } : {}),
    labels: labelsIn(read),
  };
}

function labelsIn(config: unknown): Record<string, string> {
  const { config: settings } = (config ?? {}) as { config?: { Labels?: unknown } | null };
  return Object.fromEntries(
    Object.entries(settings?.Labels ?? {}).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}

export type Labels = Readonly<Record<string, string>>;
const CHILDREN = 50;

/**
 * Labels that the configs of an image say, or of each image of an index, equal ones once; none for what is no image. Undefined
 * where that cannot be told: a config or child is missing, damaged, too large or no JSON. Throws where the store cannot be read.
 */
export async function imageLabels(
  session: Session,
  repositoryId: number,
  digest: string,
  readBlob: Reading,
): Promise<Labels[] | undefined> {
  const found = new Map<string, Labels>();
  let left = CHILDREN;
  async function gather(of: string): Promise<boolean> {
    const stored = await findManifest(session, repositoryId, of);
    const bytes = stored && (await manifestBytes(session, stored.id));
    if (!bytes || left-- === 0) return false;
    const { blobs, children } = parseManifest(bytes, stored.mediaType);
    const config = blobs.find(({ mediaType }) => CONFIG_TYPES.has(mediaType));
    if (config) {
      const text = await readBlob(config.digest, CONFIG_BYTES, repositoryId);
      const isSound = text && digestOf(text, parseDigest(config.digest)?.algorithm) === config.digest;
      const labels = isSound ? readLabels(text) : undefined;
      if (!labels) return false;
      found.set(JSON.stringify(labels), labels);
    }
    for (const child of children) if (!(await gather(child.digest))) return false;
    return true;
  }
  return (await gather(digest)) ? [...found.values()] : undefined;
}

function readLabels(config: Uint8Array): Labels | undefined {
  try {
    return labelsIn(JSON.parse(Buffer.from(config).toString()));
  } catch {
    return undefined;
  }
}
