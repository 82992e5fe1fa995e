import { describe, expect, it } from 'vitest';
import { digestOf } from './digest.ts';
import { ManifestError, parseManifest } from './manifest.ts';
import { MEDIA_TYPE } from './media-types.ts';

const bytes = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
const blob = (mediaType: string) => ({ mediaType, digest: digestOf(mediaType), size: 5 });
const image = {
  schemaVersion: 2,
  mediaType: MEDIA_TYPE.ociManifest,
  config: blob('application/vnd.oci.image.config.v1+json'),
  layers: [blob('application/vnd.oci.image.layer.v1.tar+gzip')],
};

describe('parseManifest', () => {
  it('reads an image with its blobs, and the config type as artifact type', () => {
    const manifest = parseManifest(bytes(image), MEDIA_TYPE.ociManifest);
    expect(manifest.kind).toBe('image');
    expect(manifest.blobs).toHaveLength(2);
    expect(manifest.artifactType).toBe('application/vnd.oci.image.config.v1+json');
  });

  it('takes the type from the body, the header or the shape, in that order', () => {
    const { mediaType: _, ...bare } = image;
    expect(parseManifest(bytes(image), undefined).mediaType).toBe(MEDIA_TYPE.ociManifest);
    expect(parseManifest(bytes(bare), MEDIA_TYPE.dockerManifest).mediaType).toBe(MEDIA_TYPE.dockerManifest);
    expect(parseManifest(bytes({ schemaVersion: 2, manifests: [] }), undefined).kind).toBe('index');
  });

  it('does not ask for non-distributable layers', () => {
    const layers = [blob('application/vnd.oci.image.layer.nondistributable.v1.tar')];
    expect(parseManifest(bytes({ ...image, layers }), undefined).blobs).toHaveLength(1);
  });

  const text = JSON.stringify(image);
  it.each([
    ['not JSON', '{'],
    ['trailing bytes', `${text}x`],
    ['a byte order mark', `\uFEFF${text}`],
    ['an array', '[]'],
    ['image and index fields together', { ...image, manifests: [] }],
    ['a header that disagrees', { ...image, mediaType: MEDIA_TYPE.dockerManifest }],
    ['a mistyped version', { ...image, schemaVersion: '2' }],
    ['a key twice', text.replace('{', '{"layers":[],')],
    ['a key twice by escape', text.replace('{', '{"l\\u0061yers":[],')],
    ['a key that differs in case', text.replace('{', '{"Layers":[],')],
    ['deep nesting', text.replace('{', `{"x":${'['.repeat(40)}${']'.repeat(40)},`)],
    ['two million open brackets', '['.repeat(2_000_000)],
    ['400,000 keys', `{${Array.from({ length: 400_000 }, (_, i) => `"k${i}":1`).join()}}`],
    ['an unknown digest algorithm', { ...image, config: { ...image.config, digest: 'md5:00' } }],
    ['a negative size', { ...image, config: { ...image.config, size: -1 } }],
    ['no layers', { ...image, layers: undefined }],
    ['schema 1', { schemaVersion: 1, fsLayers: [], history: [] }],
    ['annotations that are no strings', { ...image, annotations: { a: 1 } }],
  ])('refuses %s', (_, value) => {
    expect(() => parseManifest(bytes(value), MEDIA_TYPE.ociManifest)).toThrow(ManifestError);
  });

  it('reads __proto__ as an ordinary key', () => {
    parseManifest(bytes(text.replace('{', '{"__proto__":{"polluted":true},')), undefined);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });
});
