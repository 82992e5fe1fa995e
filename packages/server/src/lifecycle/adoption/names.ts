import { isRepositoryName } from '@entrepot/oci';
import type { Finding } from './findings.ts';
import { REPOSITORIES } from './layout.ts';
import type { TreeReader } from './tree.ts';

/** What a repository's folder has besides the folders of repositories below it. */
const OWN = new Set(['_layers', '_manifests', '_uploads']);

/**
 * Walks the folders of repositories, each before those below it and in one order always: a repository is a folder with one
 * whose name begins with an underscore. Gives names, and what does not belong there.
 */
export async function* repositoriesIn(
  tree: TreeReader,
  above: readonly string[] = [],
): AsyncIterable<{ name: string } | { finding: Finding }> {
  const name = above.join('/');
  const place = [REPOSITORIES, ...above].join('/');
  const { folders, others } = await inOrder(tree, place);
  const found = (kind: Finding['kind'], entry: string, detail: string) => ({
    finding: { kind, repository: '', subject: `${place}/${entry}`, detail },
  });
  const own = folders.filter((folder) => folder.startsWith('_'));
  if (name !== '' && own.some((folder) => OWN.has(folder))) yield { name };
  for (const entry of others) yield found('foreign-file', entry, 'no folder');
  for (const entry of own) if (name === '' || !OWN.has(entry)) yield found('foreign-file', entry, 'not of the layout');
  for (const folder of folders) {
    if (folder.startsWith('_')) continue;
    const below = [...above, folder];
    if (isRepositoryName(below.join('/'))) yield* repositoriesIn(tree, below);
    else yield found('invalid-name', folder, 'no name of a repository');
  }
}

/** Names of the folders directly in a folder, and of what else lies there, each in one order always. */
export async function inOrder(tree: TreeReader, path: string): Promise<{ readonly folders: string[]; readonly others: string[] }> {
  const folders: string[] = [];
  const others: string[] = [];
  for await (const { name, isFolder } of tree.entries(path)) (isFolder ? folders : others).push(name);
  return { folders: folders.sort(), others: others.sort() };
}

/** Whether a name comes after another in the order of the walk. */
export function isAfter(name: string, other: string): boolean {
  const [left, right] = [name.split('/'), other.split('/')];
  for (const [at, part] of left.entries()) {
    const against = right[at];
    if (against === undefined) return true;
    if (part !== against) return part > against;
  }
  return false;
}
