/** Kinds of packages, as package URLs name them; `binary` is what a classifier recognised in a file that no package owns. */
export const COMPONENT_TYPES = [
  'deb',
  'apk',
  'rpm',
  'alpm',
  'npm',
  'pypi',
  'golang',
  'maven',
  'gem',
  'composer',
  'cargo',
  'nuget',
  'conda',
  'binary',
] as const;

export type ComponentType = (typeof COMPONENT_TYPES)[number];

/** Something that is installed. Two are the same where all of this is. */
export interface Component {
  readonly type: ComponentType;
  /** As the ecosystem writes it, normalised by its rules; of Maven `group:artifact`, of npm with its scope, of Go the module path. */
  readonly name: string;
  /** As installed, with epoch and release where there are such. */
  readonly version: string;
  readonly arch?: string;
  /** What the package was built from: advisories of distributions name sources. Absent where it is the same. */
  readonly source?: { readonly name: string; readonly version: string };
  /** Label of an RPM module stream. */
  readonly modularity?: string;
  /** SPDX expressions, or what was found where it is none (then `LicenseRef-…`). */
  readonly licences: readonly string[];
  /** Of binaries of Go: packages that are linked in, for hints on what can be reached. */
  readonly symbols?: readonly string[];
  /** Name of the cataloguer. */
  readonly foundBy: string;
}

/** A file of a layer that says what is installed, with what it says. */
export interface Evidence {
  /** Path from the root of the image, without a leading slash. */
  readonly path: string;
  /** Where in it, if it is an archive, such as `BOOT-INF/lib/a.jar`; archives within it are parted by `!/`. */
  readonly inside?: string;
  readonly components: readonly Component[];
}

/** `os-release`, as far as it counts. */
export interface OsRelease {
  /** `debian`, `alpine`, `rhel`, …; lower case. */
  readonly id: string;
  readonly versionId: string;
  readonly idLike: readonly string[];
  readonly prettyName: string;
  /** `bookworm`; distributions that go on without an end have no version. */
  readonly codename?: string;
  /** `SUPPORT_END` of the file itself, `YYYY-MM-DD`. */
  readonly supportEnd?: string;
}

/** What ran out: `memory` of the process that reads, the others as counted. */
export type Limit = 'entries' | 'bytes' | 'ratio' | 'nesting' | 'time' | 'components' | 'memory';

/** Why an inventory does not say everything: then nothing may be called clean. */
export type Incomplete =
  | { readonly reason: 'limit'; readonly limit: Limit }
  | { readonly reason: 'malformed'; readonly detail: string }
  /** Encrypted, or not in this registry. */
  | { readonly reason: 'unscannable'; readonly detail: string }
  /** The process that reads ended without an answer. */
  | { readonly reason: 'failed'; readonly detail: string };

/** What one layer holds, whatever lies below it. Made once for each digest. */
export interface LayerInventory {
  readonly digest: string;
  /** Uncompressed digest, as `rootfs.diff_ids` names it; absent where the layer was not read to its end. */
  readonly diffId?: string;
  readonly evidence: readonly Evidence[];
  /** Each file that says which operating system this is; which of them counts is seen where all layers lie over each other. */
  readonly osReleases: readonly (OsRelease & { readonly path: string })[];
  /** Licences of packages that stand in files of their own, as Debian has them. */
  readonly licences: readonly {
    readonly path: string;
    readonly type: ComponentType;
    readonly name: string;
    readonly licences: readonly string[];
  }[];
  /** Paths that the layer takes away from those below, and folders whose content it hides. */
  readonly whiteouts: readonly string[];
  readonly opaque: readonly string[];
  /** Paths that packages of the operating system own, by the file that says so, as far as other cataloguers could find something there. */
  readonly owned: readonly { readonly by: string; readonly paths: readonly string[] }[];
  /** Paths of what is no folder, as far as evidence of a layer below could lie there or below. */
  readonly written: readonly string[];
  /**
   * Folders that the layer has as entries: those of the first two levels, as they take the place of links, and those below which
   * nothing else is told, as a file below may have their name.
   */
  readonly folders: readonly string[];
  /** Symbolic links of the first two levels, such as `lib` to `usr/lib`: whoever names a path may mean the one behind. */
  readonly links: readonly { readonly path: string; readonly target: string }[];
  /** Uncompressed bytes and entries that were read. */
  readonly bytes: number;
  readonly entries: number;
  readonly incomplete?: Incomplete;
}

/** A component of an image. */
export interface InstalledComponent extends Component {
  /** Where the image's file system says it is installed. */
  readonly paths: readonly string[];
  /** The layer that last wrote its evidence, and its place from the bottom. */
  readonly layer: { readonly digest: string; readonly index: number };
}

/** What an image holds: its layers, one over the other. */
export interface ImageInventory {
  readonly osRelease?: OsRelease;
  readonly components: readonly InstalledComponent[];
  /** Of each layer that does not say everything. */
  readonly incomplete: readonly { readonly layer: string; readonly why: Incomplete }[];
}
