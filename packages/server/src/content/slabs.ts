/** Size of a large slab: a system call costs little beside it. */
export const SLAB_BYTES = 512 * 1024;
const SMALL_SLAB_BYTES = 64 * 1024;
const SMALL_KEPT = 64;

/**
 * Buffers that transfers share. The first `limit` are large; while all of those are in use, transfers get small ones,
 * so that a thousand stalled clients cost little memory and hold nobody up. Their memory is shared between threads:
 * a slab can be written to disk and hashed at once without a copy.
 */
export class SlabPool {
  readonly #large: Uint8Array[] = [];
  readonly #small: Uint8Array[] = [];
  readonly #limit: number;
  #made = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  take(): Uint8Array {
    const free = this.#large.pop();
    if (free) return free;
    if (this.#made < this.#limit) {
      this.#made++;
      return allocate(SLAB_BYTES);
    }
    return this.#small.pop() ?? allocate(SMALL_SLAB_BYTES);
  }

  give(slab: Uint8Array): void {
    if (slab.length === SLAB_BYTES) this.#large.push(slab);
    else if (this.#small.length < SMALL_KEPT) this.#small.push(slab);
  }

  /** Large slabs in use. */
  get used(): number {
    return this.#made - this.#large.length;
  }
}

function allocate(bytes: number): Uint8Array {
  return new Uint8Array(new SharedArrayBuffer(bytes));
}
