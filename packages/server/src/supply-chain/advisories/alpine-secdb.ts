import type { Advisory, AffectedPackage } from './model.ts';

const VULNERABILITY = /^[A-Z][A-Z0-9]*-[A-Za-z0-9:-]{3,60}$/;

interface SecDb {
  readonly distroversion?: string;
  readonly packages?: readonly {
    readonly pkg?: { readonly name?: string; readonly secfixes?: Readonly<Record<string, readonly string[]>> };
  }[];
}

/**
 * The security database of Alpine, Wolfi or Chainguard: which version of a source package mends what; 0 for what never
 * affected it. `distribution` as `alpine:3.20`. Throws TypeError for what is none.
 */
export function advisoriesFromSecdb(database: unknown, distribution: string): readonly Advisory[] {
  const { packages } = (database ?? {}) as SecDb;
  if (!Array.isArray(packages)) throw new TypeError('this is no security database of Alpine');
  const affected = new Map<string, AffectedPackage[]>();
  for (const { pkg } of packages as NonNullable<SecDb['packages']>) {
    if (typeof pkg?.name !== 'string') continue;
    for (const [fixed, vulnerabilities] of Object.entries(pkg.secfixes ?? {})) {
      // One entry may name a vulnerability by several names, or say something behind it.
      const names = Array.isArray(vulnerabilities) ? vulnerabilities.flatMap((entry) => String(entry).split(/\s+/)) : [];
      for (const id of new Set(names.filter((name) => VULNERABILITY.test(name)))) {
        const one = affectedBy(pkg.name, fixed, distribution);
        affected.set(id, [...(affected.get(id) ?? []), one]);
      }
    }
  }
  return [...affected].map(([id, list]) => ({
    ...{ id, aliases: [], upstream: [], summary: '', details: '', severity: 'unknown', cwes: [] },
    references: id.startsWith('CVE-') ? [`https://security.alpinelinux.org/vuln/${id}`] : [],
    affected: list,
  }));
}

function affectedBy(name: string, fixed: string, distribution: string): AffectedPackage {
  const common = { type: 'apk', distribution, name, versions: [] } as const;
  if (fixed === '0') return { ...common, ranges: [], state: 'not-affected' };
  return { ...common, ranges: [[{ introduced: '0' }, { fixed }]], state: 'affected' };
}
