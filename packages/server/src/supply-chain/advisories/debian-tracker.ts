import type { Advisory, AffectedPackage } from './model.ts';
import { severityOfWord } from './severity.ts';

/** Releases by code name; `sid` is what becomes the next one. */
const RELEASES = new Map(
  Object.entries({
    wheezy: '7',
    jessie: '8',
    stretch: '9',
    buster: '10',
    bullseye: '11',
    bookworm: '12',
    trixie: '13',
    forky: '14',
    duke: '15',
    sid: 'sid',
  }),
);

interface Release {
  readonly status?: 'resolved' | 'open' | 'undetermined';
  readonly fixed_version?: string;
  readonly urgency?: string;
  readonly nodsa_reason?: string;
}

interface Entry {
  readonly description?: string;
  readonly releases?: Readonly<Record<string, Release>>;
}

/**
 * Debian's security tracker (`/tracker/data/json`): for each source package and vulnerability how each release stands, also
 * where no notice was given. Throws TypeError for what is none.
 */
export function* advisoriesFromDebianTracker(tracker: unknown): Generator<Advisory> {
  if (typeof tracker !== 'object' || tracker === null || Array.isArray(tracker))
    throw new TypeError('this is no data of the security tracker');
  const found = new Map<string, { description: string; affected: AffectedPackage[] }>();
  for (const [name, entries] of Object.entries(tracker as Readonly<Record<string, Readonly<Record<string, Entry>> | null>>)) {
    if (typeof entries !== 'object' || entries === null) throw new TypeError(`the tracker's entry of ${name} is none`);
    for (const [id, { description = '', releases = {} }] of Object.entries(entries)) {
      if (!/^(?:CVE|TEMP)-[0-9A-Za-z-]+$/.test(id)) continue;
      const one = found.get(id) ?? { description, affected: [] };
      for (const [codename, release] of Object.entries(releases)) {
        const number = RELEASES.get(codename);
        if (number !== undefined) one.affected.push(standing(name, `debian:${number}`, release));
      }
      found.set(id, one);
    }
  }
  for (const [id, { description, affected }] of found) {
    if (affected.length === 0) continue;
    yield {
      ...{ id, aliases: [], upstream: [], summary: description.slice(0, 500), details: '', severity: 'unknown', cwes: [] },
      references: [`https://security-tracker.debian.org/tracker/${id}`],
      affected,
    };
  }
}

function standing(
  name: string,
  distribution: string,
  { status, fixed_version: fixed, urgency = '', nodsa_reason: reason }: Release,
): AffectedPackage {
  const severity = severityOfWord(urgency);
  const common = { type: 'deb', distribution, name, versions: [], ...(severity === 'unknown' ? {} : { severity }) } as const;
  if (status === 'resolved') {
    if (fixed === undefined || fixed === '0') return { ...common, ranges: [], state: 'not-affected' };
    return { ...common, ranges: [[{ introduced: '0' }, { fixed }]], state: 'affected' };
  }
  const open = { ...common, ranges: [[{ introduced: '0' }]] };
  if (status === 'undetermined') return { ...open, state: 'under-investigation' };
  return { ...open, state: reason === 'ignored' || urgency === 'unimportant' ? 'wont-fix' : 'affected' };
}
