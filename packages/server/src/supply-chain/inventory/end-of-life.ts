import type { OsRelease } from './model.ts';
import { RELEASE_ENDS, type ReleaseEnd } from './release-ends.ts';

/** Whether a release of an operating system still gets updates, and so whether advisories say anything of it. */
export interface Support {
  /**
   * `extended`: volunteers go on, as Debian LTS; `ended`: nobody does, or only for who pays (`paidUntil`); `rolling`: it has no
   * releases; `unknown`: nobody here knows it.
   */
  readonly state: 'supported' | 'extended' | 'ended' | 'rolling' | 'unknown';
  /** End of updates for everybody, `YYYY-MM-DD`. */
  readonly end?: string;
  readonly paidUntil?: string;
}

/** Distributions without releases, by `ID`. */
const ROLLING: ReadonlySet<string> = new Set([
  'wolfi',
  'chainguard',
  'arch',
  'archarm',
  'manjaro',
  'opensuse-tumbleweed',
  'gentoo',
  'void',
]);
/** Releases are named by their first number. */
const BY_MAJOR: ReadonlySet<string> = new Set(['debian', 'rhel', 'almalinux', 'rocky', 'ol', 'centos', 'centos-stream', 'fedora']);

/** A release as tables and advisories name it: its distribution, and its version without what changes within one release. */
export function releaseKeyOf({ id, versionId, prettyName }: OsRelease): { readonly distribution: string; readonly release: string } {
  const distribution = id === 'centos' && /stream/i.test(prettyName) ? 'centos-stream' : id;
  if (distribution === 'alpine') return { distribution, release: /^[0-9]+\.[0-9]+/.exec(versionId)?.[0] ?? versionId };
  const release = BY_MAJOR.has(distribution) && versionId !== '' ? (versionId.split('.', 1)[0] ?? '') : versionId;
  return { distribution, release };
}

/** What is known of a release at a time, in milliseconds since 1970. */
export function supportOf(osRelease: OsRelease, now: number): Support {
  const { distribution, release } = releaseKeyOf(osRelease);
  if (ROLLING.has(distribution) || isUnreleased(osRelease)) return { state: 'rolling' };
  const today = new Date(now).toISOString().slice(0, 10);
  const { end, extended, paid } = ofTable(distribution, release) ?? { end: osRelease.supportEnd };
  if (end === undefined) return { state: 'unknown' };
  const state = today <= end ? 'supported' : extended !== undefined && today <= extended ? 'extended' : 'ended';
  return { state, end, ...(paid === undefined ? {} : { paidUntil: paid }) };
}

function ofTable(distribution: string, release: string): ReleaseEnd | undefined {
  const releases = Object.hasOwn(RELEASE_ENDS, distribution) ? RELEASE_ENDS[distribution] : undefined;
  return releases && Object.hasOwn(releases, release) ? releases[release] : undefined;
}

/** What will be the next release: Debian testing and unstable have no version yet, edge of Alpine has one that says so. */
function isUnreleased({ id, versionId }: OsRelease): boolean {
  return (id === 'debian' && versionId === '') || (id === 'alpine' && /_(?:alpha|beta|rc)|edge/.test(versionId));
}
