import { describe, expect, it } from 'vitest';
import { isNonDistributable, MEDIA_TYPE, manifestKind } from './media-types.ts';

describe('media types', () => {
  it.each([
    ['application/vnd.oci.image.manifest.v1+json', 'image'],
    ['application/vnd.docker.distribution.manifest.v2+json', 'image'],
    ['application/vnd.oci.image.index.v1+json', 'index'],
    ['application/vnd.docker.distribution.manifest.list.v2+json', 'index'],
    ['application/vnd.oci.artifact.manifest.v1+json', 'artifact'],
  ])('%s is an %s', (mediaType, kind) => {
    expect(manifestKind(mediaType)).toBe(kind);
    expect(Object.values<string>(MEDIA_TYPE)).toContain(mediaType);
  });

  it.each([
    '',
    'application/json',
    'application/vnd.docker.distribution.manifest.v1+json',
    'application/vnd.docker.distribution.manifest.v1+prettyjws',
    'application/vnd.oci.image.config.v1+json',
    'application/vnd.oci.image.manifest.v1+json; charset=utf-8',
    'Application/vnd.oci.image.manifest.v1+json',
    'constructor',
  ])('%j is no manifest', (mediaType) => {
    expect(manifestKind(mediaType)).toBeUndefined();
  });

  it.each([
    ['application/vnd.oci.image.layer.nondistributable.v1.tar', true],
    ['application/vnd.oci.image.layer.nondistributable.v1.tar+zstd', true],
    ['application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', true],
    ['application/vnd.oci.image.layer.v1.tar+gzip', false],
    ['application/vnd.docker.image.rootfs.diff.tar.gzip', false],
    ['application/vnd.oci.image.layer.nondistributable', false],
    ['', false],
  ])('%j may be left out: %s', (mediaType, may) => {
    expect(isNonDistributable(mediaType)).toBe(may);
  });
});
