import { randomBytes } from 'node:crypto';
import type { UploadWriter } from '../blob-store.ts';
import type { Bucket, Part } from './bucket.ts';
import { cutAt, type Entry, type Extent, extentsOf, lengthOf, segmentName } from './entries.ts';
import { toFailure } from './failures.ts';
import type { PartHolder, PartPool } from './part-pool.ts';
import { createPieceReader } from './reader.ts';

/** S3 copies no less than this from an object into a part, but for the last one. */
export const LEAST_PART = 5 << 20;
/** Parts of one upload that are sent at once. */
const IN_FLIGHT = 2;
/** Segments end here, so that a crash costs no more; of a long upload later, so that they do not become many. */
const SEGMENT_BYTES = 128 << 20;
const MOST_SEGMENT_BYTES = 4 * 2 ** 30;

interface Options {
  readonly bucket: Bucket;
  readonly pool: PartPool;
  /** What the keys of the upload begin with. */
  readonly folder: string;
  /** All that is there of the upload. */
  readonly entries: readonly Entry[];
  readonly epoch: number;
  /** Hears of all that is there when it closes. */
  readonly onClose: (entries: readonly Entry[]) => void;
  readonly segmentBytes?: number;
}

/** An object on its way: small, it is stored in one request, larger as a multipart upload. */
interface Open {
  readonly key: string;
  readonly name: string;
  readonly number: number;
  readonly start: number;
  size: number;
  uploadId: Promise<string> | undefined;
  readonly parts: Promise<Part>[];
}

/**
 * Writes an upload as segments. Bytes are gathered into parts, each sent when it is full; what was written is kept once its
 * segment ends: when the writer closes, when the segment is large, or when others need the memory. A short end of what is
 * there already is read again and goes into the next segment, so that no segment but the last is too small to be copied.
 */
export class SegmentWriter implements UploadWriter, PartHolder {
  readonly #options: Options;
  readonly #inFlight = new Set<Promise<unknown>>();
  /** All that is there, or on its way there. */
  #entries: Entry[];
  #number = 0;
  #open: Open | undefined;
  #part: Buffer | undefined;
  #fill = 0;
  /** Where the next byte goes; undefined before the first. */
  #at: number | undefined;
  /** The segments that are being ended, one after the other. */
  #ending: Promise<void> = Promise.resolve();
  #failure: Error | undefined;
  #isBusy = false;

  constructor(options: Options) {
    this.#options = options;
    this.#entries = [...options.entries];
  }

