import type { RangeEvent } from '../versions/ranges.ts';
import { ecosystemOf, packageName } from './ecosystems.ts';
import { type Fields, fieldsOf, listOf } from './json.ts';
import { type Advisory, type AffectedPackage, type Ecosystem, SEVERITIES, type Severity } from './model.ts';
import { cvssScore, severityOfScore, severityOfWord } from './severity.ts';

/** A record that is no OSV, or beyond what any real one has. */
export class AdvisoryError extends Error {
  override name = 'AdvisoryError';
}

const ID = /^[A-Za-z0-9][A-Za-z0-9._:/+-]{0,127}$/;
const MAX_AFFECTED = 5000;
const MAX_VERSIONS = 20_000;
const MAX_TEXT = 20_000;
const MAX_REFERENCES = 100;

/**
 * A record of OSV (schema 1.7) in the inner form, without what no component here can meet: ecosystems of others, ranges of
 * commits. Undefined where nothing is left, as of notices that mend no vulnerability. Throws AdvisoryError for what is no record.
 */
export function advisoryFromOsv(record: unknown): Advisory | undefined {
  const fields = fieldsOf(record);
  const id = fields?.id;
  if (!fields || typeof id !== 'string' || !ID.test(id)) throw new AdvisoryError('a record has no id');
  const listed = listOf(fields.affected);
  if (listed.length > MAX_AFFECTED) throw new AdvisoryError(`${id} names more than ${MAX_AFFECTED} packages`);
  const affected = listed.flatMap((one) => affectedOf(id, fieldsOf(one)));
  const upstream = upstreamOf(id, fields, affected);
  if (affected.length === 0 || (isNotice(affected) && upstream.length === 0)) return undefined;
  const database = fieldsOf(fields.database_specific) ?? {};
  const cvss = bestVector(fields.severity) ?? affectedVectors(listed);
  return {
    id,
    aliases: namesIn(id, fields.aliases),
    upstream,
    summary: textOf(fields.summary, 500),
    details: textOf(fields.details, MAX_TEXT),
    ...timeOf('published', fields.published),
    ...timeOf('modified', fields.modified),
    ...timeOf('withdrawn', fields.withdrawn),
    severity: severityOf(cvss, database.severity ?? noticeWord(affected, fields.summary)),
    ...(cvss === undefined ? {} : { cvss }),
    cwes: stringsOf(database.cwe_ids).slice(0, MAX_REFERENCES),
    references: listOf(fields.references)
      .flatMap((reference) => stringsOf([fieldsOf(reference)?.url]))
      .filter((url) => /^https?:\/\//.test(url))
      .slice(0, MAX_REFERENCES),
    affected,
  };
}

/** Notices of distributions mend vulnerabilities, or none: then they are about bugs. */
function isNotice(affected: readonly AffectedPackage[]): boolean {
  return affected.every(({ type }) => type === 'rpm');
}

/** What Debian and Alpine put into `upstream`, AlmaLinux into `related`, and some into `aliases`. */
function upstreamOf(id: string, fields: Fields, affected: readonly AffectedPackage[]): readonly string[] {
  if (!affected.some(({ distribution }) => distribution !== '')) return [];
  const upstream = namesIn(id, fields.upstream);
  if (upstream.length > 0) return upstream;
  return [...namesIn(id, fields.related), ...namesIn(id, fields.aliases)].filter((name) => name.startsWith('CVE-'));
}

function namesIn(id: string, list: unknown): readonly string[] {
  return [...new Set(stringsOf(list))].filter((name) => name !== id && ID.test(name));
}

function affectedOf(id: string, fields: Fields | undefined): AffectedPackage[] {
  const named = fieldsOf(fields?.package);
  const [ecosystem, name] = [named?.ecosystem, named?.name];
  if (!fields || typeof ecosystem !== 'string' || typeof name !== 'string' || name === '' || name.length > 500) return [];
  const known = ecosystemOf(ecosystem);
  if (!known) return [];
  const versions = stringsOf(fields.versions);
  if (versions.length > MAX_VERSIONS) throw new AdvisoryError(`${id} names more than ${MAX_VERSIONS} versions of ${name}`);
  const ranges = listOf(fields.ranges).flatMap((range) => rangeOf(fieldsOf(range)));
  if (versions.length === 0 && ranges.length === 0) return [];
  const specific = fieldsOf(fields.ecosystem_specific) ?? {};
  // RustSec: a crate that nobody maintains any more is not a vulnerability; one that is unsound is.
  const informational = fieldsOf(fields.database_specific)?.informational;
  if (known.type === 'cargo' && (informational === 'unmaintained' || informational === 'notice')) return [];
  const own = distributionSeverity(known, specific, fieldsOf(fields.database_specific) ?? {});
  const symbols = symbolsOf(specific);
  return [
    {
      ...known,
      name: packageName(known.type, name),
      versions,
      ranges,
      state: 'affected',
      ...(own === 'unknown' ? {} : { severity: own }),
      ...(symbols.length === 0 ? {} : { symbols }),
    },
  ];
}

function distributionSeverity({ distribution }: Ecosystem, specific: Fields, database: Fields): Severity {
  if (distribution === '') return 'unknown';
  const word = [specific.urgency, specific.severity, database.severity].find((one) => typeof one === 'string');
  return typeof word === 'string' ? severityOfWord(word) : 'unknown';
}

const EVENTS = ['introduced', 'fixed', 'last_affected', 'limit'] as const;

function rangeOf(range: Fields | undefined): (readonly RangeEvent[])[] {
  if (range?.type !== 'SEMVER' && range?.type !== 'ECOSYSTEM') return [];
  const events = listOf(range.events).flatMap((event) => {
    const fields = fieldsOf(event);
    return EVENTS.flatMap((kind): RangeEvent[] => {
      const version = fields?.[kind];
      return typeof version === 'string' && version.length <= 256 ? [{ [kind]: version }] : [];
    });
  });
  return events.length === 0 ? [] : [events];
}

function symbolsOf(specific: Fields) {
  return listOf(specific.imports).flatMap((one) => {
    const fields = fieldsOf(one);
    const path = fields?.path;
    return typeof path === 'string' ? [{ path, symbols: stringsOf(fields?.symbols) }] : [];
  });
}

function affectedVectors(listed: readonly unknown[]): string | undefined {
  return listed.map((one) => bestVector(fieldsOf(one)?.severity)).find((vector) => vector !== undefined);
}

/** Of several vectors that of the newest version of CVSS. */
function bestVector(severity: unknown): string | undefined {
  const vectors = listOf(severity).flatMap((one) => {
    const fields = fieldsOf(one);
    const [type, score] = [fields?.type, fields?.score];
    return typeof type === 'string' && type.startsWith('CVSS_') && typeof score === 'string' && score.length <= 500
      ? [{ type, score }]
      : [];
  });
  return vectors.toSorted((a, b) => (a.type < b.type ? 1 : -1))[0]?.score;
}

/** `Important: openssl security update`: notices of the RHEL family say it in words. */
function noticeWord(affected: readonly AffectedPackage[], summary: unknown): string | undefined {
  return isNotice(affected) && typeof summary === 'string' ? /^(\w+): /.exec(summary)?.[1] : undefined;
}

function severityOf(cvss: string | undefined, word: unknown): Severity {
  const own = typeof word === 'string' ? severityOfWord(word) : 'unknown';
  if (own !== 'unknown' || cvss === undefined) return own;
  const score = cvssScore(cvss);
  return score === undefined ? SEVERITIES[0] : severityOfScore(score);
}

/** The Go database has records of the year 1, which say nothing. */
function timeOf<K extends 'published' | 'modified' | 'withdrawn'>(key: K, value: unknown): Partial<Record<K, number>> {
  const at = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  if (key === 'withdrawn') return (Number.isNaN(at) ? {} : { [key]: Math.max(0, at) }) as Partial<Record<K, number>>;
  return (at > 0 ? { [key]: at } : {}) as Partial<Record<K, number>>;
}

function stringsOf(value: unknown): readonly string[] {
  return listOf(value).filter((one): one is string => typeof one === 'string' && one.length > 0 && one.length <= 2000);
}

function textOf(value: unknown, most: number): string {
  return typeof value === 'string' ? value.slice(0, most) : '';
}
