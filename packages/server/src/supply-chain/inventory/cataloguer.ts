import type { Budget } from './limits.ts';
import type { Component, ComponentType, OsRelease } from './model.ts';

/** A file of a layer before its content is read. */
export interface Candidate {
  /** From the root of the image, without a leading slash, `.` and `..` resolved. */
  readonly path: string;
  /** Last part of the path. */
  readonly name: string;
  readonly size: number;
  /** Permission bits. */
  readonly mode: number;
  /** The first bytes: up to 512, all where the file is smaller. */
  readonly head: Buffer;
}

/** How much of a file a cataloguer needs. */
export interface Wanted {
  /** Most bytes; the limit of the layer's reader if that is less. */
  readonly most: number;
  /** What becomes of a larger file: `incomplete` (the default) says so in the inventory, `head` gives its first `most` bytes. */
  readonly beyond?: 'incomplete' | 'head';
}

/** A file whose content was read. */
export interface ReadFile extends Candidate {
  /** Its content, or its beginning; valid until `read` has resolved, so that nothing may keep parts of it without a copy. */
  readonly bytes: Buffer;
  readonly isWhole: boolean;
}

/** What a file says. */
export interface Found {
  /** Of the file itself, or of what lies within it; several with the same `inside` are one. */
  readonly evidence?: readonly { readonly inside?: string; readonly components: readonly Component[] }[];
  /** Paths that packages of an operating system own, in whatever form the package manager writes them. */
  readonly owned?: readonly string[];
  readonly osRelease?: OsRelease;
  /** Licences of a package, where they stand in another file than the package does. */
  readonly licences?: { readonly type: ComponentType; readonly name: string; readonly licences: readonly string[] };
  /** What of the file is not as it should be, where the rest counts all the same: then the inventory is incomplete. */
  readonly problem?: string;
}

/**
 * Knows one kind of evidence. It runs where hostile content is read: in a process with neither network nor files. It keeps no
 * state from one file to the next, as files of a layer come in any order and some of them never. What it does not understand is
 * no evidence (`undefined`) where files of that name are often something else, and throws `malformed(…)` where the file could only
 * be evidence: then the inventory is incomplete, with all that was found besides.
 */
export interface Cataloguer {
  readonly name: string;
  /** Its evidence is of the system itself: no package owns it. */
  readonly ofSystem?: boolean;
  /**
   * Whether a file at a path could be evidence, by its path alone; must be cheap. It also decides which paths are remembered as
   * owned by packages or as written by a layer: what it does not claim is never read.
   */
  claims(path: string, name: string): boolean;
  /** Asked of each file that it claims, with its first bytes. */
  wants(file: Candidate): Wanted | undefined;
  /** Throws IncompleteError (limits.ts) through `budget` where the file costs too much. */
  read(file: ReadFile, budget: Budget): Found | undefined | Promise<Found | undefined>;
}
