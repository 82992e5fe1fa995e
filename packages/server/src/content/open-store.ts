import { join } from 'node:path';
import { type Clock, type Config, type Database, dataPaths, type Log, type Outbound } from '../platform/index.ts';
import type { BlobReader, BlobStore, Companions } from './blob-store.ts';
import type { Encryption } from './encryption/index.ts';
import { someKey } from './encryption/key-rows.ts';
import { openFileCompanions } from './file-companions.ts';
import { openFileStore } from './file-store.ts';
import { hasCold } from './tiers/start-rows.ts';
import type { Tiers } from './tiers/tiers.ts';

interface Parts {
  readonly database: Database;
  readonly outbound: Outbound;
  readonly clock: Clock;
  readonly log: Log;
  /** Told of a blob whose bytes were found damaged while it was moved between tiers. */
  onDamaged?(digest: string): void;
}

/** The store of an installation. */
export interface ContentStore extends BlobStore {
  /** What encrypts it; undefined where it lies in the clear. */
  readonly encryption?: Encryption;
  /** What moves blobs between its two tiers; undefined where it has but one. */
  readonly tiers?: Tiers;
  /** Where another copy of a damaged blob may be. */
  readonly spare?: Spare;
}

interface Spare {
  /** For the record. */
  readonly name: string;
  open(digest: string): Promise<BlobReader | undefined>;
}

/**
 * The store of all blobs as it is configured. The only place that knows of what stores it is made: whoever needs the blobs
 * of an installation, the server or a command beside it, opens them here, and closes them.
 */
export async function openStore(config: Config, parts: Parts): Promise<ContentStore> {
  const opened = await openBase(config, parts.log);
  const tiered = config.coldStorage === 'off' ? undefined : await (await import('./tiers/index.ts')).openTiers(config, opened, parts);
  // Without the other tier, what lies there would be taken for lost.
  if (!tiered && (await hasCold(parts.database)))
    throw new Error(
      'blobs of this registry lie in its cold tier: the option coldStorage says where, and cannot be off before all are hot again',
    );
  const { base, companions } = tiered ?? opened;
  if (config.encryption !== 'off') {
    const { encrypt } = await import('./encryption/index.ts');
    const { store, encryption, viewOf } = await encrypt(config, { ...parts, base, companions });
    return { ...store, encryption, ...(tiered ? { tiers: tiered.tiers, spare: spareOf(viewOf(tiered.cold)) } : {}) };
  }
  // Read as they are, encrypted blobs would be taken for damaged ones.
  if (await someKey(parts.database))
    throw new Error('blobs of this registry are encrypted: the option encryption says how, and cannot be off');
  return tiered ? { ...base, tiers: tiered.tiers, spare: spareOf(tiered.cold) } : base;
}

function spareOf({ open }: Pick<BlobStore, 'open'>): Spare {
  return { name: 'the cold tier', open: (digest) => open(digest) };
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
  const opened = await openBase(config, log);
  return config.coldStorage === 'off' ? opened : await (await import('./tiers/index.ts')).openPlainTiers(config, opened, log);
}
