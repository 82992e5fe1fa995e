import { OS_RELEASE_PATHS } from './cataloguers/os-release.ts';
import { keyOf } from './components.ts';
import type { Component, Evidence, ImageInventory, InstalledComponent, LayerInventory, OsRelease } from './model.ts';
import { folderOf } from './paths.ts';

/** What became of a piece of evidence of a layer in an image. */
export type Fate = 'seen' | 'replaced' | 'owned';

/** An image's inventory, and of each layer, from the bottom, what became of its evidence; in the order of the layer's own. */
export interface Merged {
  readonly image: ImageInventory;
  readonly fates: readonly (readonly Fate[])[];
}

/** Kinds of packages whose own database says what is installed: their files own others, and nothing owns them. */
const SYSTEM_TYPES: ReadonlySet<string> = new Set(['deb', 'apk', 'rpm', 'alpm']);
const MOST_LINKS_FOLLOWED = 16;

/** A file of the image, as the layer that wrote it last left it. */
interface State {
  /** Evidence by its place in the file, with where it stands in its layer's list. */
  readonly evidence: Map<string, { readonly at: number; readonly evidence: Evidence; readonly origins: ReadonlyMap<string, number> }>;
  readonly layer: number;
  owned?: readonly string[];
  osRelease?: OsRelease;
  licences?: LayerInventory['licences'][number];
}

/**
 * Lays layers over each other, from the bottom (image-spec layer.md, "Applying Changesets"): what a higher one writes or takes away
 * hides what lies below. A component belongs to the layer in which its file first said what it says since.
 */
export function mergeLayers(layers: readonly LayerInventory[]): Merged {
  const files = new Map<string, State>();
  let links: ReadonlyMap<string, string> = new Map();
  for (const [index, layer] of layers.entries()) {
    const gone = goneIn(layer, links);
    const before = new Map<string, State>();
    links = linksAfter(links, layer, gone);
    const taken = takenIn(layer, links);
    for (const [path, state] of files) {
      if (gone(path)) files.delete(path);
      else if (taken(path)) {
        before.set(path, state);
        files.delete(path);
      }
    }
    for (const [path, state] of statesOf(layer, index, links, before)) files.set(path, state);
  }
  const owned = new Set<string>();
  for (const state of files.values()) for (const path of state.owned ?? []) owned.add(resolved(path, links));
  return {
    image: {
      ...releaseOf(files),
      components: componentsOf(files, owned, layers),
      incomplete: layers.flatMap(({ digest, incomplete }) => (incomplete ? [{ layer: digest, why: incomplete }] : [])),
    },
    fates: fatesOf(files, owned, layers),
  };
}

/** Whether a file below a layer is taken away by it. */
function goneIn({ whiteouts, opaque }: LayerInventory, links: ReadonlyMap<string, string>): (path: string) => boolean {
  const paths = new Set(whiteouts.map((path) => resolved(path, links)));
  const folders = new Set(opaque.map((path) => resolved(`${path}/x`, links).slice(0, -2)));
  if (paths.size === 0 && folders.size === 0) return () => false;
  return (path) => paths.has(path) || someFolder(path, (folder) => paths.has(folder) || folders.has(folder));
}

/** Whether something of a layer takes the place of a file below: of itself, of a folder it lies in, or a folder in place of it. */
function takenIn({ written, evidence, folders: told }: LayerInventory, links: ReadonlyMap<string, string>): (path: string) => boolean {
  const paths = new Set<string>();
  const folders = new Set(told.map((path) => resolved(path, links)));
  for (const path of [...written, ...evidence.map((each) => each.path)]) {
    const real = resolved(path, links);
    paths.add(real);
    for (let folder = folderOf(real); folder !== '' && !folders.has(folder); folder = folderOf(folder)) folders.add(folder);
  }
  return (path) => paths.has(path) || folders.has(path) || someFolder(path, (folder) => folder !== '' && paths.has(folder));
}

function linksAfter(links: ReadonlyMap<string, string>, layer: LayerInventory, gone: (path: string) => boolean): Map<string, string> {
  const after = new Map([...links].filter(([path]) => !gone(path)));
  // A folder takes the place of a link; only what lies in it without naming it goes through the link.
  for (const path of [...layer.folders, ...layer.written]) after.delete(path);
  for (const { path, target } of layer.links) after.set(path, target);
  return after;
}

