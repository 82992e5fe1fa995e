import type { ReadAt } from './tar.ts';

/** Bytes that come once and in order, read as far as somebody asks. */
export interface ForwardReader {
  /**
   * Bytes from a position on, fewer at the end only. Positions never go back; what lies between is passed over. Where they lie in
   * one chunk they are not copied, and so are of use only until the next call.
   */
  readonly readAt: ReadAt;
  /** How many bytes there are: infinity until the end was met. */
  size(): number;
  /** Goes on to the end, or to what is no zero, and says whether there was nothing but zeros from a position on. */
  isZeroFrom(position: number): Promise<boolean>;
}

/** Reads chunks as `readTar` wants to: forward, with leaps. */
export function readForward(chunks: AsyncIterator<Uint8Array>): ForwardReader {
  let chunk: Uint8Array = new Uint8Array(0);
  /** Where the chunk begins. */
  let start = 0;
  let end = Number.POSITIVE_INFINITY;

  async function next(): Promise<boolean> {
    const step = await chunks.next();
    start += chunk.length;
    chunk = step.done === true ? new Uint8Array(0) : step.value;
    if (step.done === true) end = start;
    return step.done !== true;
  }

  async function reach(position: number): Promise<boolean> {
    if (position < start) throw new RangeError('a position that was passed is read again');
    while (position >= start + chunk.length) if (end !== Number.POSITIVE_INFINITY || !(await next())) return false;
    return true;
  }

  return {
    async readAt(position, length) {
      if (length === 0 || !(await reach(position))) return new Uint8Array(0);
      const from = position - start;
      if (from + length <= chunk.length) return chunk.subarray(from, from + length);
      const parts: Uint8Array[] = [];
      for (let at = position; at < position + length && (await reach(at)); ) {
        const part = chunk.subarray(at - start, Math.min(chunk.length, position + length - start));
        parts.push(part);
        at += part.length;
      }
      return Buffer.concat(parts);
    },
    size: () => end,
    async isZeroFrom(position) {
      for (let at = Math.max(position, start); await reach(at); at = start + chunk.length) {
        for (let index = at - start; index < chunk.length; index++) if (chunk[index] !== 0) return false;
      }
      return true;
    },
  };
}
