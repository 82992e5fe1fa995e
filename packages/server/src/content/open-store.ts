import { join } from 'node:path';
import { type Clock, type Config, type Database, dataPaths, type Log, type Outbound } from '../platform/index.ts';
import type { BlobStore, Companions } from './blob-store.ts';
import type { Encryption } from './encryption/index.ts';
import { someKey } from './encryption/key-rows.ts';
import { openFileCompanions } from './file-companions.ts';
import { openFileStore } from './file-store.ts';
import type { Tiers } from './tiers/tiers.ts';

interface Parts {
  readonly database: Database;
  readonly outbound: Outbound;
  readonly clock: Clock;
  readonly log: Log;
}

/** The store of an installation. */
export interface ContentStore extends BlobStore {
  /** What encrypts it; undefined where it lies in the clear. */
  readonly encryption?: Encryption;
  /** What moves blobs between its two tiers; undefined where it has but one. */
  readonly tiers?: Tiers;
}

/**
 * The store of all blobs as it is configured. The only place that knows of what stores it is made: whoever needs the blobs
 * of an installation, the server or a command beside it, opens them here, and closes them.
 */
export async function openStore(config: Config, parts: Parts): Promise<ContentStore> {
  if (config.coldStorage !== 'off') throw new Error('coldStorage is not there yet');
  const { base, companions } = await openBase(config, parts.log);
  if (config.encryption !== 'off') {
    const { encrypt } = await import('./encryption/index.ts');
    const { store, encryption } = await encrypt(config, { ...parts, base, companions });
    return { ...store, encryption };
  }
  // Read as they are, encrypted blobs would be taken for damaged ones.
  if (await someKey(parts.database))
    throw new Error('blobs of this registry are encrypted: the option encryption says how, and cannot be off');
  return base;
}

async function openBase(config: Config, log: Log): Promise<{ base: BlobStore; companions: Companions }> {
  if (config.storage === 's3') {
    const { openS3Storage } = await import('./s3/open-s3-storage.ts');
    return await openS3Storage(config, log);
  }
  const root = dataPaths(config).blobs;
  return { base: openFileStore(root), companions: openFileCompanions(join(root, 'encryption')) };
}

/** The store as it lies, without what encrypts it: for whoever copies sealed bytes as they are. */
export async function openBareStore(config: Config, log: Log): Promise<{ readonly base: BlobStore; readonly companions: Companions }> {
  return await openBase(config, log);
}
