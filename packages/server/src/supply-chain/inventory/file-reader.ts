import type { ReadAt, TarEntry } from '@entrepot/oci';
import type { Candidate, Cataloguer, Found, ReadFile } from './cataloguer.ts';
import type { LayerNotes } from './layer-notes.ts';
import { type Budget, IncompleteError, type LayerLimits } from './limits.ts';
import { nameOf } from './paths.ts';

/** A file is offered to a cataloguer under a path: its own, or that of a hard link to it. */
export interface Offer {
  readonly cataloguer: Cataloguer;
  readonly path: string;
}

export interface FileReader {
  /** Reads a file as far as those to whom it is offered want it, once for all of them, and notes what they find. */
  read(entry: TarEntry, offers: readonly Offer[], readAt: ReadAt): Promise<void>;
}

const HEAD = 512;
const PIECE = 256 * 1024;

export function createFileReader(limits: LayerLimits, budget: Budget, notes: LayerNotes): FileReader {
  let buffer = Buffer.alloc(0);

  /** The first bytes of an entry, in the one buffer that is used again and again. */
  async function fill(entry: TarEntry, from: number, to: number, readAt: ReadAt): Promise<Buffer> {
    if (buffer.length < to) {
      const larger = Buffer.allocUnsafeSlow(Math.min(Math.max(to, 2 * buffer.length), Math.max(limits.file, HEAD)));
      buffer.copy(larger, 0, 0, from);
      buffer = larger;
    }
    for (let at = from; at < to; ) {
      const piece = await readAt(entry.offset + at, Math.min(PIECE, to - at));
      if (piece.length === 0) break; // cut off: the reader of the archive says so next
      buffer.set(piece, at);
      at += piece.length;
    }
    return buffer.subarray(0, to);
  }

  async function catalogue(cataloguer: Cataloguer, file: ReadFile): Promise<Found | undefined> {
    try {
      return await cataloguer.read(file, budget);
    } catch (error) {
      if (error instanceof IncompleteError && error.why.reason === 'limit') throw error;
      const detail = `${file.path}: ${error instanceof Error ? error.message : String(error)}`;
      notes.incomplete({ reason: 'malformed', detail: detail.slice(0, 500) });
      return undefined;
    }
  }

  return {
    async read(entry, offers, readAt) {
      if (offers.length === 0) return;
      if (entry.type === 'sparse') return notes.incomplete({ reason: 'malformed', detail: `${entry.name} is a sparse file` });
      const headLength = Math.min(HEAD, entry.size);
      const head = Buffer.from(await fill(entry, 0, headLength, readAt));
      const wishes = offers.flatMap(({ cataloguer, path }) => {
        const candidate: Candidate = { path, name: nameOf(path), size: entry.size, mode: entry.mode, head };
        const wanted = cataloguer.wants(candidate);
        if (!wanted) return [];
        const most = Math.min(wanted.most, limits.file);
        if (entry.size > most && wanted.beyond !== 'head') {
          notes.incomplete({ reason: 'limit', limit: 'bytes' });
          return [];
        }
        return [{ cataloguer, candidate, length: Math.min(most, entry.size) }];
      });
      if (wishes.length === 0) return;
      const bytes = await fill(entry, headLength, Math.max(headLength, ...wishes.map(({ length }) => length)), readAt);
      for (const { cataloguer, candidate, length } of wishes) {
        const file: ReadFile = { ...candidate, bytes: bytes.subarray(0, length), isWhole: length === entry.size };
        const found = await catalogue(cataloguer, file);
        if (found) notes.found(file.path, cataloguer, found, budget);
      }
    },
  };
}
