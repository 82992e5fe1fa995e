import type { Labels } from '../../catalog/index.ts';
import { compileGlob, type Glob } from '../../platform/index.ts';
import type { Patterns, Rule, Template } from './policy.ts';

const DAY_MS = 24 * 3_600_000;

/** A tag as rules look at it. Times are milliseconds since 1970. */
export interface TagFact {
  readonly name: string;
  readonly digest: string;
  /** When it was last pointed at something. */
  readonly pushedAt: number;
  /** When it was last pulled, or what it points at by its digest; null: never. */
  readonly pulledAt: number | null;
  /** JSON object of the manifest's annotations, or null. */
  readonly annotations: string | null;
  /** Labels of the configs of its images; absent: nobody asked for them, or (`null`) they cannot be read. */
  readonly imageLabels?: readonly Labels[] | null;
}

/** Where tags are, as far as rules look at it. */
export interface Surroundings {
  /** Full name. */
  readonly repository: string;
  readonly environment: string;
}

/** A policy whose rules are asked. */
export interface AskedPolicy {
  readonly name: string;
  readonly rules: readonly Rule[];
  /** The one that runs: only what it gives up is deleted. The rules of the others only keep. */
  readonly isRunning: boolean;
  readonly uncovered: 'keep' | 'delete';
}

/** What one rule says of a tag that it covers. */
export interface Reason {
  readonly policy: string;
  /** Its place in the policy, from 1; 0: what is no rule of it. */
  readonly rule: number;
  readonly keeps: boolean;
  readonly text: string;
}

export interface Verdict {
  readonly keep: boolean;
  readonly reasons: readonly Reason[];
}

interface CompiledRule {
  readonly policy: AskedPolicy;
  readonly rule: number;
  readonly template: Template;
  readonly n: number;
  readonly covers: (tag: TagFact) => boolean;
  /** Whether it covers a tag, but for the labels of the image; absent: it asks for none. */
  readonly coversBut?: (tag: TagFact) => boolean;
}

/** Facts that take a look elsewhere; asked only of what nothing else keeps. */
export interface Facts {
  /** Who said within so many days that it runs; undefined: nobody. */
  inUse(digest: string, days: number): Promise<string | undefined>;
  /** Whether other images are built on it. */
  isBase(digest: string): Promise<boolean>;
}

/** The newest by a time, of many that come in any order; holds twice as many at most. */
class Newest {
  readonly #most: number;
  #kept: { at: number; name: string }[] = [];

  constructor(most: number) {
    this.#most = most;
  }

  add(at: number, name: string): void {
    this.#kept.push({ at, name });
    if (this.#kept.length >= 2 * this.#most + 100) this.#cut();
  }

  names(): ReadonlySet<string> {
    this.#cut();
    return new Set(this.#kept.map(({ name }) => name));
  }

  #cut(): void {
    this.#kept.sort((a, b) => b.at - a.at || (a.name < b.name ? -1 : 1));
    this.#kept.length = Math.min(this.#kept.length, this.#most);
  }
}

/** Never pulled is as if pulled when it was pushed: what is new is not given up because nobody came yet. */
const usedAt = ({ pulledAt, pushedAt }: TagFact) => Math.max(pulledAt ?? 0, pushedAt);

/**
 * The rules of all policies over the tags of one repository, in two passes: `look` at each tag in any order, then `judge`
 * each, the last pushed first. What is kept in memory does not grow with the number of tags, but with the numbers in rules.
 */
export class Selection {
  readonly #rules: readonly CompiledRule[];
  readonly #running: AskedPolicy | undefined;
  readonly #now: number;
  readonly #pulled = new Map<CompiledRule, Newest>();
  readonly #names = new Map<CompiledRule, ReadonlySet<string>>();
  readonly #pushed = new Map<CompiledRule, number>();

  constructor(policies: readonly AskedPolicy[], where: Surroundings, now: number) {
    this.#rules = policies.flatMap((policy) =>
      policy.rules.flatMap((rule, at) => {
        const covers = compileRule(rule, where);
        return covers ? [{ policy, rule: at + 1, template: rule.template, n: rule.n ?? 0, ...covers }] : [];
      }),
    );
    this.#running = policies.find(({ isRunning }) => isRunning);
    this.#now = now;
    for (const rule of this.#rules) if (rule.template === 'latestPulledN') this.#pulled.set(rule, new Newest(rule.n));
  }

  /** Whether the policy that runs has a rule for the repository. */
  get coversSome(): boolean {
    return this.#rules.some(({ policy }) => policy === this.#running);
  }

  /** Whether tags must be looked at before they are judged. */
  get needsLook(): boolean {
    return this.#pulled.size > 0;
  }

  /** Whether the labels of the image that a tag leads to must be known to judge it. */
  wantsLabels(tag: TagFact): boolean {
    return this.#rules.some(({ coversBut }) => coversBut?.(tag) === true);
  }

