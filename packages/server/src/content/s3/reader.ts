import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { BlobReader } from '../blob-store.ts';
import type { Bucket } from './bucket.ts';
import { toFailure } from './failures.ts';

/** Bytes `from` to `from + length` of an object, at `start` of the whole. */
export interface Piece {
  readonly key: string;
  readonly from: number;
  readonly start: number;
  readonly length: number;
  /** Bytes of the object as a whole. */
  readonly of: number;
}

interface Times {
  /** How long to wait for the next bytes of an answer. */
  readonly silentMs: number;
  /** How long an answer is held open whose bytes nobody asks for. */
  readonly unusedMs: number;
}

const TIMES: Times = { silentMs: 20_000, unusedMs: 10_000 };
/** Answers in a row that gave no byte, until reading fails. */
const ATTEMPTS = 3;
const PAUSE_MS = 200;

/**
 * Reads what lies in objects of a bucket. Reads that were announced come from one answer for all of them, asked for again from
 * where it broke off; others from one each. An answer that ends early is never taken for the end: it is asked for again, and
 * in the end the read fails.
 */
export function createPieceReader(bucket: Bucket, pieces: readonly Piece[], size: number, times: Times = TIMES): BlobReader {
  let answer: Answer | undefined;
  let announced = { start: 0, end: -1 };

  function drop(): void {
    answer?.close();
    answer = undefined;
  }

  async function openAt(position: number, length: number): Promise<Answer> {
    const piece = pieces.find(({ start, length: has }) => position >= start && position < start + has);
    if (!piece) throw new Error(`no object has byte ${position} of ${size}`);
    const isExpected = position >= announced.start && position <= announced.end;
    const last = Math.min(isExpected ? announced.end : position + length - 1, piece.start + piece.length - 1);
    const at = (where: number) => piece.from + where - piece.start;
    return await openAnswer(bucket, { key: piece.key, start: at(position), end: at(last) }, position, times);
  }

  /** Some of the bytes that are wanted, at least one. */
  async function readSome(target: Uint8Array, position: number): Promise<number> {
    for (let attempt = 1; ; attempt++) {
      if (answer?.position !== position || answer.left === 0) {
        drop();
        answer = await openAt(position, target.length); // the bucket has tried more than once
      }
      try {
        const count = await answer.read(target);
        if (count > 0) return count;
        throw new Error(`an answer of the bucket ended at ${position}, too early`);
      } catch (error) {
        drop();
        if (attempt === ATTEMPTS) throw toFailure(error);
        await delay(PAUSE_MS * attempt * (0.5 + Math.random()));
      }
    }
  }

  return {
    size,
    announce(start, end) {
      announced = { start, end };
    },
    async read(buffer, length, position) {
      const wanted = Math.max(0, Math.min(length, size - position));
      for (let done = 0; done < wanted; ) done += await readSome(buffer.subarray(done, wanted), position + done);
      return wanted;
    },
    async close() {
      drop();
    },
  };
}

interface Answer {
  /** Of the whole, not of the object. */
  readonly position: number;
  /** Bytes that are still to come. */
  readonly left: number;
  /** Fills a target as far as bytes are there, 0 where the answer has ended; rejects where it breaks off or stands still. */
  read(target: Uint8Array): Promise<number>;
  close(): void;
}

async function openAnswer(bucket: Bucket, span: { key: string; start: number; end: number }, start: number, times: Times): Promise<Answer> {
  const aborter = new AbortController();
  const stream: Readable = await bucket.get(span, aborter.signal);
  stream.on('error', () => undefined); // heard by the iterator; after close by nobody
  const chunks = stream.iterator({ destroyOnReturn: true }) as AsyncIterator<Buffer, undefined>;
  let chunk: Buffer | undefined;
  let position = start;
  let left = span.end - span.start + 1;
  const close = () => {
    clearTimeout(unused);
    if (left === 0) return; // its connection is used again
    stream.destroy();
    aborter.abort();
  };
  const unused = setTimeout(() => {
    close();
    position = -1; // no read goes on from there
  }, times.unusedMs);
  unused.unref();

  async function next(): Promise<Buffer | undefined> {
    const silent = setTimeout(() => stream.destroy(new Error('the bucket stopped in the midst of an answer')), times.silentMs);
    try {
      return (await chunks.next()).value;
    } finally {
      clearTimeout(silent);
    }
  }

  return {
    get position() {
      return position;
    },
    get left() {
      return left;
    },
    async read(target) {
      while (chunk === undefined || chunk.length === 0) {
        chunk = await next();
        if (chunk === undefined) return 0;
      }
      const count = Math.min(chunk.length, target.length, left);
      target.set(chunk.subarray(0, count));
      chunk = chunk.subarray(count);
      position += count;
      left -= count;
      if (left === 0) {
        clearTimeout(unused);
        void chunks.next().catch(() => undefined);
      } else unused.refresh();
      return count;
    },
    close,
  };
}
