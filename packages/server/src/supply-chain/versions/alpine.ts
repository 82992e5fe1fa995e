import { type Compare, compareDigits, compareText } from './order.ts';

/** Parts of a version in the order in which they may come; where two versions part, the one with the later kind is older. */
const KINDS = ['number', 'digits', 'letter', 'suffix', 'suffix-number', 'hash', 'revision', 'end', 'invalid'] as const;

type Kind = (typeof KINDS)[number];

interface Part {
  readonly kind: Kind;
  readonly text: string;
}

/** Suffixes in order; the version without any stands between `rc` and `cvs`. */
const SUFFIXES = ['alpha', 'beta', 'pre', 'rc', '', 'cvs', 'svn', 'git', 'hg', 'p'];
const NONE = SUFFIXES.indexOf('');

const NEXT: readonly { readonly kind: Kind; readonly pattern: RegExp; readonly after: readonly Kind[] }[] = [
  { kind: 'digits', pattern: /\.?([0-9]+)/y, after: ['number', 'digits'] },
  { kind: 'letter', pattern: /([a-z])/y, after: ['number', 'digits'] },
  {
    kind: 'suffix',
    pattern: /_(alpha|beta|pre|rc|cvs|svn|git|hg|p)(?![a-z])/y,
    after: ['number', 'digits', 'letter', 'suffix', 'suffix-number'],
  },
  { kind: 'suffix-number', pattern: /([0-9]+)/y, after: ['suffix'] },
  { kind: 'hash', pattern: /~([0-9a-f]+)/y, after: ['number', 'digits', 'letter', 'suffix', 'suffix-number'] },
  { kind: 'revision', pattern: /-r([0-9]+)/y, after: ['number', 'digits', 'letter', 'suffix', 'suffix-number', 'hash'] },
];

/** apk-package(5): `number{.digits}…{letter}{_suffix{number}}…{~hash}{-r#}`. What does not fit ends the version as invalid. */
function partsOf(text: string): readonly Part[] {
  const first = /^[0-9]+/.exec(text)?.[0] ?? '';
  const parts: Part[] = [{ kind: first === '' ? 'invalid' : 'number', text: first }];
  for (let at = first.length; first !== ''; ) {
    if (at === text.length) return [...parts, { kind: 'end', text: '' }];
    const before = parts.at(-1)?.kind;
    const found = NEXT.filter(({ after }) => after.some((kind) => kind === before))
      .map(({ kind, pattern }) => {
        pattern.lastIndex = at;
        const match = pattern.exec(text);
        return match && { kind, text: match[1] ?? '', end: pattern.lastIndex };
      })
      .find((match) => match !== null);
    if (!found) return [...parts, { kind: 'invalid', text: '' }];
    parts.push({ kind: found.kind, text: found.text });
    at = found.end;
  }
  return parts;
}

function compareSame(kind: Kind, a: string, b: string): number {
  if (kind === 'suffix') return SUFFIXES.indexOf(a) - SUFFIXES.indexOf(b);
  // As in Gentoo: behind the first dot, what begins with a zero is a fraction.
  const isText = kind === 'letter' || kind === 'hash' || (kind === 'digits' && (a.startsWith('0') || b.startsWith('0')));
  return isText ? compareText(a, b) : compareDigits(a, b);
}

/** Order of versions of Alpine packages, as apk 3 has it; a version that is cut off by something invalid is still compared up to there. */
export const compareAlpine: Compare = (a, b) => {
  const [one, two] = [partsOf(a.trim()), partsOf(b.trim())];
  if (one[0]?.kind !== 'number' || two[0]?.kind !== 'number') return undefined;
  for (let i = 0; ; i++) {
    const [left, right] = [one[i], two[i]];
    if (!left || !right) return 0;
    if (left.kind === right.kind) {
      const order = compareSame(left.kind, left.text, right.text);
      if (order !== 0) return order;
      continue;
    }
    if (left.kind === 'suffix' && SUFFIXES.indexOf(left.text) < NONE) return -1;
    if (right.kind === 'suffix' && SUFFIXES.indexOf(right.text) < NONE) return 1;
    return KINDS.indexOf(right.kind) - KINDS.indexOf(left.kind);
  }
};
