/**
 * Uploads in a bucket. Objects never change, and S3 has no appending: an upload is a set of objects under `<id>/`, and what
 * they are together follows from their names and sizes alone, so that one listing tells any instance how far an upload is.
 *
 * - `<epoch>-<number>-<start>-<random>`: a segment, bytes from `start` on. One of no bytes cuts the upload off at `start`.
 * - `<epoch>-fence-<epoch>-<number>`: of all that earlier writers wrote, what comes after that epoch and number does not count.
 *
 * Each writer has an epoch of its own, later than all it found. Segments are laid in the order of epoch and number; each
 * replaces whatever lay at its start and beyond.
 */
export interface Segment {
  readonly name: string;
  readonly epoch: number;
  readonly number: number;
  readonly start: number;
  readonly size: number;
}

export interface Fence {
  readonly name: string;
  readonly epoch: number;
  readonly lastEpoch: number;
  readonly lastNumber: number;
}

export type Entry = Segment | Fence;

/** Bytes `from` to `from + length` of an object, at `start` of the upload. */
export interface Extent {
  readonly name: string;
  readonly from: number;
  readonly start: number;
  readonly length: number;
  /** Bytes of the object as a whole. */
  readonly of: number;
}

const SEGMENT = /^([0-9]{13})-([0-9]{6})-([0-9]{16})-[0-9a-f]{12}$/;
const FENCE = /^([0-9]{13})-fence-([0-9]{13})-([0-9]{6})$/;

const padded = (value: number, digits: number) => String(value).padStart(digits, '0');

export function segmentName({ epoch, number, start }: Omit<Segment, 'name' | 'size'>, random: string): string {
  return `${padded(epoch, 13)}-${padded(number, 6)}-${padded(start, 16)}-${random}`;
}

export function fenceName({ epoch, lastEpoch, lastNumber }: Omit<Fence, 'name'>): string {
  return `${padded(epoch, 13)}-fence-${padded(lastEpoch, 13)}-${padded(lastNumber, 6)}`;
}

/** Reads the name of an object of an upload; undefined for one that is none of ours. */
export function parseEntry(name: string, size: number): Entry | undefined {
  const segment = SEGMENT.exec(name);
  if (segment) return { name, epoch: Number(segment[1]), number: Number(segment[2]), start: Number(segment[3]), size };
  const fence = FENCE.exec(name);
  return fence ? { name, epoch: Number(fence[1]), lastEpoch: Number(fence[2]), lastNumber: Number(fence[3]) } : undefined;
}

export function isFence(entry: Entry): entry is Fence {
  return 'lastEpoch' in entry;
}

/** The latest epoch that anything was written in, 0 for none. */
export function lastEpoch(entries: readonly Entry[]): number {
  return entries.reduce((latest, { epoch }) => Math.max(latest, epoch), 0);
}

/** Segments that count, in the order in which they are laid. */
export function segmentsOf(entries: readonly Entry[]): Segment[] {
  const fences = entries.filter(isFence);
  const behind = (segment: Segment, fence: Fence) =>
    segment.epoch < fence.epoch &&
    (segment.epoch > fence.lastEpoch || (segment.epoch === fence.lastEpoch && segment.number > fence.lastNumber));
  return entries
    .filter((entry): entry is Segment => !isFence(entry))
    .filter((segment) => !fences.some((fence) => behind(segment, fence)))
    .sort((a, b) => a.epoch - b.epoch || a.number - b.number || (a.name < b.name ? -1 : 1));
}

/** The bytes of an upload in order, without a gap: what lies behind a gap is not there. */
export function extentsOf(entries: readonly Entry[]): Extent[] {
  let extents: Extent[] = [];
  for (const { name, start, size } of segmentsOf(entries)) {
    if (start > lengthOf(extents)) continue;
    extents = cutAt(extents, start);
    if (size > 0) extents.push({ name, from: 0, start, length: size, of: size });
  }
  return extents;
}

export function lengthOf(extents: readonly Extent[]): number {
  const last = extents.at(-1);
  return last ? last.start + last.length : 0;
}

/** The first `length` bytes. */
export function cutAt(extents: readonly Extent[], length: number): Extent[] {
  return extents
    .filter(({ start }) => start < length)
    .map((extent) => (extent.start + extent.length <= length ? extent : { ...extent, length: length - extent.start }));
}
