import type { Bucket, Part, Span } from './bucket.ts';
import { toFailure } from './failures.ts';
import type { Piece } from './reader.ts';
import { LEAST_PART } from './writer.ts';

/** Copied in pieces of about so much, several at once: one copy of all would take S3 minutes. Ten MiB at least, or halves are too small. */
const COPY_BYTES = 256 << 20;
/** S3 takes 10,000 parts. */
const MOST_PARTS = 9000;
const AT_ONCE = 4;

interface Limits {
  readonly copyBytes: number;
}

/**
 * Makes one object of pieces of others, without their bytes passing through here; durable when it resolves. False where there
 * is such an object already and that was not wanted. A failure leaves nothing behind as far as the bucket can be reached.
 */
export async function compose(
  bucket: Bucket,
  pieces: readonly Piece[],
  key: string,
  { ifAbsent, copyBytes = COPY_BYTES }: { ifAbsent: boolean } & Partial<Limits>,
): Promise<boolean> {
  const size = pieces.reduce((sum, { length }) => sum + length, 0);
  const [only] = pieces;
  if (only && pieces.length === 1 && only.of === size && size <= copyBytes) {
    return await bucket.copy(only.key, key, { ifAbsent });
  }
  const spans = split(pieces, Math.max(copyBytes, Math.ceil(size / (MOST_PARTS / 2))));
  if (spans.length > MOST_PARTS) throw toFailure(new Error(`${spans.length} pieces are more than a bucket copies together`));
  const uploadId = await bucket.beginParts(key, { copied: true });
  try {
    const parts = await inOrder(spans, (span, index) => bucket.copyPart(key, uploadId, index + 1, span));
    if (await bucket.completeParts(key, uploadId, parts, { ifAbsent })) return true;
  } catch (error) {
    await bucket.abortParts(key, uploadId).catch(() => undefined); // found by whoever looks for leftovers
    throw error;
  }
  await bucket.abortParts(key, uploadId).catch(() => undefined);
  return false;
}

/** Cuts pieces into spans of like size, about `most` bytes each and none too small. */
export function split(pieces: readonly Piece[], most: number): Span[] {
  return pieces.flatMap(({ key, from, length }, index) => {
    if (length < LEAST_PART && index < pieces.length - 1)
      throw toFailure(new Error(`a piece of ${length} bytes is too small to be copied`));
    const count = Math.ceil(length / most);
    const at = (nth: number) => from + Math.floor((length * nth) / count);
    return Array.from({ length: count }, (_, nth) => ({ key, start: at(nth), end: at(nth + 1) - 1 }));
  });
}

/** Results in the order of what they are of, a few under way at once; after a failure none is begun, and those under way are waited for. */
async function inOrder(spans: readonly Span[], work: (span: Span, index: number) => Promise<Part>): Promise<Part[]> {
  const parts: Part[] = [];
  const waiting = spans.entries();
  let failed = false;
  const runs = Array.from({ length: AT_ONCE }, async () => {
    for (const [index, span] of waiting) {
      if (failed) return;
      try {
        parts[index] = await work(span, index);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  });
  for (const end of await Promise.allSettled(runs)) if (end.status === 'rejected') throw end.reason;
  return parts;
}
