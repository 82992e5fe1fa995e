import { statSync } from 'node:fs';
import { isRepositoryName, isTag } from '@entrepot/oci';
import { inOrder, openFileTree } from '../adoption/index.ts';
import type { ImportParts } from './blobs.ts';
import { importDockerArchive } from './docker-archive.ts';
import { type Imported, type ImportTarget, importLayout } from './images.ts';
import { archiveSource, folderSource, type ImageSource } from './source.ts';

/** Deepest folder of a repository of zot; longest name has 255 characters. */
const DEPTH = 128;

export interface ImportedRepository extends Imported {
  readonly repository: string;
}

/**
 * Imports an OCI image layout (a folder or an archive), what docker save wrote, or the storage of zot, which is a folder of
 * layouts. `target` is the repository, with a tag or without, and for zot what goes before the names of its repositories.
 * Gives what came into each repository. Throws where there is nothing of the kind.
 */
export async function* importImages(parts: ImportParts, path: string, target: string | undefined): AsyncGenerator<ImportedRepository> {
  const place = target === undefined ? undefined : targetOf(target);
  if (!statSync(path).isDirectory()) {
    if (!place) throw new Error('name the repository that the images are for, such as project/name or project/name:tag');
    const source = await archiveSource(path);
    try {
      yield { repository: place.repository, ...(await importOne(parts, source, place)) };
    } finally {
      await source.close();
    }
    return;
  }
  if (await has(folderSource(path), 'index.json')) {
    if (!place) throw new Error('name the repository that the images are for, such as project/name or project/name:tag');
    yield { repository: place.repository, ...(await importOne(parts, folderSource(path), place)) };
    return;
  }
  if (place?.tag !== undefined) throw new Error('a folder of many layouts takes no tag');
  let found = 0;
  for await (const name of layoutsBelow(path)) {
    found++;
    const repository = place ? `${place.repository}/${name}` : name;
    if (isRepositoryName(repository)) yield { repository, ...(await importLayout(parts, folderSource(`${path}/${name}`), { repository })) };
    else
      yield { repository, images: 0, tags: 0, manifests: 0, bytes: 0, problems: [{ subject: name, problem: 'no name of a repository' }] };
  }
  if (found === 0) throw new Error(`there is no image layout in ${path}`);
}

async function importOne(parts: ImportParts, source: ImageSource, target: ImportTarget): Promise<Imported> {
  // What newer versions of docker save write is both; the layout has the manifests as they were.
  if (await has(source, 'index.json')) return await importLayout(parts, source, target);
  if (await has(source, 'manifest.json')) return await importDockerArchive(parts, source, target);
  throw new Error(`there is no image in ${source.name}: it has neither index.json nor manifest.json`);
}

async function has(source: ImageSource, path: string): Promise<boolean> {
  const reader = await source.open(path);
  await reader?.close();
  return reader !== undefined;
}

/** Folders with an image layout, by their path: each is a repository of zot. */
async function* layoutsBelow(root: string): AsyncGenerator<string> {
  const tree = openFileTree(root);
  async function* below(path: string, depth: number): AsyncGenerator<string> {
    const { folders, others } = await inOrder(tree, path);
    if (path !== '' && others.includes('index.json')) yield path;
    if (depth === 0) return;
    for (const folder of folders) {
      if (folder === 'blobs' || folder.startsWith('.') || folder.startsWith('_')) continue;
      yield* below(path === '' ? folder : `${path}/${folder}`, depth - 1);
    }
  }
  yield* below('', DEPTH);
}

function targetOf(text: string): ImportTarget {
  const colon = text.lastIndexOf(':');
  const repository = colon < 0 ? text : text.slice(0, colon);
  const tag = colon < 0 ? undefined : text.slice(colon + 1);
  if (!isRepositoryName(repository) || (tag !== undefined && !isTag(tag))) throw new Error(`${text} is no repository, nor one with a tag`);
  return { repository, tag };
}
