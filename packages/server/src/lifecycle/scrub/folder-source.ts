import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { openReadOnlyStore } from '../../content/index.ts';
import type { RepairSource } from './repair.ts';

/** Where blobs lie below a folder: a backup, a data directory, the storage of registry:2 or Harbor, or the blobs' own root. */
const BELOW = ['storage/docker/registry/v2', 'docker/registry/v2', '.'];

/** A folder that has blobs as a source of repairs. Nothing is written there. Throws where it has none. */
export function folderSource(folder: string): RepairSource {
  const root = BELOW.map((path) => join(folder, path)).find((path) => existsSync(join(path, 'blobs')));
  if (root === undefined) throw new Error(`${folder} has no blobs: give a backup, a data directory, or the storage of a registry`);
  const store = openReadOnlyStore(root);
  return { name: folder, open: (digest) => store.open(digest) };
}
