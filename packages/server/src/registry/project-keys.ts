import { projectOf } from '@entrepot/oci';
import { blobScope, findProject, projectKeyOf, type Repository, reviewKeys, reviewKeysIfHeld } from '../catalog/index.ts';
import { AppError, type Session } from '../platform/index.ts';
import type { Call } from './http.ts';
import type { RegistryParts } from './parts.ts';

/** Links of a blob are tried so often, as its bytes may be replaced meanwhile by such that other keys encrypt. */
const MOST_TRIES = 3;

/** Nobody can open a stored blob at the moment, so it cannot be encrypted for one more project. */
export class BlobClosed extends AppError {
  constructor(cause: unknown) {
    super('unavailable', 'the blob cannot be encrypted by the key of this project at the moment', {
      cause,
      headers: { 'Retry-After': '5' },
    });
  }
}

/** A link would lead to bytes that the project it comes to has no key for. */
class KeyMissing extends Error {
  override name = 'KeyMissing';
  readonly key: string | null;

  constructor(key: string | null) {
    super('the data key of a blob is not wrapped by the key of the project that it comes to');
    this.key = key;
  }
}

export interface ProjectKeys {
  /** Throws `unavailable` while the key of the project cannot be used: before a client sends any byte. */
  require(call: Call): Promise<void>;
  /** Runs a change that links a blob, and calls `check` in its transaction before it does, until that has nothing against it. */
  around<T>(call: Call, digest: string, change: (check: Check) => Promise<T>): Promise<T>;
}

/** Whether the project of a repository will be able to read what it gets. */
export type Check = (tx: Session, repository: Repository) => Promise<void>;

const WITHOUT: ProjectKeys = {
  require: async () => undefined,
  around: (_call, _digest, change) => change(async () => undefined),
};

/** Sees to it that whoever gets a blob can open it by the key of its project (decision 0021). */
export function createProjectKeys({ database, projectKeys }: Pick<RegistryParts, 'database' | 'projectKeys'>): ProjectKeys {
  if (!projectKeys) return WITHOUT;
  const keys = projectKeys;

  async function keyFor({ name }: Call): Promise<string | null> {
    const project = await findProject(database, projectOf(name));
    return project ? await projectKeyOf(database, project.id) : null;
  }

  async function cover(digest: string, key: string | null): Promise<readonly string[]> {
    // The link that it is for may not come about: whether it is needed is looked at in any case.
    const also = { scope: blobScope(digest), run: (tx: Session) => reviewKeys(tx, digest) };
    return await keys.cover(digest, key, also).catch((error: unknown) => {
      throw error instanceof AppError ? new BlobClosed(error) : error;
    });
  }

  return {
    async require(call) {
      const key = await keyFor(call);
      if (key !== null) await keys.ready(key);
    },
    async around(call, digest, change) {
      const key = await keyFor(call);
      // Keys of bytes that were replaced, and that only keys open which cannot be used any more, are of no use to anybody.
      let lost = key === null ? [] : await cover(digest, key);
      const check: Check = async (tx, { projectId }) => {
        const needed = await projectKeyOf(tx, projectId);
        const lacking = await keys.lacks(tx, digest, needed);
        if (lacking.some((id) => !lost.includes(id))) throw new KeyMissing(needed);
        // Others who hold the blob may have no wrapping of the key of bytes that were stored just now.
        await reviewKeysIfHeld(tx, digest);
      };
      for (let tries = 1; ; tries++) {
        try {
          return await change(check);
        } catch (error) {
          if (!(error instanceof KeyMissing)) throw error;
          if (tries === MOST_TRIES) throw new BlobClosed(error);
          lost = await cover(digest, error.key);
        }
      }
    },
  };
}
