import { type Compare, compareDigits, compareText } from './order.ts';

/**
 * Versions as Maven orders them (pom reference, "Version Order Specification"; the order of Maven 3.9's ComparableVersion):
 * a list of numbers and qualifiers in which a hyphen, or a change between digits and letters, begins a list of its own.
 */
type Item = { readonly kind: 'number'; readonly digits: string } | { readonly kind: 'qualifier'; readonly text: string } | List;

interface List {
  readonly kind: 'list';
  readonly items: Item[];
}

/** The release itself is the empty one. */
const QUALIFIERS = ['alpha', 'beta', 'milestone', 'rc', 'snapshot', '', 'sp'];
const ALIASES = new Map([
  ['ga', ''],
  ['final', ''],
  ['release', ''],
  ['cr', 'rc'],
]);
/** Only before a number. */
const SHORT = new Map([
  ['a', 'alpha'],
  ['b', 'beta'],
  ['m', 'milestone'],
]);

function qualifier(text: string, beforeDigit: boolean): Item {
  const full = beforeDigit ? (SHORT.get(text) ?? text) : text;
  return { kind: 'qualifier', text: ALIASES.get(full) ?? full };
}

/** Known ones by their place, all others behind them by name. */
function rank(text: string): string {
  const place = QUALIFIERS.indexOf(text);
  return place < 0 ? `${QUALIFIERS.length}-${text}` : String(place);
}

function isNothing(item: Item): boolean {
  if (item.kind === 'number') return /^0*$/.test(item.digits);
  return item.kind === 'list' ? item.items.length === 0 : item.text === '';
}

/** What says nothing is left out at the end of a list, and before the lists that end it. */
function normalize({ items }: List): void {
  for (let i = items.length - 1; i >= 0; i--) {
    const item = items[i];
    if (item && isNothing(item)) items.splice(i, 1);
    else if (item?.kind !== 'list') return;
  }
}

/** Longer ones are no versions: lists within lists are followed one by one. */
const LONGEST = 1000;

function parse(version: string): List {
  const text = version.toLowerCase();
  const root: List = { kind: 'list', items: [] };
  const lists = [root];
  let [list, isDigit, start] = [root, false, 0];
  const begin = () => {
    const inner: List = { kind: 'list', items: [] };
    list.items.push(inner);
    lists.push(inner);
    list = inner;
  };
  const take = (end: number, beforeDigit = false) => {
    const part = text.slice(start, end);
    list.items.push(isDigit ? { kind: 'number', digits: part } : qualifier(part, beforeDigit));
    start = end;
  };
  for (let i = 0; i < text.length; i++) {
    const char = text.charAt(i);
    if (char === '.' || char === '-') {
      if (i === start) list.items.push({ kind: 'number', digits: '0' });
      else take(i);
      start = i + 1;
      if (char === '-') begin();
      continue;
    }
    const nowDigit = char >= '0' && char <= '9';
    if (nowDigit !== isDigit && i > start) {
      // A qualifier behind a dot counts as one behind a hyphen.
      if (nowDigit && list.items.length > 0) begin();
      take(i, nowDigit);
      begin();
    }
    isDigit = nowDigit;
  }
  if (text.length > start) {
    if (!isDigit && list.items.length > 0) begin();
    take(text.length);
  }
  for (const inner of lists.reverse()) normalize(inner);
  return root;
}

/** Which of two kinds is newer where they stand in one place. */
const WEIGHT = { qualifier: 0, list: 1, number: 2 };

function compareItems(a: Item | undefined, b: Item | undefined): number {
  if (!a) return b ? -compareItems(b, undefined) : 0;
  if (b && a.kind !== b.kind) return WEIGHT[a.kind] - WEIGHT[b.kind];
  if (a.kind === 'list') {
    const others = b?.kind === 'list' ? b.items : [];
    for (let i = 0; i < a.items.length || i < others.length; i++) {
      const order = compareItems(a.items[i], others[i]);
      if (order !== 0) return order;
    }
    return 0;
  }
  if (a.kind === 'number') return compareDigits(a.digits, b?.kind === 'number' ? b.digits : '');
  return compareText(rank(a.text), rank(b?.kind === 'qualifier' ? b.text : ''));
}

/** Order of versions of Maven artifacts; every text is a version there. */
export const compareMaven: Compare = (a, b) => {
  if (a.length > LONGEST || b.length > LONGEST) return undefined;
  return compareItems(parse(a.trim()), parse(b.trim()));
};
