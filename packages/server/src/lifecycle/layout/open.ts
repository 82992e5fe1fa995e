import { join } from 'node:path';
import type { BlobStore } from '../../content/index.ts';
import { type Clock, type Config, type Database, dataPaths, outboxDelivery } from '../../platform/index.ts';
import { openBucketTree, openFileTree, openFileTreeWriter } from '../adoption/index.ts';
import { layoutConsumer } from './consumer.ts';
import type { LayoutParts } from './files.ts';

interface Parts {
  readonly database: Database;
  readonly blobs: BlobStore;
  readonly config: Config;
}

/** A server that must end does not wait for long; what it could not write the next start does. Milliseconds. */
const PAUSES = [500, 1000];

/** What writes the files of registry:2 into the storage that the configuration names. */
export async function openLayout({ database, blobs, config }: Parts): Promise<LayoutParts> {
  if (config.encryption !== 'off') throw new Error('registry:2 reads no encrypted blobs: with layoutCompatible, encryption must be off');
  return { database, blobs, tree: await openTree(config), manifestMaxBytes: config.manifestMaxBytes };
}

async function openTree(config: Config): Promise<LayoutParts['tree']> {
  if (config.storage === 's3') return await openBucketTree(config, PAUSES);
  const { blobs: root } = dataPaths(config);
  // The store's own folder of uploads is on the same file system, and no registry looks for links there.
  return { ...openFileTree(root), ...openFileTreeWriter(root, join(root, 'uploads')) };
}

/** Handles all events that are there, now: before the server ends, and where it ended without that. */
export async function deliverEvents(parts: LayoutParts, clock: Clock): Promise<void> {
  const delivery = outboxDelivery(parts.database, clock, layoutConsumer(parts));
  const nobodyElse = async () => undefined;
  await delivery.run(undefined, { signal: new AbortController().signal, attempt: 1, hold: nobodyElse, progress: nobodyElse });
}
