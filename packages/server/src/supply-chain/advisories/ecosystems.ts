import type { ComponentType } from '../inventory/model.ts';
import type { Ecosystem } from './model.ts';

/** OSV's names of ecosystems (its schema's list), before the first colon. */
const LANGUAGES = new Map<string, ComponentType>(
  Object.entries({
    npm: 'npm',
    PyPI: 'pypi',
    Go: 'golang',
    Maven: 'maven',
    RubyGems: 'gem',
    Packagist: 'composer',
    'crates.io': 'cargo',
    NuGet: 'nuget',
  }),
);

interface Distribution {
  readonly type: ComponentType;
  /** `ID` of os-release. */
  readonly id: string;
  /** Its release of what stands behind the colon; absent: as it stands there. */
  release?(suffix: string): string;
}

const DISTRIBUTIONS = new Map<string, Distribution>(
  Object.entries({
    Debian: { type: 'deb', id: 'debian' },
    // Ubuntu:22.04:LTS, Ubuntu:Pro:18.04:LTS: what needs a subscription is not what an image without one has.
    Ubuntu: { type: 'deb', id: 'ubuntu', release: (suffix) => (suffix.startsWith('Pro:') ? '' : (suffix.split(':')[0] ?? '')) },
    Alpine: { type: 'apk', id: 'alpine', release: (suffix) => suffix.replace(/^v/, '') },
    Wolfi: { type: 'apk', id: 'wolfi', release: () => 'rolling' },
    Chainguard: { type: 'apk', id: 'chainguard', release: () => 'rolling' },
    AlmaLinux: { type: 'rpm', id: 'almalinux' },
    'Rocky Linux': { type: 'rpm', id: 'rocky' },
    // Red Hat:enterprise_linux:9::baseos
    'Red Hat': { type: 'rpm', id: 'rhel', release: (suffix) => /^enterprise_linux:([0-9]+)/.exec(suffix)?.[1] ?? '' },
    SUSE: {
      type: 'rpm',
      id: 'sles',
      release: (suffix) => /Linux Enterprise Server ([0-9]+(?: SP[0-9]+)?)$/.exec(suffix)?.[1]?.replace(' SP', '.') ?? '',
    },
    openSUSE: { type: 'rpm', id: 'opensuse-leap', release: (suffix) => /^Leap ([0-9.]+)$/.exec(suffix)?.[1] ?? '' },
    'Azure Linux': { type: 'rpm', id: 'azurelinux' },
    Photon: { type: 'rpm', id: 'photon' },
  } satisfies Record<string, Distribution>),
);

/** The ecosystem that OSV means; undefined for one that no component here belongs to. */
export function ecosystemOf(osv: string): Ecosystem | undefined {
  const colon = osv.indexOf(':');
  const [name, suffix] = colon < 0 ? [osv, ''] : [osv.slice(0, colon), osv.slice(colon + 1)];
  const language = LANGUAGES.get(name);
  if (language) return { type: language, distribution: '' };
  const distribution = DISTRIBUTIONS.get(name);
  if (!distribution) return undefined;
  const release = distribution.release ? distribution.release(suffix) : suffix;
  return release === '' ? undefined : { type: distribution.type, distribution: `${distribution.id}:${release}` };
}

/** A package's name as components of that type have it. */
export function packageName(type: ComponentType, name: string): string {
  if (type === 'pypi') return name.toLowerCase().replace(/[-_.]+/g, '-');
  if (type === 'composer' || type === 'nuget') return name.toLowerCase();
  return name;
}
