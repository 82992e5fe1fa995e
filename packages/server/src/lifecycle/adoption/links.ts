import { digestOfLink } from './layout.ts';
import type { TreeEntry, TreeFile, TreeReader } from './tree.ts';

/** A link file by its place; without a digest a file that is none. */
export interface Link {
  readonly digest?: string;
  /** Its path is from the folder on. */
  readonly file: TreeFile;
}

/**
 * The links `<algorithm>/<hex>/link` below a folder. `thorough`: whatever else lies there is found too; else, among files,
 * what lies beside a link is not looked for, as that would take a look into every folder.
 */
export async function* linksIn(tree: TreeReader, folder: string, thorough: boolean): AsyncGenerator<Link> {
  if (tree.isFlat || thorough) {
    for await (const file of tree.files(folder)) yield linkOf(file);
    return;
  }
  for await (const algorithm of tree.entries(folder)) {
    if (algorithm.isFolder) yield* linksOf(tree, folder, algorithm.name);
    else yield* strayIn(tree, folder, algorithm);
  }
}

async function* linksOf(tree: TreeReader, folder: string, algorithm: string): AsyncGenerator<Link> {
  for await (const entry of tree.entries(`${folder}/${algorithm}`)) {
    const path = `${algorithm}/${entry.name}/link`;
    const digest = entry.isFolder ? digestOfLink(path) : undefined;
    const file = digest === undefined ? undefined : await tree.stat(`${folder}/${path}`);
    if (digest !== undefined && file?.isFile) yield { digest, file: { ...file, path } };
    else yield* strayIn(tree, folder, { ...entry, name: `${algorithm}/${entry.name}` });
  }
}

/** What lies where a link was to be. */
async function* strayIn(tree: TreeReader, folder: string, { name, isFolder }: TreeEntry): AsyncGenerator<Link> {
  if (isFolder) {
    for await (const file of tree.files(`${folder}/${name}`)) yield linkOf({ ...file, path: `${name}/${file.path}` });
    return;
  }
  const file = await tree.stat(`${folder}/${name}`);
  if (file) yield linkOf({ ...file, path: name });
}

function linkOf(file: TreeFile): Link {
  const digest = file.isFile ? digestOfLink(file.path) : undefined;
  return { file, ...(digest === undefined ? {} : { digest }) };
}
