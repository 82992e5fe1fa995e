/** A pattern over names with `/` between components, compiled once. */
export type Glob = (name: string) => boolean;

const MAX_LENGTH = 512;
/** Alternatives of one pattern, all braces taken together. */
const MAX_ALTERNATIVES = 64;

/**
 * Compiles a pattern: `*` and `?` stand for characters within a component, `**` for any characters, `{a,b}` for either.
 * Matching takes time proportional to pattern times name, whatever both are: no regular expression is made of what users
 * write. Throws a TypeError that says what is wrong.
 */
export function compileGlob(pattern: string): Glob {
  if (pattern === '' || pattern.length > MAX_LENGTH) throw new TypeError(`a pattern has 1 to ${MAX_LENGTH} characters`);
  const alternatives = expand(pattern);
  return (name) => alternatives.some((alternative) => matches(alternative, name));
}

/** Patterns of LIKE, with \\ for escape, that together find at least all that a glob matches: they narrow what is then looked at. */
export function likesOf(pattern: string): string[] {
  const signs: Readonly<Record<string, string>> = { '*': '%', '?': '_', '%': '\\%', _: '\\_', '\\': '\\\\' };
  return expand(pattern).map((alternative) => alternative.replace(/[*?%_\\]/g, (sign) => signs[sign] ?? sign));
}

/** Patterns without braces that together mean the same. */
function expand(pattern: string): string[] {
  let done = [''];
  for (let at = 0; at < pattern.length; ) {
    const open = pattern.indexOf('{', at);
    const end = open < 0 ? pattern.length : open;
    const plain = pattern.slice(at, end);
    if (plain.includes('}')) throw new TypeError('a } stands without a { before it');
    done = done.map((text) => text + plain);
    if (open < 0) break;
    const close = pattern.indexOf('}', open);
    if (close < 0) throw new TypeError('a { stands without a } after it');
    const choices = pattern.slice(open + 1, close).split(',');
    if (choices.some((choice) => choice.includes('{'))) throw new TypeError('braces cannot stand within braces');
    if (done.length * choices.length > MAX_ALTERNATIVES) throw new TypeError(`a pattern has at most ${MAX_ALTERNATIVES} alternatives`);
    done = done.flatMap((text) => choices.map((choice) => text + choice));
    at = close + 1;
  }
  return done;
}

/** Follows all ways through the pattern at once: `reached[i]` says that its first `i` characters can stand for what was read. */
function matches(pattern: string, name: string): boolean {
  let reached = closure(pattern, new Uint8Array(pattern.length + 1).fill(1, 0, 1));
  for (const character of name) {
    const next = new Uint8Array(pattern.length + 1);
    for (let at = 0; at < pattern.length; at++) {
      if (reached[at] === 0) continue;
      const sign = pattern[at];
      const isDouble = sign === '*' && (pattern[at + 1] === '*' || (at > 0 && pattern[at - 1] === '*'));
      if (sign === '*') {
        if (isDouble || character !== '/') next[at] = 1;
      } else if (sign === character || (sign === '?' && character !== '/')) next[at + 1] = 1;
    }
    reached = closure(pattern, next);
  }
  return reached[pattern.length] === 1;
}

/** A star may stand for nothing. */
function closure(pattern: string, reached: Uint8Array): Uint8Array {
  for (let at = 0; at < pattern.length; at++) if (reached[at] === 1 && pattern[at] === '*') reached[at + 1] = 1;
  return reached;
}