  look(tag: TagFact): void {
    for (const [rule, newest] of this.#pulled) if (rule.covers(tag)) newest.add(usedAt(tag), tag.name);
  }

  async judge(tag: TagFact, facts: Facts): Promise<Verdict> {
    const unread = tag.imageLabels === null && this.#rules.find(({ coversBut }) => coversBut?.(tag) === true);
    if (unread) {
      const text = 'the labels of its image cannot be read';
      return { keep: true, reasons: [{ policy: unread.policy.name, rule: unread.rule, keeps: true, text }] };
    }
    const reasons: Reason[] = [];
    const covering = this.#rules.filter((rule) => rule.covers(tag));
    const later: CompiledRule[] = [];
    for (const rule of covering) {
      const text = this.#cheap(rule, tag);
      if (text === undefined) later.push(rule);
      else reasons.push({ policy: rule.policy.name, rule: rule.rule, ...text });
    }
    const isKept = () => reasons.some(({ keeps }) => keeps);
    if (!covering.some(({ policy }) => policy === this.#running)) {
      // A repository that no rule of it covers is none of its business.
      const keeps = this.#running?.uncovered !== 'delete' || !this.coversSome;
      reasons.push({ policy: this.#running?.name ?? '', rule: 0, keeps, text: 'no rule of the policy covers it' });
    }
    for (const rule of later) {
      if (isKept()) break;
      reasons.push({ policy: rule.policy.name, rule: rule.rule, ...(await this.#slow(rule, tag, facts)) });
    }
    return { keep: isKept(), reasons };
  }

  #cheap(rule: CompiledRule, tag: TagFact): { keeps: boolean; text: string } | undefined {
    const { template, n } = rule;
    const days = (at: number) => Math.floor((this.#now - at) / DAY_MS);
    switch (template) {
      case 'always':
        return { keeps: true, text: 'always kept' };
      case 'latestPushedK': {
        const place = (this.#pushed.get(rule) ?? 0) + 1;
        this.#pushed.set(rule, place);
        return { keeps: place <= n, text: `${place}. of the latest pushed, of which ${n} are kept` };
      }
      case 'latestPulledN': {
        const names = this.#names.get(rule) ?? this.#pulled.get(rule)?.names() ?? new Set();
        this.#names.set(rule, names);
        const keeps = names.has(tag.name);
        return { keeps, text: `${keeps ? 'among' : 'not among'} the ${n} latest pulled` };
      }
      case 'nDaysSinceLastPush':
        return { keeps: this.#now - tag.pushedAt < n * DAY_MS, text: `pushed ${days(tag.pushedAt)} days ago, ${n} are kept` };
      case 'nDaysSinceLastPull': {
        const what = tag.pulledAt === null ? 'never pulled, pushed' : 'last pulled or pushed';
        return { keeps: this.#now - usedAt(tag) < n * DAY_MS, text: `${what} ${days(usedAt(tag))} days ago, ${n} are kept` };
      }
      default:
        return undefined;
    }
  }

  async #slow({ template, n }: CompiledRule, { digest }: TagFact, facts: Facts): Promise<{ keeps: boolean; text: string }> {
    if (template === 'isBase') {
      const keeps = await facts.isBase(digest);
      return { keeps, text: keeps ? 'other images are built on it' : 'no other image is built on it' };
    }
    const by = await facts.inUse(digest, n);
    return { keeps: by !== undefined, text: by === undefined ? `nobody told within ${n} days that it runs` : `${by} told that it runs` };
  }
}

/** Which tags a rule covers there; undefined: none. */
function compileRule(rule: Rule, { repository, environment }: Surroundings): Pick<CompiledRule, 'covers' | 'coversBut'> | undefined {
  const { repositories, tags, labels, imageLabels, environments } = rule;
  if (environments && !environments.includes(environment as never)) return undefined;
  if (repositories && !compilePatterns(repositories)(repository)) return undefined;
  const byTag = tags ? compilePatterns(tags) : () => true;
  const byLabel = compileLabels(labels);
  const byImage = compileLabels(imageLabels);
  const annotated = (annotations: string | null) => annotations !== null && byLabel(JSON.parse(annotations) as Record<string, unknown>);
  const coversBut = ({ name, annotations }: TagFact) => byTag(name) && (labels === undefined || annotated(annotations));
  if (imageLabels === undefined) return { covers: coversBut };
  return { covers: (tag) => coversBut(tag) && (tag.imageLabels ?? []).some(byImage), coversBut };
}

/** Whether some rule covers tags of a repository. */
export function coversRepository(rules: readonly Rule[], where: Surroundings): boolean {
  return rules.some((rule) => compileRule(rule, where) !== undefined);
}

export function compilePatterns({ include = ['**'], exclude = [] }: Patterns): Glob {
  const included = include.map(compileGlob);
  const excluded = exclude.map(compileGlob);
  return (name) => included.some((glob) => glob(name)) && !excluded.some((glob) => glob(name));
}

/** Whether some labels are all there, with values that match. */
function compileLabels(labels: Rule['labels'] = {}): (found: Readonly<Record<string, unknown>>) => boolean {
  const wanted = Object.entries(labels).map(([key, pattern]) => [key, compileGlob(pattern)] as const);
  return (found) => wanted.every(([key, glob]) => Object.hasOwn(found, key) && typeof found[key] === 'string' && glob(found[key]));
}
