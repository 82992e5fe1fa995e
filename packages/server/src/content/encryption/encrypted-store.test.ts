import { writeFile } from 'node:fs/promises';
import { blobStoreContract } from '../contract.ts';
import { encryptedFiles, storedPath, type TestEncryption } from './testing.ts';

blobStoreContract('encrypted files', async () => {
  const first = await encryptedFiles();
  const all: TestEncryption[] = [];
  return {
    async open() {
      const next = await first.another();
      all.push(next);
      return next.store;
    },
    damage: (digest, bytes) => writeFile(storedPath(first.root, digest), bytes),
    age: first.age,
    async remove() {
      for (const { threads } of all) await threads.close();
      await first.remove();
    },
  };
});
