import {
  digestOf,
  isDigest,
  isTag,
  type Manifest,
  ManifestError,
  MEDIA_TYPE,
  manifestKind,
  parseDigest,
  parseManifest,
} from '@entrepot/oci';
import { findManifest, putManifest } from '../../catalog/index.ts';
import { AppError, audit } from '../../platform/index.ts';
import { type ImportParts, ImportProblem, importBlob, makeRepository } from './blobs.ts';
import type { ImageSource } from './source.ts';

/** Deepest nesting of indexes. */
const DEPTH = 16;
/** Largest `index.json` and `manifest.json`. */
export const INDEX_MOST = 16 << 20;

export interface ImportTarget {
  readonly repository: string;
  /** Instead of the tags that the source names; for a source of one image. */
  readonly tag?: string | undefined;
}

export interface Imported {
  readonly images: number;
  readonly tags: number;
  readonly manifests: number;
  readonly bytes: number;
  readonly problems: readonly { readonly subject: string; readonly problem: string }[];
}

/** What goes on while images are imported. */
export class Importing {
  readonly parts: ImportParts;
  readonly source: ImageSource;
  readonly repository: string;
  images = 0;
  tags = 0;
  manifests = 0;
  bytes = 0;
  readonly problems: { subject: string; problem: string }[] = [];
  readonly #done = new Set<string>();

  constructor(parts: ImportParts, source: ImageSource, repository: string) {
    this.parts = parts;
    this.source = source;
    this.repository = repository;
  }

  /** Does something for one subject; what is wrong with it is kept, and the rest goes on. */
  async attempt(subject: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const isOwn = error instanceof ImportProblem || error instanceof ManifestError || (error instanceof AppError && error.status < 500);
      if (!isOwn) throw error;
      this.problems.push({ subject, problem: error.message });
    }
  }

  /** Bytes of a small file. Throws ImportProblem where it is missing or too large. */
  async read(path: string, most: number): Promise<Buffer> {
    const reader = await this.source.open(path);
    if (!reader) throw new ImportProblem(`${path} is not there`);
    try {
      if (reader.size > most) throw new ImportProblem(`${path} has ${reader.size} bytes; at most ${most} are read`);
      const bytes = Buffer.alloc(reader.size);
      for (let at = 0; at < bytes.length; ) {
        const length = await reader.read(bytes.subarray(at), bytes.length - at, at);
        if (length === 0) throw new ImportProblem(`${path} ends before its end`);
        at += length;
      }
      return bytes;
    } finally {
      await reader.close();
    }
  }

  async blob(digest: string, path = blobFile(digest)): Promise<void> {
    const reader = await this.source.open(path);
    try {
      this.bytes += await importBlob(this.parts, this.repository, reader, digest);
    } finally {
      await reader?.close();
    }
  }

  /** Imports a manifest of a layout with all it needs, which comes first. */
  async manifest(digest: string, mediaType: string | undefined, tags: readonly string[], depth = DEPTH): Promise<void> {
    if (this.#done.has(digest) && tags.length === 0) return;
    if (depth === 0) throw new ImportProblem(`indexes are nested deeper than ${DEPTH}`);
    const bytes = await this.read(blobFile(digest), this.parts.config.manifestMaxBytes);
    const actual = digestOf(bytes, parseDigest(digest)?.algorithm);
    if (actual !== digest) throw new ImportProblem(`the bytes of ${digest} have ${actual}`);
    const manifest = parseManifest(bytes, mediaType !== undefined && manifestKind(mediaType) !== undefined ? mediaType : undefined);
    for (const child of manifest.children) {
      if (this.parts.config.sparseIndexes && !(await this.#has(child.digest))) continue;
      await this.manifest(child.digest, child.mediaType, [], depth - 1);
    }
    for (const blob of manifest.blobs) await this.blob(blob.digest);
    await this.put(digest, bytes, manifest, tags);
  }

  async #has(digest: string): Promise<boolean> {
    const reader = await this.source.open(blobFile(digest));
    await reader?.close();
    return reader !== undefined;
  }

  async put(digest: string, bytes: Uint8Array, manifest: Manifest, tags: readonly string[]): Promise<void> {
    const { database, clock, actor, config } = this.parts;
    const sparse = { children: config.sparseIndexes, blobs: config.sparseImages };
    const created = await database.write(async (tx) => {
      const repositoryId = await makeRepository(tx, this.parts, this.repository);
      const isNew = !(await findManifest(tx, repositoryId, digest));
      if (!isNew && tags.length === 0) return false;
      await putManifest(tx, { repositoryId, digest, bytes, manifest, tags, sparse, by: actor.name, now: clock.now() });
      const resource = { type: 'artifact', repository: this.repository, project: this.repository.split('/', 1)[0] ?? '', digest };
      const after = { mediaType: manifest.mediaType, size: bytes.length, tags };
      await audit(tx, { actor, origin: null, action: 'artifact.import', resource, outcome: 'success', after }, clock);
      return isNew;
    });
    if (created) this.manifests++;
    this.tags += tags.length;
    this.#done.add(digest);
  }

  get result(): Imported {
    const { images, tags, manifests, bytes, problems } = this;
    return { images, tags, manifests, bytes, problems };
  }
}

function blobFile(digest: string): string {
  const parsed = parseDigest(digest);
  if (!parsed) throw new ImportProblem(`${JSON.stringify(digest.slice(0, 200))} is no digest`);
  return `blobs/${parsed.algorithm}/${parsed.hex}`;
}

interface Entry {
  readonly digest: string;
  readonly mediaType: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** The tag that a layout gives a manifest: a plain one, or the end of a whole name, as podman, nerdctl and docker write it. */
function tagOf(annotations: Readonly<Record<string, unknown>> | undefined): string | undefined {
  for (const key of ['org.opencontainers.image.ref.name', 'io.containerd.image.name']) {
    const name = annotations?.[key];
    const tag = typeof name === 'string' ? tagIn(name) : undefined;
    if (tag !== undefined) return tag;
  }
  return undefined;
}

/** The tag of `name:tag` or of a tag alone; undefined where there is none. */
export function tagIn(name: string): string | undefined {
  if (isTag(name)) return name;
  const tag = name
    .slice(name.lastIndexOf('/') + 1)
    .split('@', 1)[0]
    ?.split(':')[1];
  return tag !== undefined && isTag(tag) ? tag : undefined;
}

/** Imports all that the index of an OCI image layout names (image-spec image-layout.md). */
export async function importLayout(parts: ImportParts, source: ImageSource, { repository, tag }: ImportTarget): Promise<Imported> {
  const going = new Importing(parts, source, repository);
  await going.attempt('index.json', async () => {
    const bytes = await going.read('index.json', INDEX_MOST);
    parseManifest(bytes, MEDIA_TYPE.ociIndex); // bounds and checks it
    const { manifests } = JSON.parse(bytes.toString()) as { manifests: Entry[] };
    if (tag !== undefined && manifests.length !== 1)
      throw new ImportProblem(`it has ${manifests.length} images; a tag can be given for one`);
    for (const { digest, mediaType, annotations } of manifests) {
      await going.attempt(digest, async () => {
        if (!isDigest(digest)) throw new ImportProblem('no digest');
        const own = tag ?? tagOf(annotations);
        await going.manifest(digest, mediaType, own === undefined ? [] : [own]);
        going.images++;
      });
    }
  });
  return going.result;
}
