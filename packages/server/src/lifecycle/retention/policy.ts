import { AppError, compileGlob } from '../../platform/index.ts';

/** Harbor's templates, and two more. `n` is a number of tags, or of days. */
export const TEMPLATES = [
  'always',
  'latestPushedK',
  'latestPulledN',
  'nDaysSinceLastPush',
  'nDaysSinceLastPull',
  'inUse',
  'isBase',
] as const;
export type Template = (typeof TEMPLATES)[number];

/** Templates without a number. */
const BARE: ReadonlySet<Template> = new Set(['always', 'isBase']);

export interface Patterns {
  readonly include?: readonly string[];
  readonly exclude?: readonly string[];
}

/** Keeps of the tags that it covers those that its template says. */
export interface Rule {
  readonly template: Template;
  readonly n?: number;
  /** Over full names; absent: all. */
  readonly repositories?: Patterns;
  readonly tags?: Patterns;
  /** Annotations of the manifest that must be there, with patterns over their values. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Labels that the image's config must have, with patterns over their values; of an index, one of its images. */
  readonly imageLabels?: Readonly<Record<string, string>>;
  readonly environments?: readonly ('development' | 'test' | 'production')[];
}

/** What somebody sets. */
export interface PolicySettings {
  readonly name: string;
  readonly description: string;
  readonly enabled: boolean;
  /** Of a policy of the system: to which projects it applies; of another null. */
  readonly projects: Patterns | null;
  readonly rules: readonly Rule[];
  /** What becomes of tags that no rule covers, in repositories that it covers. */
  readonly uncovered: 'keep' | 'delete';
  /** Manifests without a tag, neither part of an index nor about another, go so many days after they were pushed or pulled; null: never. */
  readonly untaggedDays: number | null;
  /** Cron expression in UTC; empty: only when somebody says so. */
  readonly schedule: string;
}

export interface Policy extends PolicySettings {
  readonly id: number;
  /** null: of the system. */
  readonly projectId: number | null;
  readonly nextAt: number | null;
  readonly createdAt: number;
  readonly createdBy: string;
  readonly version: number;
}

/** Throws `bad_request` for rules that make no sense. */
export function checkRules({ rules, projects }: Pick<PolicySettings, 'rules' | 'projects'>): void {
  for (const patterns of [projects, ...rules.flatMap(({ repositories, tags }) => [repositories, tags])]) {
    for (const pattern of [...(patterns?.include ?? []), ...(patterns?.exclude ?? [])]) checkPattern(pattern);
  }
  for (const { template, n, labels, imageLabels } of rules) {
    if (BARE.has(template) !== (n === undefined)) {
      throw new AppError('bad_request', BARE.has(template) ? `${template} takes no n` : `${template} needs n`);
    }
    for (const pattern of [...Object.values(labels ?? {}), ...Object.values(imageLabels ?? {})]) checkPattern(pattern);
  }
}

function checkPattern(pattern: string): void {
  try {
    compileGlob(pattern);
  } catch (cause) {
    throw new AppError('bad_request', `${pattern} is no pattern: ${(cause as Error).message}`, { cause });
  }
}
