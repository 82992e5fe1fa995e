import { isDigest } from './digest.ts';
import { guardJson, JsonGuardError, type JsonLimits } from './json-guard.ts';
import { isNonDistributable, type ManifestKind, MEDIA_TYPE, manifestKind } from './media-types.ts';

/** A manifest that breaks the specification or would be read differently by different clients. */
export class ManifestError extends Error {
  override name = 'ManifestError';
}

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** What the registry needs to know of a manifest; the bytes themselves are kept as pushed. */
export interface Manifest {
  readonly kind: ManifestKind;
  readonly mediaType: string;
  /** As the referrers API shows it: the manifest's own, else an image's config media type, else undefined. */
  readonly artifactType: string | undefined;
  readonly annotations: Readonly<Record<string, string>> | undefined;
  readonly subject: Descriptor | undefined;
  /** Config and layers that must be in the repository. */
  readonly blobs: readonly Descriptor[];
  /** Manifests of an index. */
  readonly children: readonly Descriptor[];
}

const MANIFEST_JSON_LIMITS: JsonLimits = { depth: 32, values: 300_000, keys: 10_000 };

const KNOWN_FIELDS = [
  'schemaVersion', 'mediaType', 'artifactType', 'config', 'layers', 'manifests', 'blobs', 'subject', 'annotations',
  'fsLayers', 'signatures', 'history',
]; // biome-ignore format: one short list
const DESCRIPTOR_FIELDS = ['mediaType', 'digest', 'size'];
const FIELD_BY_FOLDED = byFolded(KNOWN_FIELDS);
const DESCRIPTOR_FIELD_BY_FOLDED = byFolded(DESCRIPTOR_FIELDS);

type JsonObject = Record<string, unknown>;

/**
 * Reads a manifest once, strictly. `contentType` is the media type of the request without parameters, or
 * undefined. Throws ManifestError for anything a second reader could understand differently: body and header
 * that disagree, image and index fields together, keys twice or spelled with other case.
 * Follows image-spec manifest.md and image-index.md, and Docker's schema 2.
 */
export function parseManifest(bytes: Uint8Array, contentType: string | undefined): Manifest {
  const root = readObject(bytes);
  const mediaType = mediaTypeOf(root, contentType);
  const kind = manifestKind(mediaType);
  if (kind === undefined) throw new ManifestError(`media type ${quote(mediaType)} is not a manifest type this registry stores`);
  if (kind !== 'artifact' && root.schemaVersion !== 2) throw new ManifestError('schemaVersion must be the number 2');
  for (const field of foreignFields(kind)) {
    if (root[field] !== undefined) throw new ManifestError(`field ${quote(field)} does not belong in ${mediaType}`);
  }
  const config = kind === 'image' ? descriptor(root.config, 'config') : undefined;
  const layers = kind === 'image' ? descriptors(root.layers, 'layers') : kind === 'artifact' ? descriptors(root.blobs ?? [], 'blobs') : [];
  // BuildKit keeps build caches as an index of layers: what is no manifest is asked for as a blob.
  const members = kind === 'index' ? descriptors(root.manifests, 'manifests') : [];
  const children = members.filter((member) => manifestKind(member.mediaType) !== undefined);
  const others = members.filter((member) => manifestKind(member.mediaType) === undefined);
  const own = optionalString(root.artifactType, 'artifactType');
  return {
    kind,
    mediaType,
    artifactType: own ?? config?.mediaType,
    annotations: annotationsOf(root.annotations),
    subject: root.subject === undefined || root.subject === null ? undefined : descriptor(root.subject, 'subject'),
    blobs: [...(config ? [config] : []), ...layers, ...others].filter((blob) => !isNonDistributable(blob.mediaType)),
    children,
  };
}

function readObject(bytes: Uint8Array): JsonObject {
  let root: unknown;
  try {
    guardJson(bytes, MANIFEST_JSON_LIMITS);
    root = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (cause) {
    const why = cause instanceof JsonGuardError ? cause.message : 'is not valid JSON in UTF-8';
    throw new ManifestError(`the manifest ${why}`, { cause });
  }
  if (!isObject(root)) throw new ManifestError('the manifest is not a JSON object');
  requireExactCase(root, FIELD_BY_FOLDED);
  return root;
}

/** Go's JSON reader, which most clients use, takes a key in any case, and of several the last. */
function requireExactCase(object: JsonObject, fields: ReadonlyMap<string, string>): void {
  for (const key in object) {
    if (DESCRIPTOR_FIELDS.includes(key)) continue; // by far the most, and exact
    const known = fields.get(folded(key));
    if (known !== undefined && known !== key) throw new ManifestError(`field ${quote(key)} differs from ${quote(known)} in case only`);
  }
}

function byFolded(fields: readonly string[]): ReadonlyMap<string, string> {
  return new Map(fields.map((field) => [folded(field), field]));
}

/** First to upper case, as that makes S and K of the long s and the Kelvin sign: Go does the same. */
function folded(key: string): string {
  return key.toUpperCase().toLowerCase();
}

function mediaTypeOf(root: JsonObject, contentType: string | undefined): string {
  const own = optionalString(root.mediaType, 'mediaType');
  if (own !== undefined) {
    if (contentType !== undefined && contentType !== own) {
      throw new ManifestError(`Content-Type ${quote(contentType)} and mediaType ${quote(own)} disagree`);
    }
    return own;
  }
  if (contentType !== undefined) return contentType;
  return root.manifests === undefined ? MEDIA_TYPE.ociManifest : MEDIA_TYPE.ociIndex;
}

function foreignFields(kind: ManifestKind): readonly string[] {
  switch (kind) {
    case 'image':
      return ['manifests', 'blobs', 'fsLayers', 'signatures'];
    case 'index':
      return ['config', 'layers', 'blobs', 'fsLayers', 'signatures'];
    case 'artifact':
      return ['config', 'layers', 'manifests', 'fsLayers', 'signatures'];
  }
}

function descriptors(value: unknown, where: string): Descriptor[] {
  if (!Array.isArray(value)) throw new ManifestError(`${where} must be an array`);
  return value.map((item: unknown, index) => descriptor(item, `${where}[${index}]`));
}

function descriptor(value: unknown, where: string): Descriptor {
  if (!isObject(value)) throw new ManifestError(`${where} must be a descriptor`);
  requireExactCase(value, DESCRIPTOR_FIELD_BY_FOLDED);
  const { mediaType, digest, size } = value;
  if (typeof mediaType !== 'string' || mediaType.length > 255) throw new ManifestError(`${where}.mediaType must be a string`);
  if (typeof digest !== 'string' || !isDigest(digest)) throw new ManifestError(`${where}.digest must be a sha256 or sha512 digest`);
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0)
    throw new ManifestError(`${where}.size must be a whole number of bytes`);
  return { mediaType, digest, size };
}

function annotationsOf(value: unknown): Record<string, string> | undefined {
  if (value === undefined || value === null) return undefined;
  if (!isObject(value)) throw new ManifestError('annotations must be an object of strings');
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string') throw new ManifestError(`annotation ${quote(key)} must be a string`);
  }
  return value as Record<string, string>;
}

function optionalString(value: unknown, where: string): string | undefined {
  if (value === undefined || value === '') return undefined;
  if (typeof value !== 'string' || value.length > 255) throw new ManifestError(`${where} must be a string of at most 255 characters`);
  return value;
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 120));
}
