import { createHash } from 'node:crypto';
import { parseDigest, projectOf } from '@entrepot/oci';
import {
  blobScope,
  claimBlob,
  createProject,
  ensureRepository,
  findBlob,
  findRepository,
  findStored,
  keepStored,
  linkBlob,
} from '../../catalog/index.ts';
import type { BlobReader, BlobStore } from '../../content/index.ts';
import { type AuditActor, audit, type Clock, type Config, type Database, newId, type Session } from '../../platform/index.ts';

/** Something in the source that cannot be imported; the rest goes on. */
export class ImportProblem extends Error {
  override name = 'ImportProblem';
}

export interface ImportParts {
  readonly database: Database;
  readonly blobs: BlobStore;
  readonly clock: Clock;
  readonly actor: AuditActor;
  readonly config: Pick<Config, 'sparseIndexes' | 'sparseImages' | 'manifestMaxBytes' | 'blobMaxBytes'>;
}

const CHUNK = 1 << 20;

/** Makes the repository of a name and its project, where they are missing, and gives its id. */
export async function makeRepository(tx: Session, { clock, actor }: ImportParts, name: string): Promise<number> {
  const now = clock.now();
  const project = projectOf(name);
  if (await createProject(tx, { name: project, public: false, by: actor.name, now })) {
    const told = {
      action: 'project.create',
      resource: { type: 'project', project },
      outcome: 'success',
      after: { public: false },
    } as const;
    await audit(tx, { actor, origin: null, ...told }, clock);
  }
  return (await ensureRepository(tx, name, actor.name, now)).id;
}

/**
 * Brings a blob of a source into the store and makes it a member of a repository. Its bytes are hashed as they come and count
 * only if they are what the digest says; those that are stored already are not read. Gives how many bytes were copied. Throws
 * ImportProblem.
 */
export async function importBlob(parts: ImportParts, name: string, reader: BlobReader | undefined, digest: string): Promise<number> {
  const { database, blobs, clock, config } = parts;
  const repository = await findRepository(database, name);
  if (repository && (await findBlob(database, repository.id, digest))) return 0;
  const link = async (blob: { digest: string; size: number }) =>
    await database.write(
      async (tx) => {
        if (!(await keepStored(tx, blob, clock.now()))) return false;
        await linkBlob(tx, await makeRepository(tx, parts, name), blob, clock.now());
        return true;
      },
      { durable: false },
    );
  const stored = await findStored(database, digest);
  if (stored?.state === 'live' && (await isThere(blobs, digest, stored.size)) && (await link({ digest, size: stored.size }))) return 0;
  if (!reader) throw new ImportProblem(`${digest} is not there`);
  if (reader.size > config.blobMaxBytes) throw new ImportProblem(`${digest} has ${reader.size} bytes, more than blobMaxBytes`);
  const blob = { digest, size: reader.size };
  const id = newId();
  try {
    await copyVerified(blobs, id, reader, digest);
    // From here on no deletion of the same bytes begins; one that is under way has to end first.
    if ((await database.write((tx) => claimBlob(tx, blob, clock.now()), { scope: [blobScope(digest)] })) === undefined)
      throw new ImportProblem(`${digest} is being deleted; try again in a while`);
    await blobs.commit(id, digest, blob.size);
  } catch (error) {
    await blobs.removeUpload(id);
    throw error;
  }
  if (!(await link(blob))) throw new ImportProblem(`${digest} was deleted while it came; try again`);
  return blob.size;
}

async function isThere(blobs: BlobStore, digest: string, size: number): Promise<boolean> {
  const reader = await blobs.open(digest);
  await reader?.close();
  return reader?.size === size;
}

async function copyVerified(blobs: BlobStore, id: string, reader: BlobReader, digest: string): Promise<void> {
  const algorithm = parseDigest(digest)?.algorithm ?? 'sha256';
  const hash = createHash(algorithm);
  const buffer = Buffer.allocUnsafeSlow(CHUNK);
  const writer = await blobs.openUpload(id, { fence: false });
  try {
    for (let position = 0; position < reader.size; ) {
      const length = await reader.read(buffer, CHUNK, position);
      if (length === 0) throw new ImportProblem(`${digest} ends at ${position}, before ${reader.size}`);
      hash.update(buffer.subarray(0, length));
      await writer.write(buffer, length, position);
      position += length;
    }
  } finally {
    await writer.close();
  }
  const actual = `${algorithm}:${hash.digest('hex')}`;
  if (actual !== digest) throw new ImportProblem(`the bytes of ${digest} have ${actual}`);
}
