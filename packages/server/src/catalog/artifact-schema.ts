import Type from 'typebox';

const Descriptor = { mediaType: Type.String(), digest: Type.String(), size: Type.Integer() };
export const Platform = Type.Object({
  os: Type.String(),
  architecture: Type.String(),
  variant: Type.Optional(Type.String()),
  osVersion: Type.Optional(Type.String()),
});

/** What a manifest itself says, besides the facts that lists show. */
export const ArtifactContent = {
  manifestSize: Type.Integer({ description: 'bytes of the manifest itself' }),
  annotations: Type.Record(Type.String(), Type.String()),
  blobs: Type.Array(Type.Object(Descriptor), { description: 'config and layers' }),
  children: Type.Array(Type.Object({ ...Descriptor, platform: Type.Optional(Platform) }), { description: 'manifests of an index' }),
  image: Type.Optional(
    Type.Object(
      {
        platform: Platform,
        created: Type.Optional(Type.String()),
        author: Type.Optional(Type.String()),
        labels: Type.Record(Type.String(), Type.String()),
      },
      { description: "from an image's config" },
    ),
  ),
};
