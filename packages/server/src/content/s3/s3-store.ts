import { setTimeout as delay } from 'node:timers/promises';
import { parseDigest } from '@entrepot/oci';
import { LRUCache } from 'lru-cache';
import type { BlobStore } from '../blob-store.ts';
import type { Bucket } from './bucket.ts';
import { compose } from './compose.ts';
import { type Entry, extentsOf, fenceName, isFence, lastEpoch, lengthOf, parseEntry, segmentsOf } from './entries.ts';
import { toFailure } from './failures.ts';
import { PartPool } from './part-pool.ts';
import { createPieceReader, type Piece } from './reader.ts';
import { SegmentWriter } from './writer.ts';

/** Parts of all uploads of a process: 256 MiB at most. */
const PARTS = { parts: 32, idleMs: 1000, holdMs: 5000 };
const KEPT_UPLOADS = 2000;
/** How long an address of a blob is valid: clients ask for it when they need it. */
const ADDRESS_SECONDS = 600;
const DAY_MS = 86_400_000;
/** A bucket that took a byte so lately is not asked again. */
const FRESH_MS = 3000;
const CONFLICTS = 5;

interface Options {
  /** What all keys begin with: empty, or ending with a slash. */
  readonly prefix: string;
  /** Whether blobs may be fetched from the bucket directly. */
  readonly redirect: boolean;
  /** Smaller than in earnest, for tests: memory for parts, and where a segment of an upload ends, in bytes. */
  readonly pool?: PartPool;
  readonly segmentBytes?: number;
}

/**
 * Blobs as objects at distribution's keys, `docker/registry/v2/blobs/<algorithm>/<2 hex>/<hex>/data`, uploads under
 * `docker/registry/v2/uploads/<id>/` (entries.ts). All that several instances must agree on is in the bucket. What is remembered
 * here of an upload only saves listings: objects never change, so what this process wrote or hashed is what it commits, or
 * nothing.
 */
