import { type Advisory, type AffectedPackage, type AffectedState, SEVERITIES, type Severity } from '../advisories/model.ts';
import type { Component } from '../inventory/model.ts';
import type { Compare } from '../versions/order.ts';
import { judge } from '../versions/ranges.ts';
import { orderOf } from '../versions/schemes.ts';

/** What one source says of one package. */
export interface Statement {
  readonly source: string;
  readonly advisory: Omit<Advisory, 'affected'>;
  readonly affected: AffectedPackage;
}

/** A vulnerability of a component; of all that is said of it one finding. */
export interface Finding {
  /** The CVE where there is one. */
  readonly vulnerability: string;
  readonly aliases: readonly string[];
  /** `unknown`: a version could not be compared, so that it may be affected. */
  readonly state: Exclude<AffectedState, 'not-affected'> | 'unknown';
  /** Version that mends it, as the source package has it. */
  readonly fixed: string | undefined;
  readonly severity: Severity;
  readonly cvss: string | undefined;
  readonly summary: string;
  /** Who says so, by source and id. */
  readonly advisories: readonly { readonly source: string; readonly id: string }[];
  readonly references: readonly string[];
}

/** How advisories name a component: of distributions by its source package. */
function subjectOf({ name, version, source }: Pick<Component, 'name' | 'version' | 'source'>): {
  readonly name: string;
  readonly version: string;
} {
  return source ?? { name, version };
}

/**
 * What is known against a component. `statements` are those of its ecosystem and of the name that `subjectOf` gives;
 * `distribution` is the image's, as `debian:12`, '' for packages of languages.
 */
export function match(component: Component, distribution: string, statements: readonly Statement[]): readonly Finding[] {
  const compare = orderOf(component.type);
  const subject = subjectOf(component);
  const relevant = statements.filter(
    ({ advisory, affected }) =>
      advisory.withdrawn === undefined &&
      affected.type === component.type &&
      affected.distribution === distribution &&
      affected.name === subject.name &&
      ofSameStream(component, affected),
  );
  if (isBesideKernel(component)) return [];
  const found: Finding[] = [];
  for (const { names, told } of groups(relevant)) {
    // A distribution that says it was never affected knows better than whoever counts versions.
    if (told.some(({ affected }) => affected.state === 'not-affected')) continue;
    const finding = findingOf(names, told, subject.version, compare);
    if (finding) found.push(finding);
  }
  return found.sort((a, b) => rank(b.severity) - rank(a.severity) || (a.vulnerability < b.vulnerability ? -1 : 1));
}

interface Group {
  readonly names: ReadonlySet<string>;
  readonly told: readonly Statement[];
}

/** Statements of one vulnerability together, under whatever names. A notice about several is a statement of each. */
function groups(statements: readonly Statement[]): readonly Group[] {
  const byName = new Map<string, { names: Set<string>; told: Set<Statement> }>();
  for (const statement of statements) {
    const { id, aliases, upstream } = statement.advisory;
    const vulnerabilities = upstream.length > 0 ? upstream.map((name) => [name]) : [[id, ...aliases]];
    for (const names of vulnerabilities) {
      const group = { names: new Set(names), told: new Set([statement]) };
      for (const known of new Set(names.flatMap((name) => byName.get(name) ?? []))) {
        for (const name of known.names) group.names.add(name);
        for (const told of known.told) group.told.add(told);
      }
      for (const name of group.names) byName.set(name, group);
    }
  }
  return [...new Set(byName.values())].map(({ names, told }) => ({ names, told: [...told] }));
}

const STATES = ['affected', 'wont-fix', 'under-investigation', 'unknown'] as const;

function findingOf(names: ReadonlySet<string>, told: readonly Statement[], version: string, compare: Compare): Finding | undefined {
  const against = told.flatMap((statement) => {
    const verdict = judge(version, statement.affected, compare);
    if (verdict.state === 'unaffected') return [];
    const state = verdict.state === 'unknown' ? ('unknown' as const) : statement.affected.state;
    return state === 'not-affected' ? [] : [{ statement, state, fixed: verdict.state === 'affected' ? verdict.fixed : undefined }];
  });
  const [first] = against;
  if (!first) return undefined;
  const sorted = [...names].sort((a, b) => Number(b.startsWith('CVE-')) - Number(a.startsWith('CVE-')) || (a < b ? -1 : 1));
  const fixes = against.flatMap(({ fixed }) => fixed ?? []);
  // Whoever takes the newest of the fixes has them all.
  const fixed = fixes.toSorted((a, b) => compare(b, a) ?? 0)[0];
  const state = STATES.find((one) => against.some((item) => item.state === one)) ?? 'unknown';
  const advisories = against.map(({ statement }) => statement);
  const own = advisories.map(({ affected }) => affected.severity).find((severity) => severity !== undefined && severity !== 'unknown');
  const others = advisories.map(({ advisory }) => advisory.severity).toSorted((a, b) => rank(b) - rank(a));
  return {
    vulnerability: sorted[0] ?? '',
    aliases: sorted.slice(1),
    state: fixed === undefined ? state : 'affected',
    fixed,
    severity: own ?? others[0] ?? 'unknown',
    cvss: advisories.map(({ advisory }) => advisory.cvss).find((cvss) => cvss !== undefined),
    summary: advisories.map(({ advisory }) => advisory.summary).find((summary) => summary !== '') ?? '',
    advisories: advisories.map(({ source, advisory }) => ({ source, id: advisory.id })),
    references: [...new Set(advisories.flatMap(({ advisory }) => advisory.references))].slice(0, 20),
  };
}

function rank(severity: Severity): number {
  return SEVERITIES.indexOf(severity);
}

/** Packages of a module stream are numbered apart from those of the base: one says nothing of the other. */
function ofSameStream({ type, modularity }: Component, { ranges }: AffectedPackage): boolean {
  if (type !== 'rpm') return true;
  const fixes = ranges.flat().flatMap(({ fixed }) => fixed ?? []);
  return fixes.length === 0 || fixes.some((fixed) => /[.+]module[_+]/.test(fixed)) === (modularity !== undefined && modularity !== '');
}

/** Headers and documents of the kernel come from its source and run none of it. */
function isBesideKernel({ type, name, source }: Component): boolean {
  return (
    type === 'deb' &&
    source !== undefined &&
    /^linux(?:-|$)/.test(source.name) &&
    /^linux-(?:libc-dev|headers|doc|source|kbuild|compiler)/.test(name)
  );
}
