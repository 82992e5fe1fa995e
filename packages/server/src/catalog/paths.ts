import { isTag, NAME_MAX_LENGTH, parseDigest } from '@entrepot/oci';
import Type from 'typebox';
import { AppError, type AuditResource, type MaybePromise, repositoryIn, type Session } from '../platform/index.ts';
import { findManifest, findManifestByTag, type StoredManifest } from './manifests.ts';
import { findRepository, type Repository } from './projects.ts';

const ProjectName = Type.String({ maxLength: 128 });
const RepositoryName = Type.String({
  maxLength: NAME_MAX_LENGTH,
  description: 'name without the project, / written as %2F; _ for the repository that is named as the project',
});
const Reference = Type.String({ maxLength: 160, description: 'tag or digest' });
const Tag = Type.String({ maxLength: 128 });

/** Parameters of the paths of this room. */
export const OfProject = Type.Object({ project: ProjectName });
export const OfRepository = Type.Object({ project: ProjectName, repository: RepositoryName });
export const OfArtifact = Type.Object({ project: ProjectName, repository: RepositoryName, reference: Reference });
export const OfTag = Type.Object({ project: ProjectName, repository: RepositoryName, tag: Tag });

interface Names {
  readonly project: string;
  readonly repository: string;
}

/** The repository of a path. Throws `not_found` where there is none of that name. */
export async function requireRepository(session: Session, { project, repository }: Names): Promise<Repository> {
  const found = await findRepository(session, repositoryIn(project, repository));
  if (!found) throw new AppError('not_found', `there is no repository ${repositoryIn(project, repository)}`);
  return found;
}

/** The manifest that a tag or digest of a repository leads to. Throws `not_found`. */
export async function requireManifest(session: Session, repository: Repository, reference: string): Promise<StoredManifest> {
  const found = await find(session, repository.id, reference);
  if (!found) throw new AppError('not_found', `there is no artifact ${reference} in ${repository.name}`);
  return found;
}

function find(session: Session, repositoryId: number, reference: string): MaybePromise<StoredManifest | undefined> {
  if (parseDigest(reference)) return findManifest(session, repositoryId, reference);
  return isTag(reference) ? findManifestByTag(session, repositoryId, reference) : undefined;
}

/** What an audit record says of something in a repository. */
export function resourceIn(
  repository: Repository | { readonly name: string },
  type: string,
  more: Partial<AuditResource> = {},
): AuditResource {
  const [project = ''] = repository.name.split('/', 1);
  return { type, project, repository: repository.name, ...more };
}
