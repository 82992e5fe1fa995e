import type { BlobReader } from '../blob-store.ts';
import { BATCH, type CipherThreads } from './cipher-threads.ts';
import type { DataKey } from './data-keys.ts';
import { DamagedBlob, RECORD_BYTES, SEALED_BYTES, type Segment, sealedAt, segmentAt } from './format.ts';
import { segmentKey } from './records.ts';

const BATCH_BYTES = (BATCH - 1) * RECORD_BYTES;

interface Parts {
  readonly base: BlobReader;
  readonly threads: CipherThreads;
  readonly key: DataKey;
  readonly header: Uint8Array;
  readonly segments: readonly Segment[];
  /** Full records. */
  readonly records: number;
  /** Content after the last full record. */
  readonly rest: Uint8Array;
}

/**
 * Content of an encrypted blob or upload. Only the records that a part lies in are read and opened; full ones many at once.
 * What is not as it was written throws, and none of it is given out.
 */
export function createRecordReader({ base, threads, key, header, segments, records, rest }: Parts): BlobReader {
  const size = records * RECORD_BYTES + rest.length;
  let derived: { segment: Segment; key: Buffer } | undefined;
  /** The record opened last, where only a part of it was asked for: the next part often follows. */
  let kept: { record: number; content: Uint8Array } | undefined;

  function keyAt(record: number): { key: Buffer; end: number } {
    const { segment, end } = segmentAt(segments, record);
    if (derived?.segment !== segment) derived = { segment, key: segmentKey(key.bytes, segment.salt) };
    return { key: derived.key, end };
  }

  async function open(first: number, most: number, to: Uint8Array): Promise<number> {
    const { key: opening, end } = keyAt(first);
    const count = Math.min(most, end - first, records - first, BATCH);
    const sealed = await threads.take();
    try {
      const bytes = count * SEALED_BYTES;
      await readFully(base, sealed, bytes, sealedAt(first));
      await threads.run({ op: 'open', key: opening, header, first, count }, sealed, to);
      return count * RECORD_BYTES;
    } finally {
      threads.give(sealed);
    }
  }

  /** Content of one record, or of several full ones. */
  async function readSome(buffer: Uint8Array, wanted: number, position: number): Promise<number> {
    const record = Math.floor(position / RECORD_BYTES);
    const from = position - record * RECORD_BYTES;
    if (record >= records) {
      buffer.set(rest.subarray(from, from + wanted));
      return wanted;
    }
    if (from === 0 && wanted >= RECORD_BYTES) return await open(record, Math.floor(wanted / RECORD_BYTES), buffer);
    if (kept?.record !== record) {
      const content = new Uint8Array(RECORD_BYTES);
      await open(record, 1, content);
      kept = { record, content };
    }
    const part = kept.content.subarray(from, from + wanted);
    buffer.set(part);
    return part.length;
  }

  return {
    size,
    announce(start, end) {
      const first = Math.floor(start / RECORD_BYTES);
      const after = Math.min(Math.floor(end / RECORD_BYTES) + 1, records);
      if (first < after) base.announce?.(sealedAt(first), sealedAt(after) - 1);
    },
    async read(buffer, length, position) {
      const wanted = Math.min(length, size - position);
      let done = 0;
      // What is left of the last record comes with the next part, which then begins with a whole one.
      while (done < wanted && (done < RECORD_BYTES || wanted - done >= RECORD_BYTES)) {
        done += await readSome(buffer.subarray(done), wanted - done, position + done);
        if (done >= BATCH_BYTES) break;
      }
      return done;
    },
    close: () => base.close(),
  };
}

/** Fills `length` bytes of a buffer. Throws where there are fewer. */
export async function readFully(reader: BlobReader, buffer: Uint8Array, length: number, position: number): Promise<void> {
  for (let done = 0; done < length; ) {
    const count = await reader.read(buffer.subarray(done), length - done, position + done);
    if (count === 0) throw new DamagedBlob('an encrypted blob ends before its end');
    done += count;
  }
}
