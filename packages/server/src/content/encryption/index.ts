import type { Clock, Config, Database, JobDefinition, Log, Outbound } from '../../platform/index.ts';
import type { BlobStore, Companions } from '../blob-store.ts';
import { CipherThreads } from './cipher-threads.ts';
import { createDataKeys, type DataKeys } from './data-keys.ts';
import { createEncryptedStore, keyIdOf } from './encrypted-store.ts';
import { encryptionJobs, encryptStoredOnce } from './jobs.ts';
import { keyFileOf } from './key-file.ts';
import { someKey } from './key-rows.ts';
import { createNamedKeys, type NamedKeys } from './named-keys.ts';
import { openNamedProviders } from './providers/open-named.ts';
import { openProviders } from './providers/open-providers.ts';
import { isWrappedBy, PROJECTS_ONLY } from './wrapping-rows.ts';

const THREADS = 2;

/** What encrypts the blobs of an installation. */
export interface Encryption {
  readonly keys: DataKeys;
  /** Wrappings of data keys by keys of projects. */
  readonly projectKeys: NamedKeys;
  readonly jobs: readonly JobDefinition[];
}

interface Parts {
  readonly base: BlobStore;
  readonly companions: Companions;
  readonly database: Database;
  readonly outbound: Outbound;
  readonly clock: Clock;
  readonly log: Log;
}

interface Encrypted {
  readonly store: BlobStore;
  readonly encryption: Encryption;
  /** The blobs of another store, opened with the same keys. */
  viewOf(base: BlobStore): Pick<BlobStore, 'open'>;
}

/** Puts encryption around a store. Throws where the configured keys are not those of the blobs that are there. */
export async function encrypt(config: Config, parts: Parts): Promise<Encrypted> {
  const { base, companions, database, outbound, clock, log } = parts;
  const known = await someKey(database);
  const providers = openProviders(config, { keyFile: keyFileOf(config), isNew: known === undefined, outbound });
  const isOwn = known !== undefined && known.provider !== PROJECTS_ONLY;
  if (isOwn && !providers.of(known.provider)) {
    throw new Error(`blobs are encrypted with keys that ${known.provider} wrapped, which is not configured any more`);
  }
  // A wrong file would be noticed by the first pull only. Other providers may be out of reach at a start.
  if (isOwn && known.provider === 'file') await providers.of('file')?.unwrap(known, known.id);
  const named = await openNamedProviders(config, { outbound, isUsed: (name) => isWrappedBy(database, name) });
  const keys = createDataKeys({ database, providers, named, companions, clock });
  const projectKeys = createNamedKeys({
    ...{ database, keys, own: providers, named, clock },
    isInPlace: async (digest, id) => (await keyIdOf(base, digest)) === id,
  });
  const threads = new CipherThreads(THREADS);
  const encrypted = createEncryptedStore({ base, database, keys, threads, clock });
  const store: BlobStore = {
    ...encrypted,
    async close() {
      await threads.close();
      await base.close?.();
    },
  };
  await encryptStoredOnce(database, clock.now());
  const viewOf = (other: BlobStore) => createEncryptedStore({ base: other, database, keys, threads, clock });
  const jobs = encryptionJobs({ base, store, companions, database, keys, named, clock, log });
  return { store, viewOf, encryption: { keys, projectKeys, jobs } };
}
