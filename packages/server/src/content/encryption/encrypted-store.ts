import { randomBytes, randomUUID } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { parseDigest } from '@entrepot/oci';
import { AppError, type Clock, type Database } from '../../platform/index.ts';
import { ArchivedBlob } from '../archived.ts';
import type { BlobReader, BlobStore, UploadWriter } from '../blob-store.ts';
import { BATCH, type CipherThreads } from './cipher-threads.ts';
import { copyContent } from './copy-content.ts';
import { type DataKey, type DataKeys, FIRST_LOOK_MS } from './data-keys.ts';
import {
  bytesOfEnding,
  closingOf,
  DamagedBlob,
  END_BYTES,
  endingContext,
  endingOf,
  HEADER_BYTES,
  headerOf,
  keyIdIn,
  MAX_SEGMENTS,
  RECORD_BYTES,
  SALT_BYTES,
  SEALED_BYTES,
  type Segment,
  sealedAt,
  TAG_BYTES,
} from './format.ts';
import { deleteUnownedKey, encryptedSize, lookAgainForKeys, setKeyOwner, wasPlaced } from './key-rows.ts';
import { createRecordReader, readFully } from './record-reader.ts';
import { openRecord, sealRecord, segmentKey } from './records.ts';
import { claimUpload, deleteUploadRow, findUploadRow, insertUploadRow, oldUploads, segmentsOf, type UploadRow } from './upload-rows.ts';
import { createUploadWriter, openTail, tailBytes } from './upload-writer.ts';

const NOTHING = new Uint8Array(0);
const PAGE = 500;

interface Parts {
  /** What holds the sealed bytes. */
  readonly base: BlobStore;
  readonly database: Database;
  readonly keys: DataKeys;
  readonly threads: CipherThreads;
  readonly clock: Clock;
  /** Uploads of more segments are sealed anew when they are committed. */
  readonly maxSegments?: number;
}

/** Where an upload is: its row, full records in the store below, and the key. */
interface Place {
  readonly row: UploadRow;
  readonly stored: number;
  readonly records: number;
}

/**
 * Blobs and uploads encrypted in any store below (decision 0014). Digests, sizes and positions are those of the content.
 * Blobs that lie there in the clear from before are read as they are.
 */
