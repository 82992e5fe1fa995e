/** Why a JSON text is refused before it is parsed. */
export class JsonGuardError extends Error {
  override name = 'JsonGuardError';
}

export interface JsonLimits {
  /** Deepest nesting of objects and arrays. */
  readonly depth: number;
  /** Values, keys included, in the whole text. */
  readonly values: number;
  /** Different keys in the whole text: JSON.parse is slowest where many objects share none. */
  readonly keys: number;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

interface Frame {
  readonly keys: Set<string> | undefined;
}

/**
 * Refuses JSON whose parse would be costly or ambiguous: too deep, too many values, a key twice in one
 * object, a byte order mark. One pass over the bytes, no recursion; the grammar itself is left to JSON.parse.
 * Throws JsonGuardError.
 */
export function guardJson(bytes: Uint8Array, limits: JsonLimits): void {
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) throw new JsonGuardError('starts with a byte order mark');
  const stack: Frame[] = [];
  const keys = new Set<string>();
  let values = 0;
  let expectKey = false;
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at < buffer.length; at++) {
    switch (buffer[at]) {
      case QUOTE: {
        const end = stringEnd(buffer, at);
        if (expectKey) {
          const key = addKey(stack.at(-1)?.keys, buffer, at, end);
          if (keys.add(key).size > limits.keys) throw new JsonGuardError(`has more than ${limits.keys} different keys`);
          expectKey = false;
        }
        if (++values > limits.values) throw new JsonGuardError(`has more than ${limits.values} values`);
        at = end;
        break;
      }
      case 0x7b: // {
      case 0x5b: // [
        if (stack.length >= limits.depth) throw new JsonGuardError(`is nested deeper than ${limits.depth}`);
        if (++values > limits.values) throw new JsonGuardError(`has more than ${limits.values} values`);
        expectKey = buffer[at] === 0x7b;
        stack.push({ keys: expectKey ? new Set() : undefined });
        break;
      case 0x7d: // }
      case 0x5d: // ]
        stack.pop();
        expectKey = false;
        break;
      case 0x2c: // ,
        if (++values > limits.values) throw new JsonGuardError(`has more than ${limits.values} values`);
        expectKey = stack.at(-1)?.keys !== undefined;
        break;
    }
  }
}

function stringEnd(buffer: Buffer, start: number): number {
  for (let at = start + 1; at < buffer.length; at++) {
    const byte = buffer[at];
    if (byte === BACKSLASH) at++;
    else if (byte === QUOTE) return at;
  }
  throw new JsonGuardError('has a string without an end');
}

function addKey(keys: Set<string> | undefined, buffer: Buffer, start: number, end: number): string {
  const raw = buffer.toString('utf8', start + 1, end);
  let key = raw;
  if (raw.includes('\\')) {
    try {
      key = JSON.parse(`"${raw}"`) as string;
    } catch {
      throw new JsonGuardError('has a key that is not a JSON string');
    }
  }
  if (keys?.has(key)) throw new JsonGuardError(`has the key ${JSON.stringify(key.slice(0, 80))} twice`);
  keys?.add(key);
  return key;
}
