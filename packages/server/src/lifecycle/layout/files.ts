import { type Manifest, parseManifest } from '@entrepot/oci';
import { findBlob, findManifest, findRepository, findTag, manifestBytes, referenceTo } from '../../catalog/index.ts';
import { type BlobStore, readSmall } from '../../content/index.ts';
import type { Database } from '../../platform/index.ts';
import {
  currentPath,
  digestIn,
  historyPath,
  LINK_MOST,
  layersPath,
  linkPath,
  REPOSITORIES,
  revisionsPath,
  type TreeReader,
  type TreeWriter,
  tagsPath,
} from '../adoption/index.ts';

export interface LayoutParts {
  readonly database: Database;
  readonly blobs: BlobStore;
  /** The storage, from the folder that has `blobs` and `repositories`. */
  readonly tree: TreeReader & TreeWriter;
  readonly manifestMaxBytes: number;
}

/** What belongs to a repository's folder, and not to the repositories below it. */
const OWN = ['_manifests', '_layers', '_uploads'];

/**
 * Makes the files by which registry:2 knows a manifest what the catalogue says of it now: its bytes as a blob, then links of
 * its layers, then its own; in the other order where it is gone and `remove` says that this was announced. Each file is durable before the next, so that whatever is
 * linked is there, and what is done already is not done again.
 */
export async function writeManifestFiles(parts: LayoutParts, repository: string, digest: string, { remove = false } = {}): Promise<void> {
  const { database, blobs, tree } = parts;
  const found = await findRepository(database, repository);
  const stored = found && (await findManifest(database, found.id, digest));
  const revision = `${revisionsPath(repository)}/${linkPath(digest)}`;
  if (!found || !stored) {
    if (remove) await removeManifestFiles(parts, repository, digest, revision);
    return;
  }
  const bytes = await manifestBytes(database, stored.id);
  if (!bytes) return; // gone since, which is told by an event of its own
  const { blobs: needed, children } = parseManifest(bytes, stored.mediaType);
  const blob = await blobs.open(digest);
  await blob?.close();
  if (blob?.size !== bytes.length) await blobs.put(digest, bytes);
  for (const { digest: layer } of needed) {
    if (await findBlob(database, found.id, layer)) await ensureLink(tree, `${layersPath(repository)}/${linkPath(layer)}`, layer);
  }
  for (const child of children) {
    if (await tree.stat(`${revisionsPath(repository)}/${linkPath(child.digest)}`)) continue;
    if (await findManifest(database, found.id, child.digest)) await writeManifestFiles(parts, repository, child.digest);
  }
  await ensureLink(tree, revision, digest);
}

/** Layers that nothing needs any more lose their link with the manifest; others may be on their way for another one, which writes it anew. */
async function removeManifestFiles(parts: LayoutParts, repository: string, digest: string, revision: string): Promise<void> {
  const { database, tree } = parts;
  await tree.remove(revision);
  const found = await findRepository(database, repository);
  for (const layer of await layersOf(parts, digest)) {
    const needed = found && (await referenceTo(database, found.id, layer, 'blob'));
    if (!needed) await tree.remove(`${layersPath(repository)}/${linkPath(layer)}`);
  }
}

/** What a manifest needed, by its bytes, which outlive it for a while. */
async function layersOf({ blobs, manifestMaxBytes }: LayoutParts, digest: string): Promise<string[]> {
  const bytes = await readSmall(blobs, digest, manifestMaxBytes);
  return bytes ? (parsed(bytes)?.blobs ?? []).map((layer) => layer.digest) : [];
}

function parsed(bytes: Uint8Array): Manifest | undefined {
  try {
    return parseManifest(bytes, undefined);
  } catch {
    return undefined; // whatever lies there, it needs nothing that we know of
  }
}

/** Makes the files of a tag what the catalogue says of it now; `past` are digests that it had, as far as they are still there. */
export async function writeTagFiles(parts: LayoutParts, repository: string, tag: string, past: readonly string[] = []): Promise<void> {
  const { database, tree } = parts;
  const found = await findRepository(database, repository);
  const digest = found && (await findTag(database, found.id, tag));
  if (!found || digest === undefined) return await tree.removeFolder(`${tagsPath(repository)}/${tag}`);
  for (const former of past) {
    if (former !== digest && (await findManifest(database, found.id, former)))
      await ensureLink(tree, historyPath(repository, tag, former), former);
  }
  // Its manifest's files come first, whatever order events have.
  if (!(await tree.stat(`${revisionsPath(repository)}/${linkPath(digest)}`))) await writeManifestFiles(parts, repository, digest);
  await ensureLink(tree, historyPath(repository, tag, digest), digest);
  await ensureLink(tree, currentPath(repository, tag), digest);
}

/** Removes the files of a repository, not of those below it. */
export async function removeRepositoryFiles({ tree }: LayoutParts, repository: string): Promise<void> {
  for (const folder of OWN) await tree.removeFolder(`${REPOSITORIES}/${repository}/${folder}`);
}

async function ensureLink(tree: TreeReader & TreeWriter, path: string, digest: string): Promise<void> {
  if (digestIn((await tree.read(path, LINK_MOST))?.bytes) !== digest) await tree.write(path, Buffer.from(digest));
}
