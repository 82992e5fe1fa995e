import { projectOf } from '@entrepot/oci';
import { ensureProject } from '../access/index.ts';
import { ensureRepository, type Repository, type Room } from '../catalog/index.ts';
import type { Session } from '../platform/index.ts';
import type { Call } from './http.ts';
import type { RegistryParts } from './parts.ts';

export interface RepositoryMaker {
  /** Looks up what the caller may make, and gives what makes the repository of the call, in a transaction, where it is missing. */
  prepare(call: Call): Promise<(tx: Session, room?: Room) => Promise<Repository>>;
}

/** Pushing makes a repository, and for who may make projects the project too. */
export function createRepositoryMaker({ access, clock, options }: RegistryParts): RepositoryMaker {
  return {
    async prepare(call) {
      const { name, identity } = call;
      const mayMakeProject = await access.holds(identity, 'project:create', {});
      return async (tx, room) => {
        const now = clock.now();
        const project = projectOf(name);
        if (mayMakeProject && (await ensureProject(tx, project, identity, options.projectQuotaBytes, now))) {
          await call.record(tx, { action: 'project.create', resource: { type: 'project', project }, after: { public: false } });
        }
        return await ensureRepository(tx, name, identity.actor.name, now, { room });
      };
    },
  };
}
