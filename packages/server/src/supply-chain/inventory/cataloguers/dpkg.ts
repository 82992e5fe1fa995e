import type { Cataloguer, Found } from '../cataloguer.ts';
import { malformed } from '../limits.ts';
import type { Component } from '../model.ts';
import { debianLicences } from './debian-licences.ts';
import { linesOf } from './lines.ts';

const STATUS = 'var/lib/dpkg/status';
/** Of images without a package manager (distroless): a file for each package, with what it owns beside. */
const STATUS_FOLDER = 'var/lib/dpkg/status.d/';
const INFO = 'var/lib/dpkg/info/';
const MOST = 64 * 2 ** 20;
const COPYRIGHT = /^usr\/share\/doc\/([a-z0-9][a-z0-9.+-]{0,200})\/copyright$/;
const COPYRIGHT_MOST = 2 ** 20;
/** States of a package whose files are there (dpkg(1), "Package states"). */
const PRESENT = new Set(['installed', 'unpacked', 'half-configured', 'triggers-awaited', 'triggers-pending']);
const WANTED = new Set(['package', 'status', 'version', 'architecture', 'source']);

/** Packages of Debian and what descends from it. */
export const dpkg: Cataloguer = {
  name: 'dpkg',
  ofSystem: true,
  claims: (path) => (path.startsWith('var/lib/dpkg/') && (path === STATUS || isOne(path) || isList(path))) || COPYRIGHT.test(path),
  wants: ({ path }) => (COPYRIGHT.test(path) ? { most: COPYRIGHT_MOST, beyond: 'head' } : { most: MOST }),
  read({ path, bytes }): Found | undefined {
    const [, name] = COPYRIGHT.exec(path) ?? [];
    if (name !== undefined) {
      const licences = debianLicences(bytes);
      return licences.length === 0 ? undefined : { licences: { type: 'deb', name, licences } };
    }
    if (isList(path)) return { owned: [...linesOf(bytes)].map((line) => ownedIn(path, line)).filter((owned) => owned !== '') };
    return packagesOf(bytes);
  },
};

function isOne(path: string): boolean {
  return path.startsWith(STATUS_FOLDER) && !path.endsWith('.md5sums');
}

function isList(path: string): boolean {
  return path.startsWith(INFO) ? path.endsWith('.list') : path.startsWith(STATUS_FOLDER) && path.endsWith('.md5sums');
}

/** A list names a path in each line, a list of sums has the sum before it. */
function ownedIn(path: string, line: string): string {
  return path.endsWith('.list') ? line : line.replace(/^[0-9a-f]{32} [ *]/, '');
}

function packagesOf(bytes: Buffer): Found {
  const components: Component[] = [];
  let problem: string | undefined;
  for (const fields of stanzasOf(bytes)) {
    if (!PRESENT.has(fields.get('status')?.split(/\s+/)[2] ?? 'installed')) continue;
    const component = packageOf(fields);
    if (component) components.push(component);
    else problem = 'an installed package has no name or no version';
  }
  return { evidence: [{ components }], ...(problem === undefined ? {} : { problem }) };
}

/** Paragraphs of fields (deb822(5)), of the fields that count. */
function* stanzasOf(bytes: Buffer): Generator<ReadonlyMap<string, string>> {
  let fields = new Map<string, string>();
  for (const line of linesOf(bytes)) {
    if (line.trim() === '') {
      if (fields.size > 0) yield fields;
      fields = new Map();
      continue;
    }
    if (line.startsWith(' ') || line.startsWith('\t') || line.startsWith('#')) continue; // more of a field that does not count
    const colon = line.indexOf(':');
    const key = line.slice(0, Math.max(colon, 0)).toLowerCase();
    if (key === '') throw malformed('a line of the package database is no field');
    if (!WANTED.has(key)) continue;
    if (fields.has(key)) throw malformed(`a package has the field ${key} twice`);
    fields.set(key, line.slice(colon + 1).trim());
  }
  if (fields.size > 0) yield fields;
}

function packageOf(fields: ReadonlyMap<string, string>): Component | undefined {
  const [name, version, arch] = [fields.get('package'), fields.get('version'), fields.get('architecture')];
  if (name === undefined || version === undefined) return undefined;
  const source = /^(\S+)(?:\s+\((\S+)\))?$/.exec(fields.get('source') ?? '');
  return {
    ...{ type: 'deb', name, version },
    ...(arch === undefined ? {} : { arch }),
    ...(source?.[1] === undefined ? {} : { source: { name: source[1], version: source[2] ?? version } }),
    licences: [],
    foundBy: 'dpkg',
  };
}
