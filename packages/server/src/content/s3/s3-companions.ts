import type { Companions } from '../blob-store.ts';
import type { Bucket } from './bucket.ts';
import { createPieceReader } from './reader.ts';

/** Companions as objects below a prefix. */
export function createS3Companions(bucket: Bucket, prefix: string): Companions {
  return {
    async read(name) {
      const key = prefix + name;
      const size = await bucket.size(key);
      if (size === undefined) return undefined;
      const bytes = Buffer.allocUnsafeSlow(size);
      const reader = createPieceReader(bucket, [{ key, from: 0, start: 0, length: size, of: size }], size);
      await reader.read(bytes, size, 0).finally(() => reader.close());
      return bytes;
    },
    write: (name, bytes) => bucket.put(prefix + name, bytes),
    remove: (name) => bucket.remove(prefix + name),
  };
}
