import type { Cataloguer, Found } from '../cataloguer.ts';
import type { OsRelease } from '../model.ts';
import { linesOf } from './lines.ts';

const MOST = 64 * 1024;
const LONGEST = 256;

/** Files that name the operating system, those that count more first; the others are of times before os-release, or of no other use. */
const READERS: ReadonlyMap<string, (bytes: Buffer) => OsRelease | undefined> = new Map(
  Object.entries({
    'etc/os-release': osReleaseOf,
    'usr/lib/os-release': osReleaseOf,
    'etc/alpine-release': (bytes: Buffer) => plain('alpine', 'Alpine Linux', /^([0-9]+\.[0-9]+(?:\.[0-9]+)?\S*)/, bytes),
    'etc/oracle-release': (bytes: Buffer) => plain('ol', 'Oracle Linux', /release ([0-9.]+)/, bytes),
    'etc/centos-release': (bytes: Buffer) => plain('centos', 'CentOS', /release ([0-9.]+)/, bytes),
    'etc/redhat-release': redHatReleaseOf,
    'etc/debian_version': (bytes: Buffer) => plain('debian', 'Debian GNU/Linux', /^([0-9]+)(?:\.[0-9]+)?\s*$/, bytes),
  }),
);

/** Paths by how much they count. */
export const OS_RELEASE_PATHS: readonly string[] = [...READERS.keys()];

/** Which operating system it is. */
export const osRelease: Cataloguer = {
  name: 'os-release',
  ofSystem: true,
  claims: (path) => READERS.has(path),
  wants: () => ({ most: MOST }),
  read({ path, bytes }): Found | undefined {
    const found = READERS.get(path)?.(bytes);
    return found && { osRelease: found };
  },
};

/** `os-release` (os-release(5)): assignments as a shell reads them, without expansions. */
function osReleaseOf(bytes: Buffer): OsRelease | undefined {
  const values = new Map<string, string>();
  for (const line of linesOf(bytes)) {
    const match = /^\s*([A-Z][A-Z0-9_]*)=(.*)$/.exec(line);
    if (match) values.set(match[1] ?? '', unquoted((match[2] ?? '').trim()).slice(0, LONGEST));
  }
  const id = (values.get('ID') ?? '').toLowerCase();
  if (!/^[a-z0-9._-]+$/.test(id)) return undefined;
  const [codename, supportEnd] = [values.get('VERSION_CODENAME'), values.get('SUPPORT_END')];
  return {
    id,
    versionId: oneLine(values.get('VERSION_ID') ?? ''),
    idLike: (values.get('ID_LIKE') ?? '')
      .toLowerCase()
      .split(/\s+/)
      .filter((like) => /^[a-z0-9._-]+$/.test(like)),
    prettyName: oneLine(values.get('PRETTY_NAME') ?? values.get('NAME') ?? id),
    ...(codename === undefined || codename === '' ? {} : { codename: oneLine(codename) }),
    ...(supportEnd !== undefined && /^[0-9]{4}-[0-9]{2}-[0-9]{2}$/.test(supportEnd) ? { supportEnd } : {}),
  };
}

function unquoted(text: string): string {
  const [quote = ''] = text;
  if (quote === "'") return /^'([^']*)'/.exec(text)?.[1] ?? '';
  if (quote === '"') return (/^"((?:[^"\\]|\\.)*)"/.exec(text)?.[1] ?? '').replace(/\\([$"\\`])/g, '$1');
  return (/^(?:[^\s\\'"]|\\.)*/.exec(text)?.[0] ?? '').replace(/\\(.)/g, '$1');
}

function oneLine(text: string): string {
  return text.replace(/\p{Cc}/gu, ' ').trim();
}

function plain(id: string, name: string, pattern: RegExp, bytes: Buffer): OsRelease | undefined {
  const text = bytes.toString('utf8').trim();
  const versionId = pattern.exec(text)?.[1];
  if (versionId === undefined || text.length > LONGEST) return undefined;
  return { id, versionId, idLike: [], prettyName: id === 'alpine' || id === 'debian' ? `${name} ${versionId}` : oneLine(text) };
}

/** `etc/redhat-release` of Red Hat's own and of what is made from it. */
const RED_HATS: readonly (readonly [RegExp, string, string])[] = [
  [/^Red Hat/, 'rhel', 'Red Hat Enterprise Linux'],
  [/^CentOS/, 'centos', 'CentOS'],
  [/^Fedora/, 'fedora', 'Fedora'],
];

function redHatReleaseOf(bytes: Buffer): OsRelease | undefined {
  const text = bytes.toString('utf8');
  const known = RED_HATS.find(([pattern]) => pattern.test(text));
  return known && plain(known[1], known[2], /release ([0-9.]+)/, bytes);
}
