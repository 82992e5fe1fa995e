import { createHash } from 'node:crypto';
import { parseDigest, type ReadAt, readForward, readTar, type TarEntry, TarError, TarLimitError } from '@entrepot/oci';
import type { Cataloguer } from './cataloguer.ts';
import { decompressed } from './decompress.ts';
import { createFileReader } from './file-reader.ts';
import { createLayerNotes, type LayerNotes } from './layer-notes.ts';
import { type Budget, beyond, createBudget, DAMAGED, IncompleteError, type LayerLimits, malformed } from './limits.ts';
import type { Incomplete, LayerInventory } from './model.ts';
import { normalise, whiteoutOf } from './paths.ts';

/** A layer as bytes that come in order. */
export interface LayerSource {
  readonly digest: string;
  /** Asked a second time where hard links lead back to what was passed over. */
  open(): AsyncIterable<Uint8Array>;
}

const LONGEST_NAME = 4096;
const LOOK_EVERY = 256;

/**
 * Makes the inventory of a layer by reading it from its first byte to its last. Nothing is unpacked; memory holds what was found,
 * and of files one at a time that a cataloguer wants. Whatever is wrong with the content is said in the inventory, with what was
 * found besides. Throws what `open` throws.
 */
export async function inventoryLayer(
  source: LayerSource,
  { cataloguers, limits, now }: { readonly cataloguers: readonly Cataloguer[]; readonly limits: LayerLimits; readonly now?: () => number },
): Promise<LayerInventory> {
  const budget = createBudget(limits, now);
  const notes = createLayerNotes(cataloguers);
  const files = createFileReader(limits, budget, notes);
  try {
    notes.readToEnd(
      await readLayer(source, budget, async (entry, path, readAt) => {
        notes.count();
        if (isFile(notes, entry, path)) await files.read(entry, notes.offersOf(path), readAt);
      }),
    );
    const again = notes.settleHardLinks();
    if (again.size > 0) {
      await readLayer(source, budget, async (entry, path, readAt) => {
        if (entry.type === 'file' || entry.type === 'sparse') await files.read(entry, again.get(path) ?? [], readAt);
      });
    }
  } catch (error) {
    notes.incomplete(whyOf(error));
  }
  return notes.inventory(source.digest);
}

type Visit = (entry: TarEntry, path: string, readAt: ReadAt) => Promise<void>;

/** Reads a layer once; gives the digest and size of its archive. Throws IncompleteError, too, where it is not what its digest says. */
async function readLayer({ digest, open }: LayerSource, budget: Budget, visit: Visit): Promise<{ diffId: string; bytes: number }> {
  const packed = createHash(parseDigest(digest)?.algorithm ?? 'sha256');
  const plain = createHash('sha256');
  const { limits } = budget;
  let [compressed, bytes] = [0, 0];

  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const chunk of open()) {
      compressed += chunk.length;
      packed.update(chunk);
      yield chunk;
    }
  }
  async function* unpacked(): AsyncGenerator<Uint8Array> {
    for await (const chunk of decompressed(counted())) {
      bytes += chunk.length;
      budget.bytes(chunk.length);
      budget.time();
      if (bytes > limits.ratioFrom && bytes > compressed * limits.ratio) throw beyond('ratio');
      plain.update(chunk);
      yield chunk;
    }
  }

  const forward = readForward(unpacked());
  let [seen, end] = [0, 0];
  for await (const entry of readTar(forward.readAt, forward.size, { entries: limits.entries, name: LONGEST_NAME, tolerant: true })) {
    if (++seen % LOOK_EVERY === 0) budget.time();
    await visit(entry, normalise(entry.name), forward.readAt);
    end = entry.offset + entry.size;
  }
  if (!(await forward.isZeroFrom(end))) throw malformed('the layer goes on behind the end of its archive');
  if (`${digest.split(':', 1)[0]}:${packed.digest('hex')}` !== digest) throw new IncompleteError(DAMAGED);
  return { diffId: `sha256:${plain.digest('hex')}`, bytes };
}

/** Remembers what an entry does to the layers below and to what came before it; true where it is a file to be looked at. */
function isFile(notes: LayerNotes, { type, link }: TarEntry, path: string): boolean {
  if (path === '') return false;
  const whiteout = whiteoutIn(path);
  if (whiteout) {
    notes.whiteout(whiteout);
    return false;
  }
  if (type === 'folder') {
    notes.folder(path);
    return false;
  }
  notes.write(path, type);
  if (type === 'symlink') notes.link(path, link);
  if (type === 'hardlink') notes.hardLink(path, normalise(link));
  return type === 'file' || type === 'sparse';
}

function whiteoutIn(path: string): ReturnType<typeof whiteoutOf> {
  try {
    return whiteoutOf(path);
  } catch (error) {
    throw malformed((error as Error).message, error);
  }
}

function whyOf(error: unknown): Incomplete {
  if (error instanceof IncompleteError) return error.why;
  if (error instanceof TarLimitError) return { reason: 'limit', limit: 'entries' };
  if (error instanceof TarError) return malformed(error.message).why;
  throw error;
}