export function createS3Store(bucket: Bucket, { prefix, redirect, pool = new PartPool(PARTS), segmentBytes }: Options): BlobStore {
  const root = `${prefix}docker/registry/v2/`;
  const blobsFolder = `${root}blobs/`;
  const uploadsFolder = `${root}uploads/`;
  /** All that was there of an upload when it was last looked at or written. */
  const known = new LRUCache<string, readonly Entry[]>({ max: KEPT_UPLOADS });
  let checked = -Infinity;

  function blobKey(digest: string): string {
    const parsed = parseDigest(digest);
    if (!parsed) throw new Error('a digest outside the grammar reached the store');
    return `${blobsFolder}${parsed.algorithm}/${parsed.hex.slice(0, 2)}/${parsed.hex}/data`;
  }

  const folderOf = (id: string) => `${uploadsFolder}${id}/`;

  async function look(id: string): Promise<readonly Entry[]> {
    const folder = folderOf(id);
    const entries: Entry[] = [];
    for await (const { key, size } of bucket.list(folder)) {
      const entry = parseEntry(key.slice(folder.length), size);
      if (entry) entries.push(entry);
    }
    known.set(id, entries);
    return entries;
  }

  function piecesOf(id: string, entries: readonly Entry[]): Piece[] {
    return extentsOf(entries).map(({ name, ...rest }) => ({ key: folderOf(id) + name, ...rest }));
  }

  /**
   * Shuts out whoever wrote before. Two who do so at once both give up: only one can be the writer, and the session's lease
   * will say who.
   */
  async function fenceOff(id: string, entries: readonly Entry[]): Promise<readonly Entry[]> {
    const epoch = nextEpoch(entries);
    const last = segmentsOf(entries).at(-1);
    const name = fenceName({ epoch, lastEpoch: last?.epoch ?? 0, lastNumber: last?.number ?? 0 });
    await bucket.put(folderOf(id) + name, new Uint8Array());
    const after = await look(id);
    if (!after.some((entry) => isFence(entry) && entry.epoch >= epoch && entry.name !== name)) return after;
    await bucket.remove(folderOf(id) + name);
    throw toFailure(new Error(`another instance took over upload ${id} at the same time`));
  }

  /** Puts the bytes of pieces under a digest, unless they are there; `replace`: those that are there are damaged. */
  async function place(pieces: readonly Piece[], key: string, size: number, replace: boolean): Promise<void> {
    for (let conflicts = 0; conflicts < CONFLICTS; conflicts++) {
      const there = await bucket.size(key);
      if (there === size && !replace) return;
      // One of another size is damaged, and replaced.
      const wrote = await compose(bucket, pieces, key, { ifAbsent: there === undefined });
      if (wrote) {
        const found = await bucket.size(key);
        if (found !== size) throw toFailure(new Error(`${key} has ${found} bytes after the copy, not ${size}`));
        return;
      }
      await delay(100 * 2 ** conflicts); // another is about to store the same
    }
    throw toFailure(new Error(`${key} is neither there nor can it be stored`));
  }

  async function removeAll(keys: readonly string[]): Promise<void> {
    for (let at = 0; at < keys.length; at += 8) await Promise.all(keys.slice(at, at + 8).map((key) => bucket.remove(key)));
  }

  return {
    async open(digest) {
      const key = blobKey(digest);
      const facts = await bucket.facts(key);
      if (facts === undefined) return undefined;
      const { size, archived } = facts;
      const reader = createPieceReader(bucket, [{ key, from: 0, start: 0, length: size, of: size }], size);
      return archived ? { ...reader, archived } : reader;
    },

    restore: (digest) => bucket.restore(blobKey(digest)),

    async uploadSize(id) {
      return lengthOf(extentsOf(await look(id)));
    },

    async openUpload(id, { fence }) {
      const found = fence ? await fenceOff(id, await look(id)) : await look(id);
      const epoch = fence ? lastEpoch(found) : nextEpoch(found);
      const onClose = (entries: readonly Entry[]) => void known.set(id, entries);
      return new SegmentWriter({
        bucket,
        pool,
        folder: folderOf(id),
        entries: found,
        epoch,
        onClose,
        ...(segmentBytes ? { segmentBytes } : {}),
      });
    },

    async openUploadForReading(id) {
      const entries = await look(id);
      if (entries.length === 0) throw new Error(`there is no upload ${id}`);
      const pieces = piecesOf(id, entries);
      return createPieceReader(bucket, pieces, lengthOf(extentsOf(entries)));
    },

    async commit(id, digest, size, { replace = false } = {}) {
      const key = blobKey(digest);
      const remembered = known.get(id) ?? [];
      const entries = lengthOf(extentsOf(remembered)) === size ? remembered : await look(id);
      const found = lengthOf(extentsOf(entries));
      if (found !== size) throw new Error(`upload ${id} has ${found} bytes, not the ${size} that were verified`);
      if (size === 0) await bucket.put(key, new Uint8Array());
      else await place(piecesOf(id, entries), key, size, replace);
      known.delete(id);
      // The blob is there, whatever becomes of these: who looks for leftovers finds them.
      await removeAll(entries.map(({ name }) => folderOf(id) + name)).catch(() => undefined);
    },

    // Small ones are stored whether they are there or not: to find out costs as much, and this mends a damaged one.
    async put(digest, bytes) {
      await bucket.put(blobKey(digest), bytes);
    },

    async removeUpload(id) {
      known.delete(id);
      const folder = folderOf(id);
      for await (const { key, uploadId } of bucket.openParts(folder)) await bucket.abortParts(key, uploadId);
      const keys: string[] = [];
      for await (const { key } of bucket.list(folder)) keys.push(key);
      await removeAll(keys);
    },

    /** Aborts multipart uploads of blobs too, begun a day ago or more: those belong to no upload and to nobody any more. */
    async *staleUploads(before) {
      const parts = new Map<string, number>();
      for await (const { key, uploadId, begun } of bucket.openParts(root)) {
        const id = idOf(key);
        if (id !== undefined) parts.set(id, Math.max(begun, parts.get(id) ?? 0));
        else if (key.startsWith(blobsFolder) && begun < Math.min(before, Date.now() - DAY_MS)) await bucket.abortParts(key, uploadId);
      }
      let current: { readonly id: string; latest: number } | undefined;
      for await (const { key, modified } of bucket.list(uploadsFolder)) {
        const id = idOf(key);
        if (id === undefined) continue;
        if (current && current.id !== id && current.latest < before) yield current.id;
        if (current?.id !== id) {
          current = { id, latest: parts.get(id) ?? 0 };
          parts.delete(id);
        }
        current.latest = Math.max(current.latest, modified);
      }
      if (current && current.latest < before) yield current.id;
      for (const [id, begun] of parts) if (begun < before) yield id;
    },

    remove: (digest) => bucket.remove(blobKey(digest)),

    async *blobs() {
      for await (const { key, size } of bucket.list(blobsFolder)) {
        const [algorithm, , hex, name, ...rest] = key.slice(blobsFolder.length).split('/');
        const digest = `${algorithm}:${hex}`;
        if (name === 'data' && rest.length === 0 && parseDigest(digest) && blobKey(digest) === key) yield { digest, size };
      }
    },

    ...(redirect ? { addressOf: (digest: string) => bucket.addressOf(blobKey(digest), ADDRESS_SECONDS) } : {}),

    async ping() {
      if (performance.now() - checked < FRESH_MS) return;
      await bucket.check(`${uploadsFolder}.ping`);
      checked = performance.now();
    },

    async close() {
      bucket.close();
    },
  };

  /** The upload that an object belongs to. */
  function idOf(key: string): string | undefined {
    if (!key.startsWith(uploadsFolder)) return undefined;
    const [id, ...rest] = key.slice(uploadsFolder.length).split('/');
    return rest.length === 1 ? id : undefined;
  }
}

/** Later than anything that is there, and than whatever a writer that is gone may still have on its way. */
function nextEpoch(entries: readonly Entry[]): number {
  return Math.max(Date.now(), lastEpoch(entries) + 1);
}
