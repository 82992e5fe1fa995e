import { type Config, dataPaths, type Log } from '../platform/index.ts';
import type { BlobStore } from './blob-store.ts';
import { openFileStore } from './file-store.ts';

interface Parts {
  readonly log: Log;
}

/**
 * The store of all blobs as it is configured. The only place that knows of what stores it is made: whoever needs the blobs
 * of an installation, the server or a command beside it, opens them here, and closes them.
 */
export async function openStore(config: Config, _parts: Parts): Promise<BlobStore> {
  if (config.storage === 's3') throw new Error('storage s3 is not there yet');
  return openFileStore(dataPaths(config).blobs);
}
