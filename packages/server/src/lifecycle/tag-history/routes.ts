import { isTag, parseDigest } from '@entrepot/oci';
import Type from 'typebox';
import {
  detachTrash,
  findManifest,
  findManifestInTrash,
  findRepository,
  findTag,
  forgetItem,
  hasPointedAt,
  manifestsToRestore,
  restoreManifest,
  setTag,
} from '../../catalog/index.ts';
import { AppError, type Caller, type Config, type Route, repositoryIn, requireMatch, routesFor } from '../../platform/index.ts';

const OfTag = Type.Object({
  project: Type.String({ maxLength: 128 }),
  repository: Type.String({ maxLength: 255 }),
  tag: Type.String({ maxLength: 128 }),
});
const Target = Type.Object({ digest: Type.String({ maxLength: 160 }) }, { additionalProperties: false });
const RolledBack = Type.Object({
  tag: Type.String(),
  digest: Type.String(),
  previous: Type.Union([Type.String(), Type.Null()], { description: 'null: the tag had been deleted' }),
  restored: Type.Integer({ description: 'manifests that came back from the trash for it' }),
});

/** Manifests that come back with one request; of larger images the manifest is restored from the trash first. */
const MOST = 100;

export interface TagHistoryRouteParts {
  readonly config: Pick<Config, 'sparseIndexes' | 'sparseImages'>;
}

/** Tags go back to what they were. */
export function tagHistoryRoutes({ config }: TagHistoryRouteParts): Route[] {
  const { change } = routesFor<Caller>();
  const sparse = { children: config.sparseIndexes, blobs: config.sparseImages };
  return [
    change({
      method: 'POST',
      path: '/projects/:project/repositories/:repository/tags/:tag/roll-back',
      summary: 'Point a tag, also a deleted one, at a digest of its history again',
      description:
        'Where its manifest is in the trash, that is restored with all it needs, without its other tags. If-Match with the digest it points at moves it only from there.',
      tag: 'Tags',
      permission: 'tag:create',
      audit: 'tag.roll-back',
      params: OfTag,
      body: Target,
      answer: RolledBack,
      async change(tx, call) {
        const { params, body, caller, now } = call;
        const full = repositoryIn(params.project, params.repository);
        const repository = await findRepository(tx, full);
        if (!repository) throw new AppError('not_found', `there is no repository ${full}`);
        const { id: repositoryId } = repository;
        const { tag: name } = params;
        const { digest } = body;
        if (!parseDigest(digest)) throw new AppError('digest_invalid', 'the digest is not a sha256 or sha512 digest');
        if (!isTag(name) || !(await hasPointedAt(tx, { repositoryId, name, digest }))) {
          throw new AppError('not_found', `tag ${name} of ${full} never pointed at ${digest}, as far as its history is kept`);
        }
        const previous = (await findTag(tx, repositoryId, name)) ?? null;
        requireMatch(call, previous ?? '');
        const how = { by: caller.actor.name, now, sparse, replace: false };
        let restored = 0;
        if (!(await findManifest(tx, repositoryId, digest))) {
          const item = await findManifestInTrash(tx, repositoryId, digest);
          if (!item) throw new AppError('conflict', `manifest ${digest} is not there any more`);
          if (item.jobId !== null) throw new AppError('conflict', `manifest ${digest} is being restored`);
          const manifests = await manifestsToRestore(tx, item, how, MOST);
          if (!manifests) throw new AppError('conflict', `manifest ${digest} is large; restore it from the trash first`);
          for (const manifest of manifests) {
            await restoreManifest(tx, manifest, how);
            await detachTrash(tx, manifest.id);
            await forgetItem(tx, manifest.id);
          }
          restored = manifests.length;
        }
        await setTag(tx, { repositoryId, name, digest, by: caller.actor.name, now });
        return {
          body: { tag: name, digest, previous, restored },
          etag: digest,
          resource: { type: 'tag', project: params.project, repository: full, tag: name, digest },
          before: { digest: previous },
          after: { digest, restored },
        };
      },
    }),
  ];
}
