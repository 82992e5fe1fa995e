import type { BlobStore } from '../blob-store.ts';
import type { Room } from './tiers.ts';

/** Uploads go to the cold tier where less than this part of the hot tier's disk is free. */
const LEAST_FREE = 0.1;

/** Two tiers without rows: what is in either is there, what comes goes into the hot tier as long as that has room. */
export function createPlainTiers(hot: BlobStore, cold: BlobStore, room: () => Promise<Room | undefined>): BlobStore {
  /** Where uploads of this process are, where not in the hot tier. */
  const inCold = new Set<string>();
  const storeOf = (id: string) => (inCold.has(id) ? cold : hot);

  async function openBlob(digest: string) {
    return (await hot.open(digest)) ?? (await cold.open(digest));
  }

  return {
    open: openBlob,
    uploadSize: (id) => storeOf(id).uploadSize(id),
    async openUpload(id, options) {
      const { free = 1, total = 1 } = (await room()) ?? {};
      if (free < total * LEAST_FREE) inCold.add(id);
      return await storeOf(id).openUpload(id, options);
    },
    openUploadForReading: (id) => storeOf(id).openUploadForReading(id),
    commit: (id, ...rest) => storeOf(id).commit(id, ...rest),
    put: (digest, bytes) => hot.put(digest, bytes),
    async removeUpload(id) {
      await storeOf(id).removeUpload(id);
      inCold.delete(id);
    },
    staleUploads: (before) => hot.staleUploads(before),
    async remove(digest) {
      await cold.remove(digest);
      await hot.remove(digest);
    },
    async *blobs() {
      yield* hot.blobs();
      for await (const blob of cold.blobs()) {
        const reader = await hot.open(blob.digest);
        await reader?.close();
        if (!reader) yield blob;
      }
    },
    ping: () => hot.ping(),
    async close() {
      await hot.close?.();
      await cold.close?.();
    },
  };
}
