import Type, { type Static } from 'typebox';
import type { TrashItem } from '../../catalog/index.ts';

export const Kind = Type.Enum(['tag', 'manifest', 'repository']);
export const TrashView = Type.Object({
  id: Type.Integer(),
  kind: Kind,
  repository: Type.String({ description: 'full name when it was deleted' }),
  name: Type.String({ description: 'tag, digest, or full name of the repository' }),
  digest: Type.Optional(Type.String({ description: 'what a tag pointed at' })),
  mediaType: Type.Optional(Type.String()),
  artifactType: Type.Optional(Type.String()),
  size: Type.Optional(Type.Integer({ description: 'bytes of a manifest and all it needs' })),
  with: Type.Optional(Type.Integer({ description: 'the item with which it went, such as the manifest of a tag' })),
  deletedAt: Type.String({ format: 'date-time' }),
  deletedBy: Type.String(),
  expiresAt: Type.String({ format: 'date-time', description: 'from then on it is gone for good' }),
  job: Type.Optional(Type.Integer({ description: 'the job that restores it' })),
  problem: Type.Optional(Type.String({ description: 'why the last job that was to restore it did not' })),
});

export function viewOf(item: TrashItem, keptMs: number): Static<typeof TrashView> {
  const { id, kind, repository, name, digest, mediaType, artifactType, size, withId, deletedAt, deletedBy, jobId, problem } = item;
  return {
    ...{ id, kind, repository, name },
    ...(kind === 'tag' && digest !== null ? { digest } : {}),
    ...(mediaType === null ? {} : { mediaType }),
    ...(artifactType === null ? {} : { artifactType }),
    ...(kind === 'manifest' ? { size } : {}),
    ...(withId === null ? {} : { with: withId }),
    deletedAt: new Date(deletedAt).toISOString(),
    deletedBy,
    expiresAt: new Date(deletedAt + keptMs).toISOString(),
    ...(jobId === null ? {} : { job: jobId }),
    ...(problem === null ? {} : { problem }),
  };
}

export const RestoredView = Type.Object({
  id: Type.Integer(),
  kind: Kind,
  repository: Type.String(),
  name: Type.String(),
  manifests: Type.Integer({ description: 'manifests that came back' }),
  tags: Type.Array(Type.String(), { description: 'tags that came back' }),
  skipped: Type.Array(Type.String(), { description: 'tags that lead elsewhere meanwhile and were left so; they stay in the trash' }),
  job: Type.Union([Type.Integer(), Type.Null()], { description: 'the job that restores it, where it is large; else it is restored' }),
});
