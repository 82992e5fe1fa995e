import { createHash } from 'node:crypto';
import { parseDigest } from '@entrepot/oci';
import { ArchivedBlob, type BlobStore, type StoredBlob } from '../../content/index.ts';
import { AppError, newId } from '../../platform/index.ts';

const CHUNK_BYTES = 512 * 1024;
const AT_ONCE = 4;

/** How a blob came over: it was there already, was copied, or cannot be had as it should be. */
export type Copied = 'there' | 'copied' | 'damaged';

/** Copies a blob from one store to another, durable when it resolves; it is hashed as it goes, and only what is sound arrives. */
export async function copyBlob(
  from: Pick<BlobStore, 'open'>,
  to: BlobStore,
  { digest, size }: StoredBlob,
  signal: AbortSignal,
): Promise<Copied> {
  const known = await to.open(digest);
  await known?.close();
  if (known?.size === size) return 'there';
  const reader = await from.open(digest).catch(unlessOutage);
  if (!reader) return 'damaged';
  const id = `copy-${newId()}`;
  try {
    if (reader.size !== size) return 'damaged';
    const hash = createHash(parseDigest(digest)?.algorithm ?? 'sha256');
    const buffer = Buffer.allocUnsafeSlow(Math.max(1, Math.min(CHUNK_BYTES, size)));
    const writer = await to.openUpload(id, { fence: false });
    try {
      for (let at = 0; at < size; ) {
        signal.throwIfAborted();
        const length = (await reader.read(buffer, Math.min(buffer.length, size - at), at).catch(unlessOutage)) ?? 0;
        if (length === 0) return 'damaged';
        hash.update(buffer.subarray(0, length));
        await writer.write(buffer, length, at);
        at += length;
      }
    } finally {
      await writer.close();
    }
    if (hash.digest('hex') !== parseDigest(digest)?.hex) return 'damaged';
    await to.commit(id, digest, size);
    return 'copied';
  } finally {
    await reader.close();
    await to.removeUpload(id);
  }
}

/** What a disk cannot read is damage, and so is what cannot be had from an archive; a store that says it is out of reach is none. */
export function unlessOutage(error: unknown): undefined {
  if (error instanceof ArchivedBlob) return undefined;
  if (error instanceof AppError) throw error;
  return undefined;
}

/** Does something for each item, some at once; ends at the first failure. */
export async function forEachOf<T>(items: AsyncIterable<T> | Iterable<T>, work: (item: T) => Promise<void>): Promise<void> {
  const running = new Set<Promise<void>>();
  const failed: { error?: unknown } = {};
  for await (const item of items) {
    if ('error' in failed) break;
    const task: Promise<void> = work(item)
      .catch((error: unknown) => {
        failed.error ??= error;
      })
      .finally(() => running.delete(task));
    running.add(task);
    if (running.size >= AT_ONCE) await Promise.race(running);
  }
  await Promise.all(running);
  if ('error' in failed) throw failed.error;
}
