import type { TarEntry } from '@entrepot/oci';
import type { Cataloguer, Found } from './cataloguer.ts';
import { distinct, presentable } from './components.ts';
import type { Offer } from './file-reader.ts';
import { type Budget, beyond, malformed } from './limits.ts';
import type { Component, Evidence, Incomplete, LayerInventory } from './model.ts';
import { folderOf, nameOf, normalise, targetOf, UNREADABLE, type Whiteout } from './paths.ts';

/** What was seen of a layer so far. */
export interface LayerNotes {
  count(): void;
  readToEnd(archive: { readonly diffId: string; readonly bytes: number }): void;
  /** The first reason counts. */
  incomplete(why: Incomplete): void;
  whiteout(whiteout: Whiteout): void;
  folder(path: string): void;
  /** Something that is no folder takes a path, and so the place of what the layer had there before. */
  write(path: string, type: TarEntry['type']): void;
  link(path: string, target: string): void;
  hardLink(path: string, target: string): void;
  offersOf(path: string): Offer[];
  found(path: string, cataloguer: Cataloguer, found: Found, budget: Budget): void;
  /**
   * Gives each hard link what was found in the file it leads to; the rest is what has to be read again: files, and whom they are to
   * be offered to under which paths.
   */
  settleHardLinks(): Map<string, Offer[]>;
  inventory(digest: string): LayerInventory;
}

interface FoundAt {
  readonly cataloguer: Cataloguer;
  readonly found: Found;
}

const LINK_DEPTH = 2;
const MOST_LINKS = 5000;
const MOST_HARD_LINKS = 100_000;
const MOST_REPLACED_FOLDERS = 1000;
const LONGEST_CHAIN = 16;

