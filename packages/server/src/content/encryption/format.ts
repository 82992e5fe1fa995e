import { parseDigest } from '@entrepot/oci';

// An encrypted blob, as it lies in any store:
//
//   header   32  magic and version 8, size of a record as power of two 1, zeros 7, id of the data key 16
//   record       65,536 bytes of content sealed to 65,552, as many as are full
//   ending       what is left of the content (0 to 65,535 bytes) sealed, so 16 to 65,551
//   table    32  for each segment: number of its first record 8, salt 24
//   footer   40  segments 4, zeros 4, bytes of content 8, salt of the ending 24
//
// Numbers are big-endian. A segment is what one writer sealed in one go: its records have a key of their own, derived from the
// data key and the segment's salt (records.ts). The ending authenticates header, digest, table and footer too.

/** Bytes of content of a full record. */
export const RECORD_BYTES = 65_536;
export const TAG_BYTES = 16;
/** A full record as it is stored. */
export const SEALED_BYTES = RECORD_BYTES + TAG_BYTES;
export const HEADER_BYTES = 32;
export const SALT_BYTES = 24;
const ENTRY_BYTES = 8 + SALT_BYTES;
const FOOTER_BYTES = 16 + SALT_BYTES;
/** Uploads of more segments are sealed anew when they are committed, so that what a reader has to keep is bounded. */
export const MAX_SEGMENTS = 4096;
/** What is read of a blob's end at once: enough for the ending, and a table of 64 segments. */
export const END_BYTES = SEALED_BYTES + 64 * ENTRY_BYTES + FOOTER_BYTES;

const MAGIC = Buffer.from([0x89, 0x45, 0x45, 0x4e, 0x43, 0x0d, 0x0a, 0x01]);
const RECORD_POWER = 16;

/** Consecutive records sealed under one derived key. */
export interface Segment {
  /** Number of its first record. */
  readonly start: number;
  readonly salt: Uint8Array;
}

/** What the end of an encrypted blob says, not yet verified. */
export interface Ending {
  /** Bytes of content. */
  readonly size: number;
  /** Full records before the ending. */
  readonly records: number;
  readonly segments: readonly Segment[];
  readonly salt: Uint8Array;
  readonly sealed: Uint8Array;
  /** Table and footer as they are stored. */
  readonly closing: Uint8Array;
}

/** An encrypted blob or upload that is not what was written: to whoever reads it, as if the disk had failed there. */
export class DamagedBlob extends Error {
  override name = 'DamagedBlob';
  readonly code = 'EIO';
}

/** `keyId`: 32 characters of hex. */
export function headerOf(keyId: string): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(header);
  header[MAGIC.length] = RECORD_POWER;
  header.write(keyId, HEADER_BYTES - 16, 'hex');
  return header;
}

/** Id of the data key that a header names; undefined where these bytes are no header. */
export function keyIdIn(header: Uint8Array): string | undefined {
  const bytes = Buffer.from(header.buffer, header.byteOffset, header.byteLength);
  if (bytes.length < HEADER_BYTES || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  const keyId = bytes.toString('hex', HEADER_BYTES - 16, HEADER_BYTES);
  if (!headerOf(keyId).equals(bytes.subarray(0, HEADER_BYTES))) throw new DamagedBlob('an encrypted blob has a header of no known version');
  return keyId;
}

/** Where a record begins in the stored bytes. */
export function sealedAt(record: number): number {
  return HEADER_BYTES + record * SEALED_BYTES;
}

/** Table and footer. */
export function closingOf(segments: readonly Segment[], size: number, salt: Uint8Array): Buffer {
  const closing = Buffer.alloc(segments.length * ENTRY_BYTES + FOOTER_BYTES);
  for (const [index, segment] of segments.entries()) {
    closing.writeBigUInt64BE(BigInt(segment.start), index * ENTRY_BYTES);
    closing.set(segment.salt, index * ENTRY_BYTES + 8);
  }
  const footer = segments.length * ENTRY_BYTES;
  closing.writeUInt32BE(segments.length, footer);
  closing.writeBigUInt64BE(BigInt(size), footer + 8);
  closing.set(salt, footer + 16);
  return closing;
}

/** How much of a blob's end has to be read, from what was read of it so far. Throws where no such blob can be. */
export function bytesOfEnding(end: Uint8Array): number {
  const { segments, size } = footerIn(end);
  return (size % RECORD_BYTES) + TAG_BYTES + segments * ENTRY_BYTES + FOOTER_BYTES;
}

/** Reads the end of a blob of `stored` bytes. Throws DamagedBlob where the parts do not fit together. */
export function endingOf(end: Uint8Array, stored: number): Ending {
  const { segments: count, size } = footerIn(end);
  const records = Math.floor(size / RECORD_BYTES);
  const sealedBytes = (size % RECORD_BYTES) + TAG_BYTES;
  const closingBytes = count * ENTRY_BYTES + FOOTER_BYTES;
  if (stored !== sealedAt(records) + sealedBytes + closingBytes || end.length < sealedBytes + closingBytes) {
    throw new DamagedBlob('an encrypted blob has another length than it says');
  }
  const closing = Buffer.from(end.subarray(end.length - closingBytes));
  const segments = Array.from({ length: count }, (_, index) => ({
    start: Number(closing.readBigUInt64BE(index * ENTRY_BYTES)),
    salt: closing.subarray(index * ENTRY_BYTES + 8, (index + 1) * ENTRY_BYTES),
  }));
  const sealed = end.subarray(end.length - closingBytes - sealedBytes, end.length - closingBytes);
  return { size, records, segments, salt: closing.subarray(-SALT_BYTES), sealed, closing };
}

/** What the ending authenticates besides its own content. */
export function endingContext(header: Uint8Array, digest: string, closing: Uint8Array): Buffer {
  if (!parseDigest(digest)) throw new Error('a digest outside the grammar reached the store');
  return Buffer.concat([header, Buffer.from(digest), closing]);
}

/** The segment that holds a record, and the first record after it. */
export function segmentAt(segments: readonly Segment[], record: number): { segment: Segment; end: number } {
  let low = 0;
  let high = segments.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((segments[middle]?.start ?? 0) <= record) low = middle;
    else high = middle - 1;
  }
  const segment = segments[low];
  if (!segment || segment.start > record) throw new DamagedBlob('an encrypted blob has a record of no segment');
  return { segment, end: segments[low + 1]?.start ?? Number.POSITIVE_INFINITY };
}

function footerIn(end: Uint8Array): { segments: number; size: number } {
  if (end.length < FOOTER_BYTES) throw new DamagedBlob('an encrypted blob is too short');
  const footer = Buffer.from(end.buffer, end.byteOffset + end.byteLength - FOOTER_BYTES, FOOTER_BYTES);
  const segments = footer.readUInt32BE(0);
  const size = Number(footer.readBigUInt64BE(8));
  if (segments > MAX_SEGMENTS || footer.readUInt32BE(4) !== 0 || !Number.isSafeInteger(size)) {
    throw new DamagedBlob('an encrypted blob has no proper end');
  }
  return { segments, size };
}
