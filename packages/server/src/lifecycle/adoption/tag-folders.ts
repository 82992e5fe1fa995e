import { isTag } from '@entrepot/oci';
import type { TagMove } from '../../catalog/index.ts';
import type { MaybePromise } from '../../platform/index.ts';
import { ahead } from './ahead.ts';
import { digestIn, digestOfLink, LINK_MOST, tagFileOf } from './layout.ts';
import { type TreeContent, type TreeEntry, type TreeFile, type TreeReader, Unreadable } from './tree.ts';

/** Former positions of one tag that are kept, the newest. */
const MOVES_MOST = 10_000;
const TRIES = 3;
/** Tags that are put in order; some MiB of memory. */
const SORTED = 50_000;
/** Tags of a bucket whose links are asked for at once. */
const AT_ONCE = 48;

/** What the folder of a tag says. */
export interface TagFolder {
  readonly tag: string;
  /** Where it leads, as its `current/link` says: undefined where there is none. */
  readonly current: { readonly digest: string | undefined; readonly size: number; readonly at: number } | Unreadable | undefined;
  /** Positions of its `index`, the present one among them or not, in no order. */
  readonly moves: readonly TagMove[];
}

/** What lies among the tags and is of none: a path from the folder of tags on. */
export interface Stray {
  readonly stray: string;
}

/** What a listing gave of one tag. */
interface Listed {
  readonly tag: string;
  current: TreeFile | undefined;
  moves: TagMove[];
}

/**
 * All tags in a folder of tags, each once. `thorough`: whatever else lies there is found too; else, among files, what lies
 * beside the files of a tag is not looked for: a tag has five folders, and to look into each takes longer than all the rest.
 */
export async function* tagFolders(tree: TreeReader, folder: string, thorough: boolean): AsyncGenerator<TagFolder | Stray> {
  if (tree.isFlat || thorough) {
    const open = async (found: Listed | Stray) => ('stray' in found ? found : await opened(tree, folder, found));
    yield* ahead(listed(tree.files(folder)), tree.isFlat ? AT_ONCE : 1, open);
    return;
  }
  for await (const { name, isFolder } of sorted(tree.entries(folder))) {
    const found = isFolder && isTag(name) ? await probed(tree, folder, name) : undefined;
    if (found) {
      yield found;
      continue;
    }
    // Not as it should be: then all that lies there is looked at.
    const files = isFolder ? below(tree, folder, name) : [{ path: name, size: 0, modifiedAt: 0, isFile: false }];
    for await (const other of listed(files)) yield 'stray' in other ? other : await opened(tree, folder, other);
  }
}

/** In the order of names, so many at a time: rows that come in the order of an index are written once. */
async function* sorted(entries: Iterable<TreeEntry> | AsyncIterable<TreeEntry>): AsyncGenerator<TreeEntry> {
  let some: TreeEntry[] = [];
  const inOrder = () => some.sort((a, b) => (a.name < b.name ? -1 : 1));
  for await (const entry of entries) {
    if (some.push(entry) < SORTED) continue;
    yield* inOrder();
    some = [];
  }
  yield* inOrder();
}

async function* below(tree: TreeReader, folder: string, name: string): AsyncGenerator<TreeFile> {
  for await (const file of tree.files(`${folder}/${name}`)) yield { ...file, path: `${name}/${file.path}` };
}

/** Files of tags gathered by tag; those of one come together. */
async function* listed(files: Iterable<TreeFile> | AsyncIterable<TreeFile>): AsyncGenerator<Listed | Stray> {
  let open: Listed | undefined;
  for await (const file of files) {
    const found = file.isFile ? tagFileOf(file.path) : undefined;
    if (found === undefined) {
      yield { stray: file.path };
      continue;
    }
    if (open?.tag !== found.tag) {
      if (open) yield open;
      open = { tag: found.tag, current: undefined, moves: [] };
    }
    if (found.digest === undefined) open.current = file;
    else open.moves.push({ digest: found.digest, at: file.modifiedAt });
    if (open.moves.length >= 2 * MOVES_MOST) open.moves = newestOf(open.moves);
  }
  if (open) yield open;
}

async function opened(tree: TreeReader, folder: string, { tag, current, moves }: Listed): Promise<TagFolder> {
  return { tag, moves, current: current && (await currentOf(() => readWhole(tree, `${folder}/${current.path}`, current.size))) };
}

/** A link that a listing named with its size; an answer of another one is not believed at once. */
async function readWhole(tree: TreeReader, path: string, size: number): Promise<TreeContent | undefined> {
  for (let tries = 1; ; tries++) {
    const found = await tree.read(path, LINK_MOST);
    if (found?.size === size || tries === TRIES) return found;
  }
}

/** Looks for what the folder of a tag always has; undefined where it has something else. */
async function probed(tree: TreeReader, folder: string, tag: string): Promise<TagFolder | undefined> {
  const path = `${folder}/${tag}`;
  const current = await currentOf(() => tree.read(`${path}/current/link`, LINK_MOST));
  if (current === undefined || current instanceof Unreadable) return undefined;
  let moves: TagMove[] = [];
  for await (const algorithm of tree.entries(`${path}/index`, { few: true })) {
    if (!algorithm.isFolder) return undefined;
    for await (const { name } of tree.entries(`${path}/index/${algorithm.name}`, { few: true })) {
      const link = `${algorithm.name}/${name}/link`;
      const digest = digestOfLink(link);
      if (digest === undefined) return undefined;
      if (digest === current.digest) continue; // its time is that of the current link
      const file = await tree.stat(`${path}/index/${link}`);
      if (!file?.isFile) return undefined;
      moves.push({ digest, at: file.modifiedAt });
      if (moves.length >= 2 * MOVES_MOST) moves = newestOf(moves);
    }
  }
  return { tag, current, moves };
}

async function currentOf(read: () => MaybePromise<TreeContent | undefined>): Promise<TagFolder['current']> {
  let file: TreeContent | undefined;
  try {
    file = await read();
  } catch (error) {
    if (error instanceof Unreadable) return error;
    throw error;
  }
  return file?.isFile ? { digest: digestIn(file.bytes), size: file.size, at: file.modifiedAt } : undefined;
}

/** Positions of a tag in order of time; the one it has is the last, whatever the times of files say. */
export function historyOf(moves: readonly TagMove[], current: TagMove): TagMove[] {
  const past = newestOf(moves.filter(({ digest }) => digest !== current.digest));
  return [...past, { ...current, at: Math.max(current.at, past.at(-1)?.at ?? 0) }];
}

function newestOf(moves: readonly TagMove[]): TagMove[] {
  return [...moves].sort((a, b) => a.at - b.at).slice(-MOVES_MOST);
}
