import { rmSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';

/** What was copied to one place and seen to be sound, kept over runs, so that a later run need not look at it again. */
export interface Moved {
  /** The header of a sealed blob as it was copied, empty of a plain one; undefined where it was not copied. */
  headerOf(digest: string): string | undefined;
  add(digest: string, header: string): void;
  close(): void;
}

/** Opens the list in a file; that of another place is begun anew. */
export function openMoved(path: string, place: string): Moved {
  const found = tryOpen(path, place);
  if (found) return found;
  for (const end of ['', '-journal']) rmSync(`${path}${end}`, { force: true });
  const raw = new DatabaseSync(path);
  raw.exec('CREATE TABLE moved (digest TEXT PRIMARY KEY, header TEXT NOT NULL) WITHOUT ROWID; CREATE TABLE place (place TEXT NOT NULL)');
  raw.prepare('INSERT INTO place VALUES (?)').run(place);
  return listIn(raw);
}

function tryOpen(path: string, place: string): Moved | undefined {
  const raw = new DatabaseSync(path);
  try {
    if (raw.prepare('SELECT place FROM place').get()?.place === place) return listIn(raw);
  } catch {
    // None yet, or damaged: it only saves work.
  }
  raw.close();
  return undefined;
}

function listIn(raw: DatabaseSync): Moved {
  raw.exec('PRAGMA synchronous=NORMAL');
  const find = raw.prepare('SELECT header FROM moved WHERE digest = ?');
  const put = raw.prepare('INSERT OR REPLACE INTO moved VALUES (?, ?)');
  return {
    headerOf: (digest) => find.get(digest)?.header as string | undefined,
    add: (digest, header) => void put.run(digest, header),
    close: () => raw.close(),
  };
}
