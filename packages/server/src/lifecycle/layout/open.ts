import { join } from 'node:path';
import type { BlobStore } from '../../content/index.ts';
import { type Clock, type Config, type Database, dataPaths, outboxDelivery } from '../../platform/index.ts';
import { openFileTree, openFileTreeWriter } from '../adoption/index.ts';
import { layoutConsumer } from './consumer.ts';
import type { LayoutParts } from './files.ts';

interface Parts {
  readonly database: Database;
  readonly blobs: BlobStore;
  readonly config: Config;
}

/** What writes the files of registry:2 into the storage that the configuration names. */
export function openLayout({ database, blobs, config }: Parts): LayoutParts {
  if (config.encryption !== 'off') throw new Error('registry:2 reads no encrypted blobs: with layoutCompatible, encryption must be off');
  const { blobs: root } = dataPaths(config);
  // The store's own folder of uploads is on the same file system, and no registry looks for links there.
  const tree = { ...openFileTree(root), ...openFileTreeWriter(root, join(root, 'uploads')) };
  return { database, blobs, tree, manifestMaxBytes: config.manifestMaxBytes };
}

/** Handles all events that are there, now: before the server ends, and where it ended without that. */
export async function deliverEvents(parts: LayoutParts, clock: Clock): Promise<void> {
  const delivery = outboxDelivery(parts.database, clock, layoutConsumer(parts));
  const nobodyElse = async () => undefined;
  await delivery.run(undefined, { signal: new AbortController().signal, attempt: 1, hold: nobodyElse, progress: nobodyElse });
}