export function createEncryptedStore({ base, database, keys, threads, clock, maxSegments = MAX_SEGMENTS }: Parts): BlobStore {
  const soft = (id: string) => ({ durable: false, scope: [`encrypted-upload:${id}`] });
  const kept = (id: string) => ({ ...soft(id), durable: 'process' }) as const;

  /** Undefined where no upload was begun, or one in the clear. */
  async function placeOf(id: string): Promise<Place | undefined> {
    const stored = await base.uploadSize(id);
    return stored === 0 ? undefined : placeIn(stored, await findUploadRow(database, id));
  }

  function placeIn(stored: number, row: UploadRow | undefined): Place | undefined {
    if (stored < HEADER_BYTES || !row) return undefined;
    const full = Math.floor((stored - HEADER_BYTES) / SEALED_BYTES);
    return { row, stored, records: Math.min(full, row.closedRecords ?? full) };
  }

  function sizeOf({ row, records }: Place): number {
    return records * RECORD_BYTES + (row.tail !== null && row.tailRecord === records ? tailBytes(row.tail) : 0);
  }

  function restOf({ row, records }: Place, key: DataKey): Uint8Array {
    return row.tail !== null && row.tailRecord === records ? openTail(key, headerOf(row.keyId), records, row.tail) : NOTHING;
  }

  async function readUpload(id: string, records: number, keyId: string, rest: Uint8Array): Promise<BlobReader> {
    const reader = await base.openUploadForReading(id);
    const key = await keys.find(keyId);
    const segments = await segmentsOf(database, id, records);
    return createRecordReader({ base: reader, threads, key, header: headerOf(keyId), segments, records, rest });
  }

  async function openUpload(id: string, { fence }: { fence: boolean }) {
    const writer = randomUUID();
    const [stored, row] = [await base.uploadSize(id), await findUploadRow(database, id)];
    const found = placeIn(stored, row);
    // Nothing of it can be used: what was written in the clear, before encryption was switched on, goes too.
    if (!found && (stored > 0 || row)) await removeUpload(id);
    const key = found
      ? await keys.find(found.row.keyId)
      : await keys.make(undefined, (tx, { id: keyId }) => insertUploadRow(tx, { id, keyId, writer, now: clock.now() }));
    const header = headerOf(key.id);
    if (found) await claim(id, found.row, writer, found.row.closedRecords);
    const readBack = async (record: number) => {
      const reader = await readUpload(id, record + 1, key.id, NOTHING);
      const content = new Uint8Array(RECORD_BYTES);
      await reader.read(content, RECORD_BYTES, record * RECORD_BYTES).finally(() => reader.close());
      return content;
    };
    const below = await base.openUpload(id, { fence: fence || (found?.row.closedRecords ?? null) !== null });
    try {
      const common = { database, threads, clock, base: below, id, writer, key, header, storedBytes: () => base.uploadSize(id), readBack };
      if (!found) {
        await below.write(header, HEADER_BYTES, 0);
        return createUploadWriter({ ...common, records: 0, rest: NOTHING });
      }
      const place = await placeAgain(id, below, { ...found.row, writer });
      return createUploadWriter({ ...common, records: place.records, rest: restOf(place, key) });
    } catch (error) {
      await below.close();
      throw error;
    }
  }

  /** Where an upload is once nobody else can write to it, cut behind its last full record. */
  async function placeAgain(id: string, below: UploadWriter, { writer }: UploadRow): Promise<Place> {
    const place = (await placeOf(id)) ?? lost(id);
    if (place.stored !== sealedAt(place.records)) await below.rewind(sealedAt(place.records));
    if (place.row.closedRecords !== null) await claim(id, { ...place.row, writer }, writer, null);
    return place;
  }

  async function claim(id: string, row: UploadRow, writer: string, closed: number | null): Promise<void> {
    const isClaimed = await database.write((tx) => claimUpload(tx, { id, from: row.writer, writer, closed, now: clock.now() }), kept(id));
    if (!isClaimed) throw new AppError('upload_busy', 'another request went on with this upload', { headers: { 'Retry-After': '5' } });
  }

  async function commit(id: string, digest: string, size: number, options: { readonly replace?: boolean } = {}): Promise<void> {
    requireDigest(digest);
    const place = await placeOf(id);
    const found = place ? sizeOf(place) : 0;
    if (found !== size) throw new Error(`upload ${id} has ${found} bytes, not the ${size} that were verified`);
    if (!place) {
      await put(digest, NOTHING); // an empty blob never had a byte to write
      return await removeUpload(id);
    }
    const { row, records } = place;
    const segments = await segmentsOf(database, id, records);
    if (segments.length > maxSegments) return await commitAnew(id, digest, size, options);
    const key = await keys.find(row.keyId);
    const end = sealEnding(key, digest, segments, records, restOf(place, key));
    const now = clock.now();
    // Durable before any bytes are replaced: nobody can read the new ones without their key.
    const isClaimed = await database.write(
      async (tx) => {
        if (!(await claimUpload(tx, { id, from: row.writer, writer: randomUUID(), closed: records, now }))) return false;
        await setKeyOwner(tx, { id: key.id, digest, size, lookAt: now + FIRST_LOOK_MS });
        await lookAgainForKeys(tx, digest, key.id, now + FIRST_LOOK_MS);
        return true;
      },
      { scope: [`encrypted-upload:${id}`, `blob-keys:${digest}`] },
    );
    if (!isClaimed) throw new Error(`upload ${id} was continued while it was committed`);
    const below = await base.openUpload(id, { fence: row.closedRecords !== null });
    try {
      if (place.stored !== sealedAt(records)) await below.rewind(sealedAt(records));
      await below.write(end, end.length, sealedAt(records));
    } finally {
      await below.close();
    }
    await base.commit(id, digest, sealedAt(records) + end.length, options);
    // The blob is there: what is left of the upload is taken away with the stale ones where it fails now.
    await database.write((tx) => deleteUploadRow(tx, id), soft(id)).catch(() => undefined);
  }

  /** Commits an upload that came in too many pieces as another one that came in one. */
  async function commitAnew(id: string, digest: string, size: number, options: { readonly replace?: boolean }): Promise<void> {
    const other = `anew-${randomUUID()}`;
    try {
      const reader = await openUploadForReading(id);
      try {
        await copyContent(reader, await openUpload(other, { fence: false }));
      } finally {
        await reader.close();
      }
      await commit(other, digest, size, options);
    } catch (error) {
      await removeUpload(other).catch(() => undefined);
      throw error;
    }
    await removeUpload(id);
  }

  async function openUploadForReading(id: string): Promise<BlobReader> {
    const place = await placeOf(id);
    if (!place) throw new Error(`there is no upload ${id}`);
    return await readUpload(id, place.records, place.row.keyId, restOf(place, await keys.find(place.row.keyId)));
  }

  async function put(digest: string, bytes: Uint8Array): Promise<void> {
    requireDigest(digest);
    const key = await keys.make({ digest, size: bytes.length });
    await base.put(digest, await sealWhole(key, digest, bytes));
  }

  async function removeUpload(id: string): Promise<void> {
    const row = await findUploadRow(database, id);
    await base.removeUpload(id);
    if (!row) return;
    await database.write(async (tx) => {
      await deleteUploadRow(tx, id);
      await deleteUnownedKey(tx, row.keyId);
    }, soft(id));
  }

  async function open(
    digest: string,
    { key: name, ...options }: { readonly pulled?: boolean; readonly key?: string | undefined } = {},
  ): Promise<BlobReader | undefined> {
    const reader = await base.open(digest, options);
    if (!reader) return undefined;
    try {
      const opened = await openSealed(reader, digest, name);
      if (opened) return opened;
      // Whoever can write to the store must not be able to pass off bytes of his own as a blob from before.
      if (await wasPlaced(database, digest)) throw new DamagedBlob(`${digest} was encrypted and lies in the clear now`);
      return reader;
    } catch (error) {
      await reader.close();
      throw error;
    }
  }

  /** Undefined where the bytes lie in the clear. */
  async function openSealed(reader: BlobReader, digest: string, name: string | undefined): Promise<BlobReader | undefined> {
    const stored = reader.size;
    // One after the other: a reader is asked by one at a time. Of a small blob all is read at once.
    const isSmall = stored <= END_BYTES;
    const header = await readPart(reader, 0, isSmall ? stored : HEADER_BYTES);
    const keyId = keyIdIn(header);
    if (keyId === undefined) return undefined;
    const end = isSmall ? header : await readPart(reader, stored - END_BYTES, stored);
    const needed = bytesOfEnding(end);
    const ending = endingOf(needed > end.length ? await readPart(reader, stored - needed, stored) : end, stored);
    const key = await keys.find(keyId, name);
    const rest = new Uint8Array(ending.sealed.length - TAG_BYTES);
    const context = endingContext(headerOf(keyId), digest, ending.closing);
    openRecord({ key: segmentKey(key.bytes, ending.salt), context, record: ending.records, last: true }, ending.sealed, rest);
    return createRecordReader({
      base: reader,
      threads,
      key,
      header: headerOf(keyId),
      segments: ending.segments,
      records: ending.records,
      rest,
    });
  }

  return {
    open,
    async uploadSize(id) {
      const place = await placeOf(id);
      return place ? sizeOf(place) : 0;
    },
    openUpload,
    openUploadForReading,
    commit,
    put,
    removeUpload,
    async *staleUploads(before) {
      for await (const id of base.staleUploads(before)) {
        const row = await findUploadRow(database, id);
        if (!row || row.updatedAt < before) yield id;
      }
      // Rows whose bytes are gone, as after a crash behind a commit.
      for (let after = '', page = [after]; page.length > 0; after = page.at(-1) ?? '') {
        page = await oldUploads(database, before, after, PAGE);
        for (const id of page) if ((await base.uploadSize(id)) === 0) yield id;
      }
    },
    async remove(digest) {
      // Of one that cannot be read before it was restored, the keys are looked after later.
      const keyId = await keyIdOf(base, digest).catch((error: unknown) => {
        if (!(error instanceof ArchivedBlob)) throw error;
        return undefined;
      });
      await base.remove(digest);
      if (keyId !== undefined) await keys.remove(keyId);
      const now = clock.now();
      await database.write((tx) => lookAgainForKeys(tx, digest, '', now + FIRST_LOOK_MS), {
        durable: false,
        scope: [`blob-keys:${digest}`],
      });
    },
    async *blobs() {
      for await (const blob of base.blobs()) {
        const size = (await encryptedSize(database, blob.digest)) ?? (await sizeByReading(blob.digest));
        yield { ...blob, size: size ?? blob.size };
      }
    },
    async ping() {
      await base.ping();
      await keys.health();
    },
  };

  /** Size of a blob whose key the database does not know; undefined where it lies in the clear or cannot be told. */
  async function sizeByReading(digest: string): Promise<number | undefined> {
    const reader = await open(digest).catch(() => undefined);
    await reader?.close();
    return reader?.size;
  }
}

