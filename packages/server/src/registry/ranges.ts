import { AppError } from '../platform/index.ts';

/** Bytes `start` to `end`, both inclusive. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

const MAX_RANGES = 256;

/**
 * Reads a `Range` header against a size (RFC 9110 section 14.2). Undefined: send the whole, as for units or forms we do
 * not know, or ranges that ask for more than the whole. Throws 416 where no range can be met.
 */
export function parseRanges(header: string | undefined, size: number): readonly ByteRange[] | undefined {
  if (header === undefined || !/^bytes=/i.test(header)) return undefined;
  const specs = header.slice(6).split(',');
  if (specs.length > MAX_RANGES) return undefined;
  const ranges: ByteRange[] = [];
  for (const spec of specs) {
    const match = /^\s*([0-9]{0,15})-([0-9]{0,15})\s*$/.exec(spec);
    if (!match || (match[1] === '' && match[2] === '')) return undefined;
    const range = resolve(match[1] ?? '', match[2] ?? '', size);
    if (range) ranges.push(range);
  }
  if (ranges.length === 0) {
    throw new AppError('range_unsatisfiable', `the blob has ${size} bytes`, { headers: { 'Content-Range': `bytes */${size}` } });
  }
  const asked = ranges.reduce((sum, { start, end }) => sum + end - start + 1, 0);
  return ranges.length > 1 && asked > size ? undefined : ranges;
}

function resolve(from: string, to: string, size: number): ByteRange | undefined {
  if (from === '') {
    const length = Number(to);
    return length === 0 || size === 0 ? undefined : { start: Math.max(0, size - length), end: size - 1 };
  }
  const start = Number(from);
  const end = to === '' ? size - 1 : Math.min(Number(to), size - 1);
  return start < size && start <= end ? { start, end } : undefined;
}
