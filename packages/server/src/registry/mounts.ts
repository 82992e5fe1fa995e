import { isRepositoryName } from '@entrepot/oci';
import { findBlob, findRepository, repositoriesWithBlob } from '../catalog/index.ts';
import { AppError } from '../platform/index.ts';
import type { Call } from './http.ts';
import type { RegistryParts } from './parts.ts';

/** Repositories looked at for a mount that names none. */
const CANDIDATES = 200;

/**
 * Finds what a mount asks for (end-11): gives the size of a blob that the caller may pull in the repository named by
 * `from`, or in any; undefined where there is none, which looks the same whatever the reason.
 */
export function createMountFinder({ database, access }: RegistryParts): (call: Call, digest: string) => Promise<number | undefined> {
  async function findIn(call: Call, digest: string, from: string): Promise<number | undefined> {
    if (!isRepositoryName(from)) return undefined;
    const decision = await access.decide(call.identity, 'pull', from);
    if (decision === 'challenge' && !wasRefused(call, from)) throw insufficient(call, from);
    if (decision !== 'allowed') return undefined;
    const repository = await findRepository(database, from);
    return repository && (await findBlob(database, repository.id, digest))?.size;
  }

  async function findAnywhere(call: Call, digest: string): Promise<number | undefined> {
    const { token } = call.identity;
    if (token && !token.access.some((grant) => grant.name === '*') && !wasRefused(call, '*')) throw insufficient(call, '*');
    for (const repository of await repositoriesWithBlob(database, digest, 0, CANDIDATES)) {
      if ((await access.decide(call.identity, 'pull', repository.name)) === 'allowed') return repository.size;
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
