/** Size of a part of a multipart upload, but for the last: S3 takes none below 5 MiB. */
const PART_BYTES = 8 << 20;
/** Free parts that are kept; what a rush needed more is left to the collector of memory. */
const KEPT = 4;

/** Who fills a part and may have to give it up. */
export interface PartHolder {
  /** Starts to store what the part holds so far, so that it comes back; false where that cannot be at the moment. */
  spill(): boolean;
}

interface Limits {
  /** Parts in use at once, all uploads of the process together. */
  readonly parts: number;
  /** While others wait, who did not fill its part for so long has to give it up, */
  readonly idleMs: number;
  /** and who took so long to fill it. */
  readonly holdMs: number;
}

/**
 * Memory for parts, shared by all uploads of a process. Where all are in use, uploads wait for one, as their clients then do.
 * Clients that stand still or are slow have theirs taken away: what it holds is stored as it is, and read again should they go
 * on. So no number of slow clients takes more memory or holds the others up for long.
 */
export class PartPool {
  readonly #limits: Limits;
  readonly #free: Buffer[] = [];
  readonly #waiting: ((part: Buffer) => void)[] = [];
  readonly #holders = new Map<PartHolder, { readonly since: number; last: number }>();
  #made = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  async take(): Promise<Buffer> {
    const free = this.#free.pop();
    if (free) return free;
    if (this.#made < this.#limits.parts) {
      this.#made++;
      return Buffer.allocUnsafeSlow(PART_BYTES);
    }
    const part = new Promise<Buffer>((resolve) => this.#waiting.push(resolve));
    this.#timer ??= setInterval(() => this.#spillSlow(), this.#limits.idleMs / 4).unref();
    return await part;
  }

  give(part: Buffer): void {
    const next = this.#waiting.shift();
    if (next) next(part);
    else if (this.#free.length < KEPT) this.#free.push(part);
    else this.#made--;
    if (this.#waiting.length > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** The holder has a part that is not full, and put something into it just now. */
  filling(holder: PartHolder): void {
    const now = performance.now();
    const known = this.#holders.get(holder);
    if (known) known.last = now;
    else this.#holders.set(holder, { since: now, last: now });
  }

  /** The holder's part is full, stored or given back. */
  done(holder: PartHolder): void {
    this.#holders.delete(holder);
  }

  /** Somebody waits for a part. */
  get isScarce(): boolean {
    return this.#waiting.length > 0;
  }

  /** Parts in use. */
  get used(): number {
    return this.#made - this.#free.length;
  }

  #spillSlow(): void {
    const now = performance.now();
    let wanted = this.#waiting.length;
    for (const [holder, { since, last }] of this.#holders) {
      if (wanted === 0) return;
      if (now - last < this.#limits.idleMs && now - since < this.#limits.holdMs) continue;
      if (!holder.spill()) continue;
      this.#holders.delete(holder);
      wanted--;
    }
  }
}
