import { mkdtempSync, rmSync } from 'node:fs';
import { utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, type Database, openSqlite, queriesOf, systemClock } from '../../platform/index.ts';
import type { BlobReader, BlobStore, Companions } from '../blob-store.ts';
import { openFileCompanions } from '../file-companions.ts';
import { openFileStore } from '../file-store.ts';
import { type ContentTables, contentMigrations } from '../schema.ts';
import { CipherThreads } from './cipher-threads.ts';
import { createDataKeys, type DataKeys, type NamedProviders } from './data-keys.ts';
import { createEncryptedStore, keyIdOf } from './encrypted-store.ts';
import { createNamedKeys, type NamedKeys } from './named-keys.ts';
import { createKeyFile, openKeyFile } from './providers/local-file.ts';
import type { KeyProvider } from './providers/provider.ts';

const ageUpload = queriesOf<ContentTables>('testing')<{ id: string; time: number }>()('ageEncryptedUpload', (db, p) =>
  db
    .updateTable('encrypted_upload')
    .set({ updated_at: p('time') })
    .where('id', '=', p('id')),
);

export interface TestEncryption {
  readonly root: string;
  readonly database: Database;
  readonly base: BlobStore;
  readonly companions: Companions;
  readonly keys: DataKeys;
  readonly named: NamedProviders;
  readonly projectKeys: NamedKeys;
  readonly threads: CipherThreads;
  readonly store: BlobStore;
  readonly keyFile: string;
  /** Another store on the same data, as another process would open it. */
  another(): Promise<TestEncryption>;
  /** Makes an upload look as if its last byte came at a time. */
  age(id: string, time: number): Promise<void>;
  /** The same, of what is in the database only. */
  ageRow(id: string, time: number): Promise<void>;
  remove(): Promise<void>;
}

interface Options {
  /** In place of the key file itself, what is put in front of it. */
  readonly provider?: (keyFile: string) => KeyProvider;
  readonly clock?: Clock;
  /** Keys of projects. */
  readonly named?: NamedProviders;
  /** Puts something in front of the files. */
  readonly around?: (base: BlobStore, database: Database) => BlobStore;
  readonly maxSegments?: number;
}

/** Encrypted files in a temporary folder, with their database and key file. */
export async function encryptedFiles(options: Options = {}): Promise<TestEncryption> {
  const root = mkdtempSync(join(tmpdir(), 'entrepot-encrypted-'));
  const keyFile = join(root, 'keys', 'encryption.keys');
  createKeyFile(keyFile);
  return await open(root, keyFile, [], options);
}

async function open(root: string, keyFile: string, databases: Database[], options: Options): Promise<TestEncryption> {
  const { provider: make = openKeyFile, clock = systemClock, around = (base: BlobStore) => base } = options;
  const database = openSqlite(join(root, 'test.db'), { checkpoint: false });
  databases.push(database);
  await database.migrate(contentMigrations);
  const base = around(openFileStore(join(root, 'store')), database);
  const companions = openFileCompanions(join(root, 'companions'));
  const provider = make(keyFile);
  const providers = { active: provider, of: (name: string) => (name === provider.name ? provider : undefined) };
  const named = options.named ?? { names: [], of: () => undefined };
  const keys = createDataKeys({ database, providers, named, companions, clock });
  const projectKeys = createNamedKeys({
    ...{ database, keys, own: providers, named, clock },
    isInPlace: async (digest, id) => (await keyIdOf(base, digest)) === id,
  });
  const threads = new CipherThreads(1);
  const ageRow = async (id: string, time: number) => database.write(async (tx) => void (await tx.run(ageUpload, { id, time })));
  return {
    ...{ root, database, base, companions, keys, named, projectKeys, threads, keyFile },
    store: createEncryptedStore({
      base,
      database,
      keys,
      threads,
      clock,
      ...(options.maxSegments ? { maxSegments: options.maxSegments } : {}),
    }),
    another: () => open(root, keyFile, databases, options),
    async age(id, time) {
      await utimes(join(root, 'store', 'uploads', id), time / 1000, time / 1000);
      await ageRow(id, time);
    },
    ageRow,
    async remove() {
      await threads.close();
      for (const each of databases) await each.close();
      rmSync(root, { recursive: true, force: true });
    },
  };
}

/** All bytes of a reader, asked for in pieces of one length; closes it. */
export async function readContent(reader: BlobReader | undefined, piece = 512 * 1024): Promise<Buffer> {
  if (!reader) throw new Error('the blob is not there');
  const parts: Buffer[] = [];
  try {
    for (let at = 0; at < reader.size; ) {
      const part = Buffer.alloc(piece);
      const count = await reader.read(part, piece, at);
      if (count === 0) throw new Error(`a reader ends at ${at}, before ${reader.size}`);
      parts.push(part.subarray(0, count));
      at += count;
    }
  } finally {
    await reader.close();
  }
  return Buffer.concat(parts);
}

/** Writes pieces to an upload, each by a writer of its own that goes on at the end. */
export async function appendAll(store: BlobStore, id: string, ...pieces: Uint8Array[]): Promise<void> {
  for (const piece of pieces) {
    const position = await store.uploadSize(id);
    const writer = await store.openUpload(id, { fence: false });
    await writer.write(piece, piece.length, position);
    await writer.close();
  }
}

/** Path of a stored blob under the root of a test's storage. */
export function storedPath(root: string, digest: string): string {
  const [algorithm = '', hex = ''] = digest.split(':');
  return join(root, 'store', 'blobs', algorithm, hex.slice(0, 2), hex, 'data');
}