  write(buffer: Uint8Array, length: number, position: number): Promise<void> {
    return this.#exclusively(async () => {
      for (let done = 0; done < length; ) {
        if (this.#failure) throw this.#failure;
        if (this.#at !== position + done) await this.#seek(position + done);
        if (!this.#part) await this.#begin();
        const part = this.#part;
        if (!part || !this.#open) throw new Error('a segment has no part');
        const count = Math.min(length - done, part.length - this.#fill);
        part.set(buffer.subarray(done, done + count), this.#fill);
        done += count;
        this.#fill += count;
        this.#open.size += count;
        this.#at = position + done;
        if (this.#fill === part.length) await this.#sendPart();
      }
    });
  }

  async flush(): Promise<void> {
    if (this.#failure) throw this.#failure;
  }

  rewind(length: number): Promise<void> {
    return this.#exclusively(async () => {
      await this.#drop();
      await this.#ending;
      const mayBeThere = this.#failure !== undefined; // what failed for us may have reached the bucket
      this.#failure = undefined;
      if (lengthOf(extentsOf(this.#entries)) <= length && !mayBeThere) return;
      const cut = this.#newSegment(length);
      await this.#options.bucket.put(cut.key, new Uint8Array());
      this.#entries.push({ ...cut, epoch: this.#options.epoch });
    });
  }

  close(): Promise<void> {
    return this.#exclusively(async () => {
      if (this.#failure) await this.#drop();
      else this.#endSegment();
      await this.#ending;
      if (this.#failure) throw this.#failure;
      await this.#removeReplaced();
      this.#options.onClose(this.#entries);
    });
  }

  spill(): boolean {
    if (this.#isBusy || !this.#part) return false;
    this.#endSegment();
    return true;
  }

  async #exclusively(work: () => Promise<void>): Promise<void> {
    this.#isBusy = true;
    try {
      await work();
    } finally {
      this.#isBusy = false;
      if (this.#part) this.#options.pool.filling(this);
    }
  }

  /** Goes on elsewhere than where the last byte went. */
  async #seek(position: number): Promise<void> {
    await this.#drop();
    await this.#settled();
    if (position > lengthOf(extentsOf(this.#entries))) throw new Error(`an upload has no byte before ${position} to go on from`);
    this.#at = position;
  }

  /** Gives the open segment a part to fill, and opens one where there is none. */
  async #begin(): Promise<void> {
    const { pool } = this.#options;
    if (this.#open) {
      this.#part = await pool.take();
      return;
    }
    const at = this.#at ?? 0;
    const before = cutAt(extentsOf(this.#entries), at).at(-1);
    const short = before && before.length < LEAST_PART ? before : undefined;
    if (short) await this.#settled(); // it may be on its way
    const part = await pool.take();
    this.#part = part;
    this.#fill = 0;
    this.#open = this.#newSegment(short?.start ?? at);
    if (!short) return;
    try {
      await this.#readAgain(short, part);
    } catch (error) {
      await this.#drop();
      throw error;
    }
    this.#fill = short.length;
    this.#open.size = short.length;
  }

  async #readAgain({ name, from, length, of }: Extent, part: Buffer): Promise<void> {
    const { bucket, folder } = this.#options;
    const reader = createPieceReader(bucket, [{ key: folder + name, from, start: 0, length, of }], length);
    try {
      await reader.read(part, length, 0);
    } finally {
      await reader.close();
    }
  }

  #newSegment(start: number): Open {
    const number = ++this.#number;
    const name = segmentName({ epoch: this.#options.epoch, number, start }, randomBytes(6).toString('hex'));
    return { key: this.#options.folder + name, name, number, start, size: 0, uploadId: undefined, parts: [] };
  }

  async #sendPart(): Promise<void> {
    const open = this.#open;
    if (!open) return;
    this.#handOver(open);
    const most = this.#options.pool.isScarce ? 1 : IN_FLIGHT;
    while (this.#inFlight.size >= most) await Promise.race(this.#inFlight);
    if (this.#failure) throw this.#failure;
    const limit = Math.max(this.#options.segmentBytes ?? SEGMENT_BYTES, Math.min(open.start / 8, MOST_SEGMENT_BYTES));
    if (open.size >= limit) this.#endSegment();
  }

  /** Sends what the part holds as the next one of a multipart upload. */
  #handOver(open: Open): void {
    const { bucket, pool } = this.#options;
    const part = this.#part;
    if (!part) return;
    const bytes = part.subarray(0, this.#fill);
    this.#part = undefined;
    this.#fill = 0;
    pool.done(this);
    open.uploadId ??= bucket.beginParts(open.key, { copied: false });
    const number = open.parts.length + 1;
    const sent = open.uploadId.then((id) => bucket.putPart(open.key, id, number, bytes)).finally(() => pool.give(part));
    open.parts.push(sent);
    this.#watch(sent);
  }

  #watch(work: Promise<unknown>): void {
    const over = work
      .catch((error: unknown) => {
        this.#failure ??= toFailure(error);
      })
      .finally(() => this.#inFlight.delete(over));
    this.#inFlight.add(over);
  }

  /** Makes an object of the open segment, beside what comes next; a failure is heard of by whoever waits for the end. */
  #endSegment(): void {
    const open = this.#open;
    const part = this.#part;
    this.#open = undefined;
    if (!open) return;
    const { bucket, pool, epoch } = this.#options;
    const { name, key, number, start, size } = open;
    let work: () => Promise<unknown>;
    if (open.uploadId === undefined && part) {
      const bytes = part.subarray(0, this.#fill);
      this.#part = undefined;
      pool.done(this);
      const sent = bucket.put(key, bytes).finally(() => pool.give(part));
      this.#watch(sent);
      work = () => sent;
    } else {
      if (part && this.#fill > 0) this.#handOver(open);
      const { uploadId, parts } = open;
      work = async () => {
        if (uploadId === undefined) return;
        const all = await Promise.all(parts);
        await bucket.completeParts(key, await uploadId, all, { ifAbsent: false });
      };
    }
    this.#entries.push({ name, epoch, number, start, size });
    this.#ending = this.#ending.then(work).then(
      () => undefined,
      async (error: unknown) => {
        this.#failure ??= toFailure(error);
        this.#entries = this.#entries.filter((entry) => entry.name !== name);
        await this.#abort(open);
      },
    );
  }

  /** Takes back what is not yet on its way as a segment. */
  async #drop(): Promise<void> {
    const { pool } = this.#options;
    const open = this.#open;
    if (this.#part) pool.give(this.#part);
    this.#part = undefined;
    this.#open = undefined;
    this.#at = undefined;
    pool.done(this);
    if (open) await this.#abort(open);
  }

  async #abort({ key, uploadId, parts }: Open): Promise<void> {
    if (uploadId === undefined) return;
    await Promise.allSettled(parts); // one that comes later would not be aborted
    await uploadId.then((id) => this.#options.bucket.abortParts(key, id)).catch(() => undefined); // found by whoever looks for leftovers
  }

  async #settled(): Promise<void> {
    await this.#ending;
    if (this.#failure) throw this.#failure;
  }

  /** Short ends that were read again are in the segments that followed them. */
  async #removeReplaced(): Promise<void> {
    const { bucket, folder } = this.#options;
    const kept = new Set(extentsOf(this.#entries).map(({ name }) => name));
    const gone = this.#entries.filter((entry) => 'size' in entry && entry.size > 0 && !kept.has(entry.name));
    await Promise.all(
      gone.map(async (entry) => {
        await bucket.remove(folder + entry.name).then(
          () => (this.#entries = this.#entries.filter((other) => other !== entry)),
          () => undefined, // it goes with the upload
        );
      }),
    );
  }
}
