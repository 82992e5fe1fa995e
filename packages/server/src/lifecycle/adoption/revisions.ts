import { parseDigest } from '@entrepot/oci';

const RECORD = 40;
const HASH = 32;

/**
 * Digests with a time each, given back in the order of their times: 44 bytes for each sha256 digest, as a repository may
 * have a million of them.
 */
export class Revisions {
  #records = Buffer.alloc(RECORD * 64);
  #count = 0;
  /** Of other algorithms, which nearly nobody uses. */
  readonly #others: { readonly digest: string; readonly at: number }[] = [];

  add(digest: string, at: number): void {
    const parsed = parseDigest(digest);
    if (parsed?.algorithm !== 'sha256') {
      this.#others.push({ digest, at });
      return;
    }
    const start = this.#count * RECORD;
    if (start === this.#records.length) this.#records = Buffer.concat([this.#records, Buffer.alloc(this.#records.length)]);
    this.#records.writeDoubleBE(at, start);
    this.#records.write(parsed.hex, start + 8, HASH, 'hex');
    this.#count++;
  }

  get size(): number {
    return this.#count + this.#others.length;
  }

  *inOrder(): Iterable<{ readonly digest: string; readonly at: number }> {
    const records = this.#records;
    const timeOf = (index: number) => records.readDoubleBE(index * RECORD);
    const order = Uint32Array.from({ length: this.#count }, (_, index) => index).sort(
      (a, b) => timeOf(a) - timeOf(b) || records.compare(records, b * RECORD, (b + 1) * RECORD, a * RECORD, (a + 1) * RECORD),
    );
    for (const index of order) {
      const start = index * RECORD;
      yield { digest: `sha256:${records.toString('hex', start + 8, start + RECORD)}`, at: timeOf(index) };
    }
    yield* this.#others.sort((a, b) => a.at - b.at);
  }
}
