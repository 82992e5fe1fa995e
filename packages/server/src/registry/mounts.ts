import { isRepositoryName } from '@entrepot/oci';
import { findBlob, findRepository, repositoriesWithBlob } from '../catalog/index.ts';
import { AppError } from '../platform/index.ts';
import type { Call } from './http.ts';
import type { RegistryParts } from './parts.ts';

/** Repositories looked at for a mount that names none. */
const CANDIDATES = 200;

/** Where a blob to mount is. */
interface MountSource {
  readonly repositoryId: number;
  readonly size: number;
}

/**
 * Finds what a mount asks for (end-11): a blob that the caller may pull in the repository named by `from`, or in any;
 * undefined where there is none, which looks the same whatever the reason.
 */
export function createMountFinder({ database, access }: RegistryParts): (call: Call, digest: string) => Promise<MountSource | undefined> {
  async function findIn(call: Call, digest: string, from: string): Promise<MountSource | undefined> {
    if (!isRepositoryName(from)) return undefined;
    const decision = await access.decide(call.identity, 'pull', from);
    if (decision === 'challenge' && !wasRefused(call, from)) throw insufficient(call, from);
    if (decision !== 'allowed') return undefined;
    const repository = await findRepository(database, from);
    const blob = repository && (await findBlob(database, repository.id, digest));
    return blob && { repositoryId: repository.id, size: blob.size };
  }

  async function findAnywhere(call: Call, digest: string): Promise<MountSource | undefined> {
    const { token } = call.identity;
    if (token && !token.access.some((grant) => grant.name === '*') && !wasRefused(call, '*')) throw insufficient(call, '*');
    for (const { id, name, size } of await repositoriesWithBlob(database, digest, 0, CANDIDATES)) {
      if ((await access.decide(call.identity, 'pull', name)) === 'allowed') return { repositoryId: id, size };
    }
    return undefined;
  }

  return (call, digest) => {
    const from = call.query.get('from');
    return from === null ? findAnywhere(call, digest) : findIn(call, digest, from);
  };
}

/** What was asked for and refused is not asked for again: the client goes on with an ordinary upload. */
function wasRefused({ identity }: Call, repository: string): boolean {
  return identity.token?.refused.some((grant) => grant.type === 'repository' && grant.name === repository) ?? true;
}

/** Decided from the token alone, never from what exists. */
function insufficient({ name }: Call, source: string): AppError {
  const scope = `repository:${name}:pull,push repository:${source}:pull`;
  return new AppError('unauthorized', 'the token does not cover the source of the mount', { detail: { scope } });
}
