import calculator from 'ae-cvss-calculator';
import { SEVERITIES, type Severity } from './model.ts';

/** Base score of a CVSS vector of version 2, 3 or 4, 0 to 10; undefined for what is none, or lacks a metric. */
export function cvssScore(vector: string): number | undefined {
  if (vector.length > 500) return undefined;
  try {
    // The library gives an object of the version that the vector is of, and calls it any.
    const found = calculator.fromVector(vector.trim()) as { calculateScores(): { base?: number } } | null | undefined;
    return found?.calculateScores().base;
  } catch {
    return undefined;
  }
}

/** The qualitative scale of CVSS 3 and 4. */
export function severityOfScore(score: number): Severity {
  if (score >= 9) return 'critical';
  if (score >= 7) return 'high';
  if (score >= 4) return 'medium';
  return score > 0 ? 'low' : 'negligible';
}

const WORDS = new Map<string, Severity>(
  Object.entries({
    moderate: 'medium',
    important: 'high',
    minor: 'low',
    major: 'high',
    none: 'negligible',
    unimportant: 'negligible',
  }),
);

/** The severity that a source's own word means; `unknown` for one that says nothing. */
export function severityOfWord(word: string): Severity {
  // Debian marks by a star what its tracker has guessed.
  const lower = word.trim().toLowerCase().replace(/\*+$/, '');
  return SEVERITIES.find((severity) => severity === lower) ?? WORDS.get(lower) ?? 'unknown';
}
