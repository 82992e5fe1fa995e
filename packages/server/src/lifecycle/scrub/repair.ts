import { blobScope, liftQuarantine } from '../../catalog/index.ts';
import type { BlobReader, BlobStore, StoredBlob } from '../../content/index.ts';
import { type AuditActor, audit, type Clock, type Database, type Log, newId } from '../../platform/index.ts';
import { chunksOf, type Examination, examine, hashOf } from './examine.ts';
import { UNPACED } from './pace.ts';

/** Somewhere else that may have the bytes of a damaged blob: another tier, a replica, an upstream, a backup. */
export interface RepairSource {
  /** For the record, such as `backup /mnt/backup`. */
  readonly name: string;
  open(digest: string): Promise<BlobReader | undefined>;
}

export interface RepairParts {
  readonly database: Database;
  readonly blobs: BlobStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly actor: AuditActor;
  /** In the order in which they are asked. */
  readonly sources: readonly RepairSource[];
}

/**
 * Tries to get a damaged blob's bytes back: looks whether they can be read after all, then asks each source. Nothing counts
 * before it was hashed, first as it comes and again as it lies in the store. Gives the name of what helped.
 */
export async function repairBlob(parts: RepairParts, blob: StoredBlob, signal: AbortSignal, retryMs?: number): Promise<string | undefined> {
  const { blobs, sources, log } = parts;
  const { digest } = blob;
  const examination: Examination = { pace: UNPACED, signal, ...(retryMs === undefined ? {} : { retryMs }) };
  if ((await examine(blobs, blob, examination)) === undefined) return await lift(parts, digest, 'the store itself');
  for (const { name, open } of sources) {
    try {
      const reader = await open(digest);
      if (!reader) continue;
      try {
        if (!(await storeAnew(blobs, blob, reader, examination))) continue;
      } finally {
        await reader.close();
      }
    } catch (error) {
      signal.throwIfAborted();
      log.warn({ err: error, digest, source: name }, 'a source could not repair a blob');
      continue;
    }
    if ((await examine(blobs, blob, examination)) === undefined) return await lift(parts, digest, name);
  }
  return undefined;
}

/** Stores what a source gives where it is what it should be; false where it is not. */
async function storeAnew(blobs: BlobStore, { digest, size }: StoredBlob, reader: BlobReader, examination: Examination): Promise<boolean> {
  if (reader.size !== size) return false;
  // First without storing, so that what is bad elsewhere too leaves nothing behind.
  if ((await hashOf(reader, digest, examination)) !== digest) return false;
  const id = `repair-${newId()}`;
  try {
    const writer = await blobs.openUpload(id, { fence: false });
    try {
      let position = 0;
      for await (const chunk of chunksOf(reader, examination)) {
        await writer.write(chunk, chunk.length, position);
        position += chunk.length;
      }
    } finally {
      await writer.close();
    }
    const written = await blobs.openUploadForReading(id);
    try {
      if ((await hashOf(written, digest, examination)) !== digest) return false;
    } finally {
      await written.close();
    }
    await blobs.commit(id, digest, size, { replace: true });
    return true;
  } finally {
    await blobs.removeUpload(id);
  }
}

async function lift({ database, clock, actor }: RepairParts, digest: string, source: string): Promise<string> {
  const scope = [blobScope(digest)];
  await database.write(
    async (tx) => {
      if (!(await liftQuarantine(tx, digest, source, actor.name, clock.now()))) return;
      const resource = { type: 'blob', digest };
      await audit(tx, { actor, origin: null, action: 'blob.repair', resource, outcome: 'success', after: { source } }, clock);
    },
    { scope },
  );
  return source;
}
