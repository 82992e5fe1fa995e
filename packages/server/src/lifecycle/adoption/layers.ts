import type { Manifest } from '@entrepot/oci';
import { LRUCache } from 'lru-cache';
import { findBlob } from '../../catalog/index.ts';
import type { Database, MaybePromise } from '../../platform/index.ts';

export interface Layer {
  readonly digest: string;
  readonly size: number;
  /** The catalogue has it in the repository. */
  readonly isKnown: boolean;
}

/** Blobs of a repository that are remembered: many images share few. */
const KEPT = 20_000;

interface Parts {
  readonly database: Database;
  /** The repository's number in the catalogue, once it has one. */
  repositoryId(): number | undefined;
  /** A blob that the repository has in the storage, by its link, if its bytes are there and sound. */
  look(digest: string): MaybePromise<{ readonly digest: string; readonly size: number } | undefined>;
}

/** Blobs that manifests of one repository need, each looked for once. */
export class Layers {
  readonly #parts: Parts;
  readonly #found = new LRUCache<string, { readonly layer: MaybePromise<Layer | undefined> }>({ max: KEPT });

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** What a manifest needs of the repository's blobs; or the digests that are missing. */
  async of({ blobs }: Manifest): Promise<{ found: Layer[]; missing: string[] }> {
    const [found, missing]: [Layer[], string[]] = [[], []];
    for (const { digest } of blobs) {
      const layer = await this.#layerOf(digest);
      if (layer) found.push(layer);
      else missing.push(digest);
    }
    return { found, missing };
  }

  /** Begins to look for what a manifest needs. */
  begin({ blobs }: Manifest): void {
    for (const { digest } of blobs) void this.#layerOf(digest);
  }

  /** They are in the catalogue now. */
  adopted(digests: Iterable<{ readonly digest: string; readonly size: number }>): void {
    for (const { digest, size } of digests) this.#found.set(digest, { layer: { digest, size, isKnown: true } });
  }

  #layerOf(digest: string): MaybePromise<Layer | undefined> {
    const known = this.#found.get(digest);
    if (known) return known.layer;
    const layer = this.#look(digest);
    layer.then(
      (result) => this.#found.set(digest, { layer: result }),
      () => this.#found.delete(digest),
    );
    this.#found.set(digest, { layer });
    return layer;
  }

  async #look(digest: string): Promise<Layer | undefined> {
    const { database, repositoryId, look } = this.#parts;
    const id = repositoryId();
    const known = id === undefined ? undefined : await findBlob(database, id, digest);
    if (known) return { digest, size: known.size, isKnown: true };
    const layer = await look(digest);
    return layer && { ...layer, isKnown: false };
  }
}
