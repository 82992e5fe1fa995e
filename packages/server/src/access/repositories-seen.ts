import { AppError } from '../platform/index.ts';
import type { Access, PullableProject } from './access.ts';
import type { Identity } from './identity.ts';

/** Gives what an identity sees of a project; a project of which it sees nothing looks like one that does not exist. */
export function repositoriesSeen(access: Access): (identity: Identity, project: string) => Promise<PullableProject> {
  return async (identity, name) => {
    // A token of the token service is refused before this is asked.
    const project = await access.seenIn(identity, name, 'repository:list');
    if (project) return project;
    if (!identity.subject) throw new AppError('unauthorized', 'authentication required');
    throw new AppError('not_found', `there is no project ${name}`);
  };
}
