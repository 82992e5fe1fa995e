import type { Incomplete, Limit } from './model.ts';

/** What one layer may cost. Beyond it its inventory is incomplete, and says so. */
export interface LayerLimits {
  /** Entries of its archive. */
  readonly entries: number;
  /** Bytes of its archive, uncompressed, and of all archives within its files. */
  readonly bytes: number;
  /** How many times larger than its compressed bytes it may become; counted from `ratioFrom` uncompressed bytes on. */
  readonly ratio: number;
  readonly ratioFrom: number;
  /** Archives within archives: a jar in a war in a layer is two. */
  readonly nesting: number;
  readonly components: number;
  /** Bytes of one file that are kept in memory at once. */
  readonly file: number;
  /** Milliseconds. */
  readonly time: number;
}

const MIB = 2 ** 20;

export const LAYER_LIMITS: LayerLimits = {
  entries: 1_000_000,
  bytes: 64 * 1024 * MIB,
  ratio: 250,
  ratioFrom: 256 * MIB,
  nesting: 6,
  components: 100_000,
  file: 256 * MIB,
  time: 20 * 60_000,
};

/** Thrown where reading comes to its end before the layer does; what was found until then counts. */
export class IncompleteError extends Error {
  override name = 'IncompleteError';
  readonly why: Incomplete;

  constructor(why: Incomplete, cause?: unknown) {
    super(why.reason === 'limit' ? `the layer goes beyond the limit of ${why.limit}` : why.detail, { cause });
    this.why = why;
  }
}

/** Of bytes that are not what their digest says: the storage is at fault, not the layer. */
export const DAMAGED = { reason: 'failed', detail: 'the bytes of the layer are not those of its digest' } as const satisfies Incomplete;

export function beyond(limit: Limit): IncompleteError {
  return new IncompleteError({ reason: 'limit', limit });
}

export function malformed(detail: string, cause?: unknown): IncompleteError {
  return new IncompleteError({ reason: 'malformed', detail: detail.slice(0, 500) }, cause);
}

/** Counts what a layer costs. Each call throws IncompleteError beyond its limit. */
export interface Budget {
  readonly limits: LayerLimits;
  /** Bytes that were read or decompressed. */
  bytes(count: number): void;
  components(count: number): void;
  /** Called at the entrance of an archive within a file; `depth` is 1 for one that is a file of the layer. */
  nesting(depth: number): void;
  /** Looks at the clock. */
  time(): void;
}

export function createBudget(limits: LayerLimits, now: () => number = () => performance.now()): Budget {
  const until = now() + limits.time;
  let [bytes, components] = [0, 0];
  return {
    limits,
    bytes(count) {
      bytes += count;
      if (bytes > limits.bytes) throw beyond('bytes');
    },
    components(count) {
      components += count;
      if (components > limits.components) throw beyond('components');
    },
    nesting(depth) {
      if (depth > limits.nesting) throw beyond('nesting');
    },
    time() {
      if (now() > until) throw beyond('time');
    },
  };
}