/** The path behind the symbolic links that its folders are; its last part is not followed. */
function resolved(path: string, links: ReadonlyMap<string, string>): string {
  if (links.size === 0) return path;
  let real = path;
  for (let step = 0; step < MOST_LINKS_FOLLOWED; step++) {
    const first = real.indexOf('/');
    if (first < 0) return real;
    const second = real.indexOf('/', first + 1);
    const at = links.has(real.slice(0, first)) ? first : second;
    const target = at < 0 ? undefined : links.get(real.slice(0, at));
    if (target === undefined) return real;
    real = target === '' ? real.slice(at + 1) : `${target}${real.slice(at)}`;
  }
  return path; // a circle leads nowhere
}

function someFolder(path: string, isOne: (folder: string) => boolean): boolean {
  for (let folder = path; folder !== ''; ) {
    folder = folderOf(folder);
    if (isOne(folder)) return true;
  }
  return false;
}

/** Files of a layer, with since when each component has been said by the file of that name. */
function statesOf(
  { evidence, owned, osReleases, licences }: LayerInventory,
  index: number,
  links: ReadonlyMap<string, string>,
  before: ReadonlyMap<string, State>,
): Map<string, State> {
  const states = new Map<string, State>();
  const stateAt = (path: string): State => {
    const real = resolved(path, links);
    let state = states.get(real);
    if (!state) {
      state = { evidence: new Map(), layer: index };
      states.set(real, state);
    }
    return state;
  };
  for (const [at, each] of evidence.entries()) {
    const known = before.get(resolved(each.path, links))?.evidence.get(each.inside ?? '')?.origins;
    const origins = new Map(each.components.map((component) => [keyOf(component), known?.get(keyOf(component)) ?? index]));
    stateAt(each.path).evidence.set(each.inside ?? '', { at, evidence: each, origins });
  }
  for (const { by, paths } of owned) stateAt(by).owned = paths;
  for (const { path, ...release } of osReleases) stateAt(path).osRelease = release;
  for (const each of licences) stateAt(each.path).licences = each;
  return states;
}

function releaseOf(files: ReadonlyMap<string, State>): { osRelease?: OsRelease } {
  for (const path of OS_RELEASE_PATHS) {
    const osRelease = files.get(path)?.osRelease;
    if (osRelease) return { osRelease };
  }
  return {};
}

function isOwned(path: string, components: readonly Component[], owned: ReadonlySet<string>): boolean {
  return owned.has(path) && components.every(({ type }) => !SYSTEM_TYPES.has(type));
}

function componentsOf(
  files: ReadonlyMap<string, State>,
  owned: ReadonlySet<string>,
  layers: readonly LayerInventory[],
): InstalledComponent[] {
  interface Installed {
    readonly component: Component;
    readonly paths: Set<string>;
    index: number;
    readonly licences: Set<string>;
  }
  const found = new Map<string, Installed>();
  const byName = new Map<string, Installed[]>();
  for (const [path, state] of files) {
    for (const { evidence, origins } of state.evidence.values()) {
      if (isOwned(path, evidence.components, owned)) continue;
      const place = evidence.inside === undefined ? path : `${path}!/${evidence.inside}`;
      for (const component of evidence.components) {
        const key = keyOf(component);
        const index = origins.get(key) ?? state.layer;
        const known = found.get(key);
        if (!known) {
          const added = { component, paths: new Set([place]), index, licences: new Set(component.licences) };
          const name = `${component.type}\0${component.name}`;
          found.set(key, added);
          byName.set(name, [...(byName.get(name) ?? []), added]);
          continue;
        }
        known.paths.add(place);
        known.index = Math.max(known.index, index);
        for (const licence of component.licences) known.licences.add(licence);
      }
    }
  }
  for (const { licences } of files.values()) {
    if (!licences) continue;
    for (const { component, licences: known } of byName.get(`${licences.type}\0${licences.name}`) ?? []) {
      if (component.licences.length === 0) for (const licence of licences.licences) known.add(licence);
    }
  }
  return [...found.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, { component, paths, index, licences }]) => ({
      ...component,
      licences: [...licences].sort(),
      paths: [...paths].sort(),
      layer: { digest: layers[index]?.digest ?? '', index },
    }));
}

function fatesOf(files: ReadonlyMap<string, State>, owned: ReadonlySet<string>, layers: readonly LayerInventory[]): Fate[][] {
  const fates = layers.map(({ evidence }) => evidence.map((): Fate => 'replaced'));
  for (const [path, state] of files) {
    for (const { at, evidence } of state.evidence.values()) {
      const ofLayer = fates[state.layer];
      if (ofLayer) ofLayer[at] = isOwned(path, evidence.components, owned) ? 'owned' : 'seen';
    }
  }
  return fates;
}
