import type { ComponentType } from '../inventory/model.ts';
import type { RangeEvent } from '../versions/ranges.ts';

/** How bad, in the words that all sources share. */
export const SEVERITIES = ['unknown', 'negligible', 'low', 'medium', 'high', 'critical'] as const;

export type Severity = (typeof SEVERITIES)[number];

/**
 * Where packages of one naming and numbering live: the type of their components, and for packages of an operating system its
 * distribution and release as `os-release` names them, `debian:12`, `alpine:3.20`, `almalinux:9`; `alpine:edge` and
 * `wolfi:` are rolling. Languages have no distribution.
 */
export interface Ecosystem {
  readonly type: ComponentType;
  readonly distribution: string;
}

/** What a source says of a package besides versions. */
export type AffectedState =
  /** Affected in the versions that are named; the usual one. */
  | 'affected'
  /** Affected, and the distribution will not mend it. */
  | 'wont-fix'
  | 'under-investigation'
  /** Never affected: hides what others say of the same package. */
  | 'not-affected';

export interface AffectedPackage extends Ecosystem {
  /** As components are named: of distributions the source package. */
  readonly name: string;
  readonly versions: readonly string[];
  readonly ranges: readonly (readonly RangeEvent[])[];
  readonly state: AffectedState;
  /** The distribution's own, which counts before the advisory's. */
  readonly severity?: Severity;
  /** Of Go: what has to be reached for the vulnerability to matter, by package path; no symbols: all of the package. */
  readonly symbols?: readonly { readonly path: string; readonly symbols: readonly string[] }[];
}

/** One vulnerability as one source tells of it: the one inner form of all sources, after OSV 1.7. */
export interface Advisory {
  /** As the source names it. */
  readonly id: string;
  /** Other names of the same vulnerability. */
  readonly aliases: readonly string[];
  /** Of a distribution's notice: the vulnerabilities that it is about, each a matter of its own. */
  readonly upstream: readonly string[];
  readonly summary: string;
  readonly details: string;
  /** Milliseconds since 1970; absent where unknown. */
  readonly published?: number;
  readonly modified?: number;
  /** Taken back by its source: counts for nothing from then on. */
  readonly withdrawn?: number;
  readonly severity: Severity;
  /** Vector of the best CVSS version that the source gives. */
  readonly cvss?: string;
  readonly cwes: readonly string[];
  readonly references: readonly string[];
  readonly affected: readonly AffectedPackage[];
}