/** The key that an encrypted blob names; undefined where there is none, or one in the clear. */
export async function keyIdOf(base: BlobStore, digest: string): Promise<string | undefined> {
  const reader = await base.open(digest);
  if (!reader) return undefined;
  try {
    return keyIdIn(await readPart(reader, 0, HEADER_BYTES));
  } catch (error) {
    if (error instanceof DamagedBlob) return undefined;
    throw error;
  } finally {
    await reader.close();
  }
}

/** The content of a blob as it is stored, in memory. */
async function sealWhole(key: DataKey, digest: string, bytes: Uint8Array): Promise<Buffer> {
  const records = Math.floor(bytes.length / RECORD_BYTES);
  const segments = records === 0 ? [] : [{ start: 0, salt: randomBytes(SALT_BYTES) }];
  const end = sealEnding(key, digest, segments, records, bytes.subarray(records * RECORD_BYTES));
  const header = headerOf(key.id);
  const sealed = Buffer.alloc(sealedAt(records) + end.length);
  header.copy(sealed);
  const [segment] = segments;
  const sealing = segment && segmentKey(key.bytes, segment.salt);
  for (let record = 0; sealing && record < records; record++) {
    const content = bytes.subarray(record * RECORD_BYTES, (record + 1) * RECORD_BYTES);
    sealRecord({ key: sealing, context: header, record, last: false }, content, sealed.subarray(sealedAt(record)));
    if (record % BATCH === BATCH - 1) await turn(); // others get their turn
  }
  end.copy(sealed, sealedAt(records));
  return sealed;
}

/** What comes after the last full record of a blob. */
function sealEnding(key: DataKey, digest: string, segments: readonly Segment[], records: number, rest: Uint8Array): Buffer {
  const salt = randomBytes(SALT_BYTES);
  const closing = closingOf(segments, records * RECORD_BYTES + rest.length, salt);
  const sealed = Buffer.alloc(rest.length + TAG_BYTES + closing.length);
  const context = endingContext(headerOf(key.id), digest, closing);
  sealRecord({ key: segmentKey(key.bytes, salt), context, record: records, last: true }, rest, sealed);
  closing.copy(sealed, rest.length + TAG_BYTES);
  return sealed;
}

/** Bytes from a position, or from the beginning, to another one, or to the end. */
async function readPart(reader: BlobReader, from: number, to: number): Promise<Buffer> {
  const [start, end] = [Math.max(0, from), Math.min(to, reader.size)];
  const bytes = Buffer.alloc(end - start);
  await readFully(reader, bytes, bytes.length, start);
  return bytes;
}

function requireDigest(digest: string): void {
  if (!parseDigest(digest)) throw new Error('a digest outside the grammar reached the store');
}

function lost(id: string): never {
  throw new Error(`upload ${id} was taken away while it was opened`);
}
