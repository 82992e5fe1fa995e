import {
  findManifest,
  findManifestInTrash,
  findRepository,
  findRepositoryById,
  manifestsToRestore,
  missingFor,
  type Restoring,
  type TrashItem,
} from '../../catalog/index.ts';
import { AppError, type Session } from '../../platform/index.ts';

/** Manifests looked at; what a larger item misses is found when it is restored. */
const LOOKED_AT = 200;

/** Why an item cannot be restored as things are now; undefined where nothing is in the way. */
export async function whyNot(session: Session, item: TrashItem, sparse: Restoring['sparse']): Promise<string | undefined> {
  const { kind, name, repository, repositoryId, digest } = item;
  if (item.jobId !== null) return 'it is being restored';
  if (kind === 'repository') return (await findRepository(session, name)) ? `there is another repository ${name}` : undefined;
  if (!(await findRepositoryById(session, repositoryId))) return `repository ${repository} was deleted after it`;
  if (kind === 'tag' && digest !== null && (await findManifest(session, repositoryId, digest))) return undefined;
  const root = kind === 'tag' ? await findManifestInTrash(session, repositoryId, digest ?? '') : item;
  if (!root) return `manifest ${digest} is not there any more`;
  try {
    for (const manifest of (await manifestsToRestore(session, root, { sparse }, LOOKED_AT)) ?? []) {
      const missing = await missingFor(session, manifest, { sparse });
      if (missing) return missing;
    }
  } catch (error) {
    if (error instanceof AppError) return error.message;
    throw error;
  }
  return undefined;
}