export function createLayerNotes(cataloguers: readonly Cataloguer[]): LayerNotes {
  const findings = new Map<string, FoundAt[]>();
  const written = new Set<string>();
  /** Folders that are entries, and folders that something lies in. */
  const folders = new Set<string>();
  const parents = new Set<string>();
  const files = new Set<string>();
  const links = new Map<string, string>();
  const hardLinks = new Map<string, string>();
  const whiteouts = new Set<string>();
  const opaque = new Set<string>();
  let [entries, replacedFolders] = [0, 0];
  let archive: { readonly diffId: string; readonly bytes: number } | undefined;
  let why: Incomplete | undefined;

  let last: { readonly path: string; readonly claimants: readonly Cataloguer[] } = { path: '', claimants: [] };

  function claimants(path: string): readonly Cataloguer[] {
    if (path === last.path) return last.claimants;
    const name = nameOf(path);
    last = { path, claimants: cataloguers.filter((cataloguer) => cataloguer.claims(path, name)) };
    return last.claimants;
  }

  function forget(path: string): void {
    findings.delete(path);
    links.delete(path);
    hardLinks.delete(path);
    written.delete(path);
    files.delete(path);
  }

  /** A folder of the layer's own that something else takes the place of goes with all it had; an honest archive has none such. */
  function forgetBelow(folder: string): void {
    if (++replacedFolders > MOST_REPLACED_FOLDERS) throw malformed('entries of the layer take the place of folders again and again');
    for (const paths of [findings, links, hardLinks, written, folders, parents, files])
      for (const path of paths.keys()) if (path.startsWith(`${folder}/`)) paths.delete(path);
    folders.delete(folder);
    parents.delete(folder);
  }

  function remember(path: string): void {
    for (let folder = folderOf(path); folder !== '' && !parents.has(folder); folder = folderOf(folder)) parents.add(folder);
  }

  function toldFolders(): string[] {
    const known = new Set<string>();
    for (const path of written) for (let at = folderOf(path); at !== '' && !known.has(at); at = folderOf(at)) known.add(at);
    return [...folders].filter((path) => !path.includes(UNREADABLE) && (isShallow(path) || !known.has(path)));
  }

  return {
    count() {
      entries++;
    },
    readToEnd(whole) {
      archive = whole;
    },
    incomplete(reason) {
      why ??= reason;
    },
    whiteout(whiteout) {
      if (whiteout.kind === 'path') whiteouts.add(whiteout.path);
      if (whiteout.kind === 'opaque') opaque.add(whiteout.folder);
    },
    folder(path) {
      forget(path);
      folders.add(path);
      remember(path);
    },
    write(path, type) {
      if (folders.has(path) || parents.has(path)) forgetBelow(path);
      forget(path);
      remember(path);
      if (type !== 'hardlink') files.add(path);
      if (path.includes(UNREADABLE)) return;
      // What has no extension may take the place of a folder.
      if (type === 'symlink' || type === 'hardlink' || !nameOf(path).includes('.') || claimants(path).length > 0) written.add(path);
    },
    link(path, target) {
      if (isShallow(path) && links.size < MOST_LINKS) links.set(path, targetOf(path, target));
    },
    hardLink(path, target) {
      if (hardLinks.size >= MOST_HARD_LINKS) throw beyond('entries');
      hardLinks.set(path, target);
    },
    offersOf: (path) => claimants(path).map((cataloguer) => ({ cataloguer, path })),
    found(path, cataloguer, found, budget) {
      if (found.problem !== undefined) why ??= malformed(`${path}: ${found.problem}`).why;
      const evidence = (found.evidence ?? []).map(({ inside, components }) => {
        const kept = components.flatMap((component) => presentable(component) ?? []);
        if (kept.length < components.length)
          why ??= { reason: 'malformed', detail: `${path}: a component has no name or version, or one that is no text` };
        budget.components(kept.length);
        return { ...(inside === undefined ? {} : { inside }), components: distinct(kept) };
      });
      const owned = (found.owned ?? []).map(normalise).filter((each) => claimants(each).some(({ ofSystem }) => ofSystem !== true));
      const known = (findings.get(path) ?? []).filter((each) => each.cataloguer !== cataloguer);
      findings.set(path, [...known, { cataloguer, found: { ...found, evidence, owned } }]);
    },
    settleHardLinks() {
      const again = new Map<string, Offer[]>();
      for (const [path, link] of hardLinks) {
        const wanting = claimants(path);
        if (wanting.length === 0) continue;
        let target = link;
        for (let step = 0; step < LONGEST_CHAIN && hardLinks.has(target); step++) target = hardLinks.get(target) ?? target;
        if (!files.has(target)) {
          why ??= { reason: 'malformed', detail: `${path} is a hard link to ${target}, which the layer does not have` };
          continue;
        }
        const had = new Set(claimants(target));
        const known = (findings.get(target) ?? []).filter(({ cataloguer }) => wanting.includes(cataloguer));
        if (known.length > 0) findings.set(path, known);
        const others = wanting.filter((cataloguer) => !had.has(cataloguer));
        if (others.length > 0) again.set(target, [...(again.get(target) ?? []), ...others.map((cataloguer) => ({ cataloguer, path }))]);
      }
      return again;
    },
    inventory(digest) {
      const all = [...findings].sort(([a], [b]) => (a < b ? -1 : 1));
      return {
        digest,
        ...(archive ? { diffId: archive.diffId } : {}),
        evidence: all.flatMap(([path, found]) => evidenceOf(path, found)),
        osReleases: all.flatMap(([path, found]) =>
          found.flatMap(({ found: { osRelease } }) => (osRelease ? [{ ...osRelease, path }] : [])),
        ),
        licences: all.flatMap(([path, found]) => found.flatMap(({ found: { licences } }) => (licences ? [{ path, ...licences }] : []))),
        whiteouts: [...whiteouts].sort(),
        opaque: [...opaque].sort(),
        owned: all.flatMap(([by, found]) => {
          const paths = [...new Set(found.flatMap(({ found: { owned = [] } }) => owned))].sort();
          return paths.length === 0 ? [] : [{ by, paths }];
        }),
        written: [...written].sort(),
        folders: toldFolders().sort(),
        links: [...links].map(([path, target]) => ({ path, target })),
        bytes: archive?.bytes ?? 0,
        entries,
        ...(why ? { incomplete: why } : {}),
      };
    },
  };
}

function isShallow(path: string): boolean {
  return path.split('/', LINK_DEPTH + 1).length <= LINK_DEPTH;
}

/** What all cataloguers found in a file, in one piece of evidence for each place in it. */
function evidenceOf(path: string, found: readonly FoundAt[]): Evidence[] {
  const byPlace = new Map<string, Component[]>();
  for (const { inside = '', components } of found.flatMap((each) => each.found.evidence ?? []))
    byPlace.set(inside, [...(byPlace.get(inside) ?? []), ...components]);
  return [...byPlace].flatMap(([inside, components]) =>
    components.length === 0 ? [] : [{ path, ...(inside === '' ? {} : { inside }), components: distinct(components) }],
  );
}
