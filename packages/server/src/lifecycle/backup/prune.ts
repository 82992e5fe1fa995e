import { rmSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { openFileStore } from '../../content/index.ts';
import { blobsFolder, DATABASE_FILE, listSnapshots, snapshotFile, snapshotPath } from './format.ts';
import { forgetSealed } from './sealed-blobs.ts';
import { openSnapshotDatabase } from './snapshot-db.ts';

/** Removes all but the newest snapshots of a backup, and the blobs that only those had. Gives the ids of what went. */
export async function pruneSnapshots(folder: string, keep: number): Promise<string[]> {
  if (keep < 1) throw new Error('at least one snapshot is kept');
  const known = listSnapshots(folder);
  const going = known.slice(0, -keep);
  if (going.length === 0) return [];
  for (const id of going) {
    unlinkSync(snapshotFile(folder, id)); // from here on it is none
    rmSync(snapshotPath(folder, id), { recursive: true, force: true });
  }
  const staying = known.slice(-keep).map((id) => openSnapshotDatabase(join(snapshotPath(folder, id), DATABASE_FILE)));
  try {
    const store = openFileStore(blobsFolder(folder));
    for await (const { digest } of store.blobs()) {
      if (staying.some((database) => database.hasBlob(digest))) continue;
      await store.remove(digest);
      await forgetSealed(folder, digest);
    }
  } finally {
    for (const database of staying) database.close();
  }
  return going;
}
