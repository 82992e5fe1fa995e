import { DatabaseSync } from 'node:sqlite';
import type { SealedKey } from '../../content/commands.ts';
import type { StoredBlob } from '../../content/index.ts';

/** The database of a snapshot, opened so that nothing of it changes. */
export interface SnapshotDatabase {
  /** Blobs that the store had, by digest. */
  blobs(): Iterable<StoredBlob>;
  hasBlob(digest: string): boolean;
  /** Wrapped keys of encrypted blobs. */
  keys(): Iterable<SealedKey>;
  migrations(): string[];
  /** What SQLite finds wrong with the file; nothing where it is sound. */
  problems(): string[];
  close(): void;
}

/** Opens the database of a snapshot. What is asked here are files that never change, whatever database the server has. */
export function openSnapshotDatabase(path: string): SnapshotDatabase {
  const database = new DatabaseSync(path, { readOnly: true });
  const one = database.prepare("SELECT 1 FROM stored_blob WHERE digest = ? AND state = 'live'");
  return {
    blobs: () =>
      database.prepare("SELECT digest, size FROM stored_blob WHERE state = 'live' ORDER BY digest").iterate() as Iterable<StoredBlob>,
    hasBlob: (digest) => one.get(digest) !== undefined,
    *keys() {
      const sealed = database.prepare('SELECT id, provider, version, wrapped FROM data_key WHERE digest IS NOT NULL');
      const named = database.prepare('SELECT name, provider, version, wrapped FROM key_wrapping WHERE key_id = ? ORDER BY name');
      for (const key of sealed.iterate() as unknown as Iterable<SealedKey>) {
        yield { ...key, named: named.all(key.id) as unknown as SealedKey['named'] & object };
      }
    },
    migrations: () =>
      database
        .prepare('SELECT name FROM migration ORDER BY name')
        .all()
        .map(({ name }) => String(name)),
    problems: () =>
      database
        .prepare('PRAGMA integrity_check(20)')
        .all()
        .map(({ integrity_check: found }) => String(found))
        .filter((found) => found !== 'ok'),
    close: () => database.close(),
  };
}
