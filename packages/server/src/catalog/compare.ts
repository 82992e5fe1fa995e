import { parseManifest } from '@entrepot/oci';
import type { Session } from '../platform/index.ts';
import { platformsOf } from './artifact-content.ts';
import { findManifest, manifestBytes } from './manifests.ts';
import { findManifestInTrash, trashedBytes } from './trash-list.ts';

/** A part of a manifest: a blob, or a child with its platform. */
export interface Part {
  readonly digest: string;
  readonly mediaType: string;
  readonly size: number;
  /** `os/architecture`, with a variant where there is one. */
  readonly platform?: string;
}

export interface Side {
  readonly digest: string;
  readonly mediaType: string;
  readonly blobs: readonly Part[];
  readonly manifests: readonly Part[];
  readonly annotations: Readonly<Record<string, string>>;
}

export interface Difference {
  readonly added: readonly Part[];
  readonly removed: readonly Part[];
  readonly kept: readonly Part[];
}

/** What a manifest consists of; looked for in the trash too where told. Undefined where it is not held. */
export async function sideOf(session: Session, repositoryId: number, digest: string, inTrash: boolean): Promise<Side | undefined> {
  const live = await findManifest(session, repositoryId, digest);
  const item = live || !inTrash ? undefined : await findManifestInTrash(session, repositoryId, digest);
  const bytes = live ? await manifestBytes(session, live.id) : item && (await trashedBytes(session, item.id));
  const mediaType = live?.mediaType ?? item?.mediaType ?? undefined;
  if (!bytes || mediaType === undefined) return undefined;
  const { annotations = {}, blobs, children } = parseManifest(bytes, mediaType);
  const platforms = platformsOf(bytes);
  const part = (each: Part): Part => {
    const platform = platforms.get(each.digest);
    const { digest: own, mediaType: type, size } = each;
    if (!platform) return { digest: own, mediaType: type, size };
    const { os, architecture, variant } = platform;
    return { digest: own, mediaType: type, size, platform: [os, architecture, ...(variant ? [variant] : [])].join('/') };
  };
  return { digest, mediaType, blobs: blobs.map(part), manifests: children.map(part), annotations };
}

/** Parts of one side that the other has not, and those of both; each digest once, in the order of the manifests. */
export function compareParts(from: readonly Part[], to: readonly Part[]): Difference {
  const before = new Map(from.map((part) => [part.digest, part]));
  const after = new Map(to.map((part) => [part.digest, part]));
  return {
    added: [...after.values()].filter(({ digest }) => !before.has(digest)),
    removed: [...before.values()].filter(({ digest }) => !after.has(digest)),
    kept: [...after.values()].filter(({ digest }) => before.has(digest)),
  };
}

/** Keys of annotations that are not the same on both sides. */
export function changedKeys(from: Side['annotations'], to: Side['annotations']): string[] {
  const keys = new Set([...Object.keys(from), ...Object.keys(to)]);
  return [...keys].filter((key) => !Object.hasOwn(from, key) || !Object.hasOwn(to, key) || from[key] !== to[key]).sort();
}
