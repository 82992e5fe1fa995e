import parse from 'spdx-expression-parse';

const LONGEST = 200;

/**
 * Licences as a package names them, each as an SPDX expression where it is one, else as `LicenseRef-` and what was found. Empty
 * texts are left out.
 */
export function licencesOf(texts: readonly string[]): string[] {
  return [...new Set(texts.map((text) => text.trim()).filter((text) => text !== ''))].map((text) =>
    isExpression(text) ? text : referenceOf(text),
  );
}

function isExpression(text: string): boolean {
  if (text.length > LONGEST) return false;
  try {
    parse(text);
    return true;
  } catch {
    return false;
  }
}

function referenceOf(text: string): string {
  return `LicenseRef-${
    text
      .slice(0, LONGEST)
      .replace(/[^A-Za-z0-9.]+/g, '-')
      .replace(/^-+|-+$/g, '') || 'unknown'
  }`;
}
