import { type Descriptor, parseManifest } from '@entrepot/oci';

/** A layer of an image as its manifest names it. */
export interface ImageLayer {
  readonly digest: string;
  readonly size: number;
  /** Why it is not read; undefined where it is. */
  readonly problem?: string;
}

/** What a manifest is to the inventory: layers over each other, an index of others, or nothing with a file system (and what then). */
export type ImageKind =
  | { readonly kind: 'image'; readonly layers: readonly ImageLayer[] }
  | { readonly kind: 'index'; readonly children: readonly string[] }
  | { readonly kind: 'empty'; readonly reason: string };

const CONFIGS: ReadonlySet<string> = new Set([
  'application/vnd.oci.image.config.v1+json',
  'application/vnd.docker.container.image.v1+json',
]);
/** Archives of file systems (image-spec layer.md, "+gzip Media Types" and the next), of Docker too; what is not distributed may be here all the same. */
const LAYERS =
  /^application\/vnd\.(?:oci\.image\.layer\.(?:nondistributable\.)?v1\.tar(?:\+(?:gzip|zstd))?|docker\.image\.rootfs\.(?:foreign\.)?diff\.tar(?:\.gzip|\.zstd)?|docker\.image\.rootfs\.diff\.tar\+zstd)$/;
const ENCRYPTED = /\+encrypted$/;
const MOST_LAYERS = 1000;

/** Reads a stored manifest. Throws ManifestError where it is none. */
export function imageKindOf(bytes: Uint8Array, mediaType: string): ImageKind {
  const manifest = parseManifest(bytes, mediaType);
  if (manifest.kind === 'index') return { kind: 'index', children: manifest.children.map(({ digest }) => digest) };
  const { config, layers = [] } = JSON.parse(Buffer.from(bytes).toString()) as { config?: Descriptor; layers?: Descriptor[] };
  if (manifest.kind === 'artifact' || config === undefined || !CONFIGS.has(config.mediaType))
    return { kind: 'empty', reason: `not an image: an artifact of type ${manifest.artifactType ?? manifest.mediaType}` };
  const [first] = layers;
  // As BuildKit attaches what it knows of a build: an image in name only.
  if (first && !layers.some((layer) => isFileSystem(layer.mediaType)))
    return { kind: 'empty', reason: `not an image: its content is of type ${first.mediaType}` };
  if (layers.length > MOST_LAYERS) return { kind: 'empty', reason: `not an image that can be read: it has ${layers.length} layers` };
  return { kind: 'image', layers: layers.map(layerOf) };
}

function isFileSystem(mediaType: string): boolean {
  return LAYERS.test(mediaType.replace(ENCRYPTED, ''));
}

function layerOf({ digest, size, mediaType }: Descriptor): ImageLayer {
  if (ENCRYPTED.test(mediaType)) return { digest, size, problem: 'the layer is encrypted' };
  if (!LAYERS.test(mediaType)) return { digest, size, problem: `the layer is of a type that is not read: ${mediaType}` };
  return { digest, size };
}
