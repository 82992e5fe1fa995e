import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { guardJson, JsonGuardError, type JsonLimits } from './json-guard.ts';

const PLENTY: JsonLimits = { depth: 1000, values: 10_000_000, keys: 1_000_000 };
const guard = (text: string, limits: Partial<JsonLimits> = {}) => guardJson(Buffer.from(text), { ...PLENTY, ...limits });

/** JSON written by hand, so that objects may hold a key twice and keys may be spelled with escapes. */
type Node = { kind: 'leaf'; text: string } | { kind: 'array'; items: Node[] } | { kind: 'object'; members: [Key, Node][] };
interface Key {
  readonly name: string;
  readonly escaped: boolean;
}

const key: fc.Arbitrary<Key> = fc.record({
  name: fc.oneof(fc.constantFrom('a', 'b', '', '__proto__', 'é', '"', '\\', '\u{1f600}', '\ud800'), fc.string({ maxLength: 3 })),
  escaped: fc.boolean(),
});
const leaf = fc.json({ maxDepth: 0 }).map((text): Node => ({ kind: 'leaf', text }));
const { node } = fc.letrec<{ node: Node }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 5, depthSize: 'small' },
    leaf,
    fc.array(tie('node'), { maxLength: 4 }).map((items): Node => ({ kind: 'array', items })),
    fc.array(fc.tuple(key, tie('node')), { maxLength: 4 }).map((members): Node => ({ kind: 'object', members })),
  ),
}));
const space = fc.constantFrom('', ' ', '\n\t');

function write(value: Node, gap: string): string {
  if (value.kind === 'leaf') return value.text;
  if (value.kind === 'array') return `[${gap}${value.items.map((item) => write(item, gap)).join(`${gap},`)}]`;
  return `{${value.members.map(([name, item]) => `${gap}${spell(name)}${gap}:${write(item, gap)}`).join()}}`;
}

function spell({ name, escaped }: Key): string {
  if (!escaped) return JSON.stringify(name);
  return `"${Array.from({ length: name.length }, (_, at) => `\\u${name.charCodeAt(at).toString(16).padStart(4, '0')}`).join('')}"`;
}

function facts(value: Node): { depth: number; values: number; keys: Set<string>; twice: boolean } {
  if (value.kind === 'leaf') return { depth: 0, values: 1, keys: new Set(), twice: false };
  const inner = (value.kind === 'array' ? value.items : value.members.map(([, item]) => item)).map(facts);
  const own = value.kind === 'array' ? [] : value.members.map(([{ name }]) => name);
  return {
    depth: 1 + Math.max(0, ...inner.map(({ depth }) => depth)),
    values: 1 + own.length + inner.reduce((sum, { values }) => sum + values, 0),
    keys: new Set([...own, ...inner.flatMap(({ keys }) => [...keys])]),
    twice: new Set(own).size < own.length || inner.some(({ twice }) => twice),
  };
}

function refuses(text: string, limits: Partial<JsonLimits> = {}): boolean {
  try {
    guard(text, limits);
    return false;
  } catch (error) {
    if (error instanceof JsonGuardError) return true;
    throw error;
  }
}

describe('guardJson', () => {
  it('refuses of valid JSON just that which has a key twice in one object', () => {
    fc.assert(
      fc.property(node, space, (value, gap) => {
        const text = write(value, gap);
        JSON.parse(text); // is valid
        expect(refuses(text)).toBe(facts(value).twice);
      }),
      { numRuns: 2000 },
    );
  });

  it('lets pass what JSON.stringify writes', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), fc.constantFrom(undefined, 2), (value, indent) => {
        guard(JSON.stringify(value, undefined, indent));
      }),
    );
  });

  it('never throws anything else, whatever the bytes', () => {
    const pieces = fc.array(fc.constantFrom('{', '}', '[', ']', ',', ':', '"', '\\', '\\u00', 'a', '1', ' ', '\ud800'), { maxLength: 40 });
    fc.assert(
      fc.property(pieces, (parts) => void refuses(parts.join(''))),
      { numRuns: 2000 },
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void refuses(Buffer.from(bytes).toString('latin1'))));
  });

  it('counts nesting and different keys exactly', () => {
    fc.assert(
      fc.property(
        node.filter((value) => !facts(value).twice),
        (value) => {
          const { depth, keys } = facts(value);
          const text = write(value, '');
          guard(text, { depth, keys: keys.size });
          if (depth > 0) expect(refuses(text, { depth: depth - 1 })).toBe(true);
          if (keys.size > 0) expect(refuses(text, { keys: keys.size - 1 })).toBe(true);
        },
      ),
    );
  });

  it('counts values to within a factor of two', () => {
    fc.assert(
      fc.property(
        node.filter((value) => !facts(value).twice),
        (value) => {
          const { values } = facts(value);
          const text = write(value, '');
          guard(text, { values: 2 * values });
          if (values > 3) expect(refuses(text, { values: Math.floor(values / 2) - 1 })).toBe(true);
        },
      ),
    );
  });

  it.each([
    ['a byte order mark', '\ufeff{}'],
    ['a key twice', '{"a":1,"a":1}'],
    ['a key twice, once by escapes', '{"layers":1,"l\\u0061yers":1}'],
    ['a key twice far inside', `${'[{"k":'.repeat(100)}{"a":1,"b":[{"a":1}],"a":1}${'}]'.repeat(100)}`],
    ['a string without an end', '{"a":"b'],
    ['a string that ends in a backslash', '"\\'],
    ['a key that is no JSON string', '{"\\x":1}'],
  ])('refuses %s', (_, text) => {
    expect(refuses(text)).toBe(true);
  });

  it('takes the same key in different objects, and a key that is also a value', () => {
    guard('{"a":{"a":["a","a",{"a":"a"}]},"b":"a"}');
  });

  // Anything worse than one pass would take minutes here.
  it.each([
    ['brackets', '['.repeat(3_000_000), true],
    ['brackets that close at once', `[${'[],'.repeat(1_000_000)}0]`, false],
    ['one long string', `"${'a'.repeat(8_000_000)}"`, false],
    ['one string of escapes', `"${'\\\\'.repeat(4_000_000)}"`, false],
    ['one string of escapes without an end', `"${'\\\\'.repeat(4_000_000)}`, true],
    ['quotes', '"'.repeat(4_000_000), false],
    ['one long key', `{"${'k\\u0061'.repeat(500_000)}":1}`, false],
    ['different keys', `{${Array.from({ length: 300_000 }, (_, i) => `"${i}":1`).join()}}`, false],
    ['objects of one key', `[${'{"a":1},'.repeat(500_000)}1]`, false],
    ['commas', ','.repeat(4_000_000), false],
  ])('reads a text of %s in one pass', (_, text, refused) => {
    expect(refuses(text)).toBe(refused);
  });
});
