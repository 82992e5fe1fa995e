import { randomBytes } from 'node:crypto';
import { AppError, type Clock, type Database } from '../../platform/index.ts';
import type { UploadWriter } from '../blob-store.ts';
import { BATCH, type CipherThreads } from './cipher-threads.ts';
import type { DataKey } from './data-keys.ts';
import { HEADER_BYTES, RECORD_BYTES, SALT_BYTES, SEALED_BYTES, sealedAt, TAG_BYTES } from './format.ts';
import { openRecord, sealRecord, segmentKey } from './records.ts';
import { beginSegment, saveTail } from './upload-rows.ts';

const NOTHING = new Uint8Array(0);

interface Parts {
  readonly database: Database;
  readonly threads: CipherThreads;
  readonly clock: Clock;
  readonly base: UploadWriter;
  readonly id: string;
  /** Name of this writer in the upload's row. */
  readonly writer: string;
  readonly key: DataKey;
  readonly header: Uint8Array;
  /** Where it goes on: full records in the store, and the content after them. */
  readonly records: number;
  readonly rest: Uint8Array;
  /** Bytes of the upload in the store below. */
  storedBytes(): Promise<number>;
  /** Reads content of full records. */
  readBack(record: number): Promise<Uint8Array>;
}

/**
 * Writes to an upload so that only sealed bytes leave the process: full records go to the store below, what comes after
 * them to the database, sealed under a key of its own each time. A record is never sealed twice under one key: a writer
 * begins a segment of its own, and another one whenever it has to go back.
 */
export function createUploadWriter(parts: Parts): UploadWriter {
  const { database, threads, clock, base, id, writer, key, header } = parts;
  const scope = [`encrypted-upload:${id}`];
  let records = parts.records;
  /** Content after the full records: the first `fill` bytes. */
  const tail = new Uint8Array(RECORD_BYTES);
  let fill = parts.rest.length;
  tail.set(parts.rest);
  let sealing: Buffer | undefined;
  let isSaved = true;
  let hasFailed = false;

  /** Takes a new key for what is sealed from here on, and makes known by which salt it is found. */
  async function begin(): Promise<Buffer> {
    const salt = randomBytes(SALT_BYTES);
    const isOurs = await database.write((tx) => beginSegment(tx, { id, writer, start: records, salt, now: clock.now() }), {
      durable: 'process', // lost, the records from here on could never be opened
      scope,
    });
    if (!isOurs) throw new AppError('upload_busy', 'another request went on with this upload');
    return segmentKey(key.bytes, salt);
  }

  /** Seals and stores one batch of full records, the first of them begun before; gives how much of the buffer it took. */
  async function storeBatch(segment: Buffer, buffer: Uint8Array, length: number): Promise<number> {
    const sealed = await threads.take();
    try {
      let count = 0;
      let used = 0;
      if (fill > 0) {
        used = RECORD_BYTES - fill;
        tail.set(buffer.subarray(0, used), fill);
        sealRecord({ key: segment, context: header, record: records, last: false }, tail, sealed);
        count = 1;
      }
      const more = Math.min(Math.floor((length - used) / RECORD_BYTES), BATCH - count);
      if (more > 0) {
        const job = { op: 'seal', key: segment, header, first: records + count, count: more } as const;
        await threads.run(job, buffer.subarray(used), sealed.subarray(count * SEALED_BYTES));
      }
      count += more;
      await base.write(sealed, count * SEALED_BYTES, sealedAt(records));
      records += count;
      fill = 0;
      return used + more * RECORD_BYTES;
    } finally {
      threads.give(sealed);
    }
  }

  async function save(): Promise<void> {
    const sealed = fill === 0 ? null : sealTail(key, header, records, tail.subarray(0, fill));
    const row = { id, writer, record: records, tail: sealed, now: clock.now() };
    // Where the right to write has passed on nothing is changed: what comes late reaches nobody.
    await database.write((tx) => saveTail(tx, row), { durable: 'process', scope });
    isSaved = true;
  }

  /** Content between the beginning of a record and a position in it. */
  async function contentOf(record: number, length: number): Promise<Uint8Array> {
    if (length === 0) return NOTHING;
    if (record === parts.records && length <= parts.rest.length) return parts.rest.subarray(0, length);
    if (record === records && length <= fill) return tail.slice(0, length);
    return (await parts.readBack(record)).slice(0, length);
  }

  return {
    async write(buffer, length, position) {
      if (hasFailed || position !== records * RECORD_BYTES + fill) throw new Error(`upload ${id} is written out of order`);
      hasFailed = true; // until it is through
      let from = 0;
      while (fill + length - from >= RECORD_BYTES) {
        sealing ??= await begin();
        from += await storeBatch(sealing, buffer.subarray(from), length - from);
      }
      tail.set(buffer.subarray(from, length), fill);
      fill += length - from;
      isSaved = false;
      hasFailed = false;
    },
    flush: () => base.flush(),
    async rewind(length) {
      const record = Math.floor(length / RECORD_BYTES);
      const content = await contentOf(record, length - record * RECORD_BYTES);
      sealing = undefined; // records from here on may have been sealed before
      await base.rewind(sealedAt(record));
      records = record;
      fill = content.length;
      tail.set(content);
      const stored = await parts.storedBytes();
      if (stored < sealedAt(record)) {
        // The store below has taken back more, or everything.
        records = Math.max(0, Math.floor((stored - HEADER_BYTES) / SEALED_BYTES));
        fill = 0;
        if (stored < HEADER_BYTES) await base.write(header, header.length, 0);
        else await base.rewind(sealedAt(records));
      }
      await save();
      hasFailed = false;
    },
    async close() {
      // In this order: what the rest of a content continues has to be there before an older rest is given up.
      await base.close();
      if (!isSaved) await save();
    },
  };
}

const TAIL = Buffer.from('tail');

function sealTail(key: DataKey, header: Uint8Array, record: number, content: Uint8Array): Buffer {
  const sealed = Buffer.alloc(SALT_BYTES + content.length + TAG_BYTES);
  const salt = randomBytes(SALT_BYTES);
  salt.copy(sealed);
  const context = Buffer.concat([header, TAIL]);
  sealRecord({ key: segmentKey(key.bytes, salt), context, record, last: false }, content, sealed.subarray(SALT_BYTES));
  return sealed;
}

/** Content of a tail as it lies in the database. Throws DamagedBlob where it is not what was sealed there. */
export function openTail(key: DataKey, header: Uint8Array, record: number, tail: Uint8Array): Uint8Array {
  const content = new Uint8Array(tailBytes(tail));
  const context = Buffer.concat([header, TAIL]);
  const where = { key: segmentKey(key.bytes, tail.subarray(0, SALT_BYTES)), context, record, last: false };
  openRecord(where, tail.subarray(SALT_BYTES), content);
  return content;
}

/** Bytes of content of a tail. */
export function tailBytes(tail: Uint8Array): number {
  return Math.max(0, tail.length - SALT_BYTES - TAG_BYTES);
}
