/** What is known to be exploited (CISA's catalogue). */
export interface Exploited {
  readonly cve: string;
  /** `YYYY-MM-DD`. */
  readonly added: string;
  readonly ransomware: boolean;
}

const CVE = /^CVE-[0-9]{4}-[0-9]{4,}$/;
const DAY = /^[0-9]{4}-[0-9]{2}-[0-9]{2}$/;

/** The catalogue of known exploited vulnerabilities. Throws TypeError for what is none. */
export function exploitedFromKev(catalogue: unknown): readonly Exploited[] {
  const { vulnerabilities } = (catalogue ?? {}) as { vulnerabilities?: unknown };
  if (!Array.isArray(vulnerabilities)) throw new TypeError('this is no catalogue of exploited vulnerabilities');
  return vulnerabilities.flatMap((entry: unknown): Exploited[] => {
    const { cveID, dateAdded, knownRansomwareCampaignUse: use } = (entry ?? {}) as Readonly<Record<string, unknown>>;
    if (typeof cveID !== 'string' || !CVE.test(cveID) || typeof dateAdded !== 'string' || !DAY.test(dateAdded)) return [];
    return [{ cve: cveID, added: dateAdded, ransomware: use === 'Known' }];
  });
}

/** How probable it is that a vulnerability is exploited within 30 days, and among how many it is the more probable; 0 to 1. */
export interface ExploitProbability {
  readonly cve: string;
  readonly probability: number;
  readonly percentile: number;
}

/**
 * One line of the daily EPSS file (`cve,epss,percentile` under a comment and a heading); undefined for lines that are no
 * score. Throws TypeError for a line that ought to be one and is none.
 */
export function probabilityFromEpss(line: string): ExploitProbability | undefined {
  if (line === '' || line.startsWith('#') || line.startsWith('cve,')) return undefined;
  const [cve = '', epss, rank] = line.split(',');
  const [probability, percentile] = [Number(epss), Number(rank)];
  const isShare = (value: number) => value >= 0 && value <= 1;
  if (!CVE.test(cve) || !isShare(probability) || !isShare(percentile)) throw new TypeError('a line of the scores is none');
  return { cve, probability, percentile };
}
