import type { Compare } from './order.ts';

/** One turn in a range of versions (OSV schema, `affected[].ranges[].events[]`); exactly one of the four is there. */
export interface RangeEvent {
  readonly introduced?: string;
  readonly fixed?: string;
  readonly last_affected?: string;
  readonly limit?: string;
}

/** What is affected of one package: an enumeration, ranges, or both. */
export interface AffectedVersions {
  readonly versions?: readonly string[];
  /** Only those whose versions have an order; ranges of commits say nothing of a package. */
  readonly ranges?: readonly (readonly RangeEvent[])[];
}

/**
 * `affected` with the version that has the fix, where there is one; `unknown` where a version could not be compared, so that
 * nobody may take it for unaffected.
 */
export type Verdict =
  | { readonly state: 'affected'; readonly fixed: string | undefined }
  | { readonly state: 'unaffected' }
  | { readonly state: 'unknown' };

const UNAFFECTED: Verdict = { state: 'unaffected' };

/** Whether a version is affected, by the evaluation of the OSV schema. */
export function judge(version: string, { versions = [], ranges = [] }: AffectedVersions, compare: Compare): Verdict {
  let unknown = false;
  for (const events of ranges) {
    const verdict = judgeRange(version, events, compare);
    if (verdict.state === 'affected') return verdict;
    if (verdict.state === 'unknown') unknown = true;
  }
  if (versions.some((one) => one === version || compare(one, version) === 0)) return { state: 'affected', fixed: undefined };
  return unknown ? { state: 'unknown' } : UNAFFECTED;
}

/** At one version a fix comes before a new beginning, and an end that is itself affected after both. */
const TURNS = ['fixed', 'introduced', 'last_affected'] as const;

function judgeRange(version: string, events: readonly RangeEvent[], compare: Compare): Verdict {
  const limits = events.flatMap(({ limit }) => (limit === undefined || limit === '*' ? [] : [limit]));
  const turns = events.flatMap((event) =>
    TURNS.flatMap((turn) => {
      const at = event[turn];
      return at === undefined ? [] : [{ turn, at, order: turn === 'introduced' && at === '0' ? 1 : compare(version, at) }];
    }),
  );
  const beyond = limits.map((limit) => compare(version, limit));
  if (turns.some(({ order }) => order === undefined) || beyond.includes(undefined)) return { state: 'unknown' };
  if (limits.length > 0 && beyond.every((order) => (order ?? 0) >= 0)) return UNAFFECTED;
  const isBeginning = ({ turn, at }: (typeof turns)[number]) => turn === 'introduced' && at === '0';
  turns.sort((a, b) => {
    if (isBeginning(a) || isBeginning(b)) return Number(isBeginning(b)) - Number(isBeginning(a));
    return (compare(a.at, b.at) ?? 0) || TURNS.indexOf(a.turn) - TURNS.indexOf(b.turn);
  });
  let affected = false;
  for (const { turn, order = 0 } of turns) {
    if (turn === 'introduced' && order >= 0) affected = true;
    if ((turn === 'fixed' && order >= 0) || (turn === 'last_affected' && order > 0)) affected = false;
  }
  if (!affected) return UNAFFECTED;
  return { state: 'affected', fixed: turns.find(({ turn, order = 0 }) => turn === 'fixed' && order < 0)?.at };
}
