import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Blobs that are in the store. */
export function storedIn(dataDir: string): string[] {
  const root = join(dataDir, 'storage/docker/registry/v2/blobs/sha256');
  if (!existsSync(root)) return [];
  return readdirSync(root).flatMap((prefix) => readdirSync(join(root, prefix)).map((hex) => `sha256:${hex}`));
}
