import type { Client } from '../harness/client.ts';
import { sha256 } from '../harness/client.ts';
import type { Acknowledged } from '../harness/invariants.ts';

type Kind = 'blob' | 'manifest' | 'tag';

/** Something a client reads under an address; null: it is not there. */
interface Entry {
  readonly kind: Kind;
  readonly name: string;
  readonly reference: string;
  /** What a later read may give: one value once an answer came, also the former one while a request is on its way. */
  possible: readonly (string | null)[];
  bytes: Uint8Array;
}

/** What one client was told by the server, and what it may find after the server died in the middle of a request. */
export class Ledger {
  readonly #entries = new Map<string, Entry>();
  /** Unfinished uploads: where, and how many bytes were acknowledged. */
  readonly #uploads = new Map<string, number>();

  /** Runs a request that makes an entry read `value` if it succeeds; it succeeds by not throwing. */
  async change(kind: Kind, name: string, reference: string, value: Uint8Array | null, request: () => Promise<unknown>): Promise<void> {
    const key = `${kind} ${name} ${reference}`;
    const entry = this.#entries.get(key) ?? { kind, name, reference, possible: [null], bytes: Buffer.alloc(0) };
    this.#entries.set(key, entry);
    const digest = value === null ? null : sha256(value);
    entry.possible = [...entry.possible, digest];
    if (value) entry.bytes = value;
    await request();
    entry.possible = [digest];
  }

  upload(location: string, bytes: number): void {
    this.#uploads.set(location, bytes);
  }

  /** The upload is being finished or given up: it may be gone. */
  endUpload(location: string): void {
    this.#uploads.delete(location);
  }

  /** Reads everything back; throws for what was acknowledged and is not so. What was open is known afterwards. */
  async verify(client: Client): Promise<number> {
    for (const entry of this.#entries.values()) {
      const { kind, name, reference, possible } = entry;
      const { status, bytes } = await client.request('GET', `/v2/${name}/${kind === 'blob' ? 'blobs' : 'manifests'}/${reference}`);
      if (status !== 200 && status !== 404) throw new Error(`${kind} ${reference} answered ${status}: ${bytes}`);
      const found = status === 200 ? sha256(bytes) : null;
      if (!possible.includes(found)) throw new Error(`${kind} ${name} ${reference} is ${found}, acknowledged was ${possible}`);
      entry.possible = [found];
    }
    for (const [location, acknowledged] of this.#uploads) {
      const { status, headers } = await client.request('GET', location);
      const have = Number(headers.get('range')?.split('-')[1] ?? -1) + 1;
      if (status !== 204 || have < acknowledged) throw new Error(`an upload with ${acknowledged} bytes answers ${status}, ${have} bytes`);
    }
    return this.#entries.size;
  }

  /** What is certain, for the checker of invariants. */
  acknowledged(): Acknowledged {
    const certain = (kind: Kind) =>
      [...this.#entries.values()].flatMap(({ kind: own, name, reference, possible: [digest, ...others], bytes }) =>
        own === kind && others.length === 0 && digest ? [{ name, reference, digest, bytes }] : [],
      );
    return {
      blobs: certain('blob').map(({ name, digest, bytes }) => ({ name, digest, size: bytes.length })),
      manifests: certain('manifest'),
      tags: certain('tag').map(({ name, reference, digest }) => ({ name, tag: reference, digest })),
    };
  }
}
