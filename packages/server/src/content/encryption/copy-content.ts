import type { BlobReader, UploadWriter } from '../blob-store.ts';
import { SLAB_BYTES } from '../slabs.ts';

/** Writes all content of a reader to a new upload, and closes that; `onPart` sees each part before it is written. */
export async function copyContent(reader: BlobReader, writer: UploadWriter, onPart: (part: Uint8Array) => void = () => {}): Promise<void> {
  try {
    const buffer = new Uint8Array(new SharedArrayBuffer(SLAB_BYTES));
    for (let at = 0; at < reader.size; ) {
      const length = await reader.read(buffer, SLAB_BYTES, at);
      if (length === 0) throw new Error(`the bytes end at ${at}, before ${reader.size}`);
      onPart(buffer.subarray(0, length));
      await writer.write(buffer, length, at);
      at += length;
    }
  } finally {
    await writer.close();
  }
}
