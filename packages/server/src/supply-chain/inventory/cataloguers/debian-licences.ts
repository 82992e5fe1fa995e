import { licencesOf } from '../licences.ts';
import { linesOf } from './lines.ts';

const MACHINE_READABLE = /^Format(?:-Specification)?:\s*\S*(?:copyright-format|dep5?\b)/i;
const MOST = 60;

/** Names of Debian (copyright-format 1.0, "License short name") that SPDX has by another. */
const NAMES: ReadonlyMap<string, string> = new Map([
  ['expat', 'MIT'],
  ['bsd-2-clause', 'BSD-2-Clause'],
  ['bsd-3-clause', 'BSD-3-Clause'],
  ['bsd-4-clause', 'BSD-4-Clause'],
  ['apache-2', 'Apache-2.0'],
  ['artistic', 'Artistic-1.0'],
  ['zlib', 'Zlib'],
  ['isc', 'ISC'],
  ['cc0', 'CC0-1.0'],
  ['python-2.0', 'Python-2.0'],
  ['boost', 'BSL-1.0'],
]);

/** Licences that a copyright file of Debian names; none where it is not in the form that machines read. */
export function debianLicences(bytes: Buffer): string[] {
  const found = new Set<string>();
  let isFirst = true;
  for (const line of linesOf(bytes)) {
    if (isFirst && line.trim() !== '') {
      if (!MACHINE_READABLE.test(line)) return [];
      isFirst = false;
    }
    const [, names] = /^License:[ \t]*(.+)$/i.exec(line) ?? [];
    for (const name of names?.split(/\s+(?:and\/or|and|or)\s+|[,|]/i) ?? []) if (found.size < MOST) found.add(nameOf(name.trim()));
  }
  return licencesOf([...found]);
}

function nameOf(name: string): string {
  const known = NAMES.get(name.toLowerCase());
  if (known !== undefined) return known;
  const gnu = /^([AL]?GPL|GFDL)-(?:v)?([1-9])(?:\.([0-9]))?(\+)?$/i.exec(name);
  if (!gnu) return name;
  return `${gnu[1]?.toUpperCase()}-${gnu[2]}.${gnu[3] ?? 0}-${gnu[4] === '+' ? 'or-later' : 'only'}`;
}
