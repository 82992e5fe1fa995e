/** Media types of manifests (image-spec media-types.md; Docker image manifest v2 schema 2). */
export const MEDIA_TYPE = {
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociArtifact: 'application/vnd.oci.artifact.manifest.v1+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
} as const;

export type ManifestKind = 'image' | 'index' | 'artifact';

const KINDS: ReadonlyMap<string, ManifestKind> = new Map([
  [MEDIA_TYPE.ociManifest, 'image'],
  [MEDIA_TYPE.dockerManifest, 'image'],
  [MEDIA_TYPE.ociIndex, 'index'],
  [MEDIA_TYPE.dockerList, 'index'],
  [MEDIA_TYPE.ociArtifact, 'artifact'],
]);

export function manifestKind(mediaType: string): ManifestKind | undefined {
  return KINDS.get(mediaType);
}

/** Layers that a registry need not hold: their bytes come from the descriptor's `urls` (image-spec layer.md, "Non-Distributable Layers"). */
export function isNonDistributable(mediaType: string): boolean {
  return (
    mediaType.startsWith('application/vnd.oci.image.layer.nondistributable.') ||
    mediaType === 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip'
  );
}
