import Type, { type Static } from 'typebox';
import { AppError } from '../../platform/index.ts';

/** A pattern as Harbor writes it: `decoration` says what it is over, and whether it must match or must not. */
const Selector = Type.Object({
  kind: Type.Optional(Type.String({ maxLength: 32 })),
  decoration: Type.Optional(Type.String({ maxLength: 32 })),
  pattern: Type.String({ minLength: 1, maxLength: 512 }),
  extras: Type.Optional(Type.String({ maxLength: 1000 })),
});
export const Selectors = Type.Array(Selector, { maxItems: 50 });
export const ScopeSelectors = Type.Object({ repository: Type.Optional(Selectors) });

/** Patterns as the management API has them. */
export interface Patterns {
  readonly include?: readonly string[];
  readonly exclude?: readonly string[];
}

/** Patterns over tags. Throws `bad_request` for what is said in no words of these. */
export function tagPatterns(selectors: Static<typeof Selectors> = []): { include?: string[]; exclude: string[] } {
  return patternsOf(selectors, 'matches', 'excludes', (pattern) => pattern);
}

/** Patterns over repositories, which Harbor names within their project, as those over full names. */
export function repositoryPatterns(selectors: Static<typeof Selectors> = [], project: string): { include: string[]; exclude: string[] } {
  const { include = [`${project}/**`], exclude } = patternsOf(
    selectors,
    'repoMatches',
    'repoExcludes',
    (pattern) => `${project}/${pattern}`,
  );
  return { include, exclude };
}

function patternsOf(selectors: Static<typeof Selectors>, yes: string, no: string, named: (pattern: string) => string) {
  const include: string[] = [];
  const exclude: string[] = [];
  for (const { kind = 'doublestar', decoration = yes, pattern } of selectors) {
    if (kind !== 'doublestar') throw new AppError('bad_request', `selectors are patterns (doublestar) here, not ${kind}`);
    if (decoration !== yes && decoration !== no) throw new AppError('bad_request', `a selector ${decoration} is not known here`);
    (decoration === yes ? include : exclude).push(named(pattern));
  }
  return { ...(include.length === 0 ? {} : { include }), exclude };
}

export function tagSelectors(patterns: Patterns | undefined) {
  return selectorsOf(patterns, 'matches', 'excludes', (pattern) => pattern);
}

export function scopeSelectors(patterns: Patterns | undefined, project: string) {
  const within = (pattern: string) => (pattern.startsWith(`${project}/`) ? pattern.slice(project.length + 1) : pattern);
  return { repository: selectorsOf(patterns, 'repoMatches', 'repoExcludes', within) };
}

function selectorsOf({ include = ['**'], exclude = [] }: Patterns = {}, yes: string, no: string, named: (pattern: string) => string) {
  const as = (decoration: string) => (pattern: string) => ({ kind: 'doublestar', decoration, pattern: named(pattern) });
  return [...include.map(as(yes)), ...exclude.map(as(no))];
}
