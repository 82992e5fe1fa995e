import type { BlobStore } from './blob-store.ts';

/** All bytes of a blob that has no more than `most`; undefined where it has, or is missing. */
export async function readSmall(
  blobs: Pick<BlobStore, 'open'>,
  digest: string,
  most: number,
  key?: string,
): Promise<Uint8Array | undefined> {
  const reader = await blobs.open(digest, { key });
  if (!reader) return undefined;
  try {
    if (reader.size > most) return undefined;
    const bytes = new Uint8Array(reader.size);
    for (let at = 0; at < bytes.length; ) {
      const read = await reader.read(bytes.subarray(at), bytes.length - at, at);
      if (read === 0) return undefined;
      at += read;
    }
    return bytes;
  } finally {
    await reader.close();
  }
}
