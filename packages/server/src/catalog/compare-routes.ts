import { isTag, parseDigest } from '@entrepot/oci';
import Type, { type Static } from 'typebox';
import { AppError, type Caller, type Route, routesFor, type Session } from '../platform/index.ts';
import { changedKeys, compareParts, type Difference, type Part, type Side, sideOf } from './compare.ts';
import { OfRepository, requireRepository } from './paths.ts';
import type { Repository } from './projects.ts';
import { findTag } from './tags.ts';

const Reference = Type.String({ maxLength: 160, description: 'tag or digest' });
const PartView = Type.Object({
  digest: Type.String(),
  mediaType: Type.String(),
  size: Type.Integer(),
  platform: Type.Optional(Type.String({ description: 'of a child of an index: os/architecture' })),
});
const DifferenceView = Type.Object({
  added: Type.Array(PartView),
  removed: Type.Array(PartView),
  kept: Type.Array(PartView),
  addedBytes: Type.Integer(),
  removedBytes: Type.Integer(),
  keptBytes: Type.Integer(),
});
const SideView = Type.Object({ digest: Type.String(), mediaType: Type.String() });
const Comparison = Type.Object({
  from: SideView,
  to: SideView,
  same: Type.Boolean(),
  blobs: DifferenceView,
  manifests: DifferenceView,
  annotations: Type.Array(Type.String(), { description: 'keys whose values are not the same' }),
});

function viewOf({ added, removed, kept }: Difference): Static<typeof DifferenceView> {
  const bytes = (parts: readonly Part[]) => parts.reduce((sum, { size }) => sum + size, 0);
  return {
    ...{ added: [...added], removed: [...removed], kept: [...kept] },
    ...{ addedBytes: bytes(added), removedBytes: bytes(removed), keptBytes: bytes(kept) },
  };
}

export interface CompareRouteParts<C extends Caller> {
  readonly database: Session;
  /** Whether a caller may look into the trash of a project. */
  seesTrash(caller: C, project: string): Promise<boolean>;
}

/** What differs between two manifests, such as two points of a tag's history. */
export function compareRoutes<C extends Caller>({ database, seesTrash }: CompareRouteParts<C>): Route[] {
  const { read } = routesFor<C>();

  async function requireSide(repository: Repository, reference: string, inTrash: boolean): Promise<Side> {
    const tagged = isTag(reference) ? await findTag(database, repository.id, reference) : undefined;
    const digest = tagged ?? (parseDigest(reference) ? reference : undefined);
    const side = digest === undefined ? undefined : await sideOf(database, repository.id, digest, inTrash);
    if (!side) throw new AppError('not_found', `there is no artifact ${reference} in ${repository.name}`);
    return side;
  }

  return [
    read({
      method: 'GET',
      path: '/projects/:project/repositories/:repository/compare',
      summary: 'Compare two manifests: which layers and children differ, and by how many bytes',
      description: 'By tag or digest. What is in the trash can be compared by who holds trash:read.',
      tag: 'Artifacts',
      permission: 'artifact:read',
      params: OfRepository,
      query: Type.Object({ from: Reference, to: Reference }, { additionalProperties: false }),
      answer: Comparison,
      async handle({ params, query: { from, to }, caller }) {
        const repository = await requireRepository(database, params);
        const inTrash = await seesTrash(caller, params.project);
        const before = await requireSide(repository, from, inTrash);
        const after = await requireSide(repository, to, inTrash);
        return {
          body: {
            from: { digest: before.digest, mediaType: before.mediaType },
            to: { digest: after.digest, mediaType: after.mediaType },
            same: before.digest === after.digest,
            blobs: viewOf(compareParts(before.blobs, after.blobs)),
            manifests: viewOf(compareParts(before.manifests, after.manifests)),
            annotations: changedKeys(before.annotations, after.annotations),
          },
        };
      },
    }),
  ];
}
