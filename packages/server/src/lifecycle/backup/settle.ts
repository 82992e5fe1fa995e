import { endAllUploads, releaseAllHolds } from '../../catalog/index.ts';
import { forgetShared, type Session } from '../../platform/index.ts';

/**
 * Ends in a restored database what was under way when it was copied: uploads, whose bytes are not in a backup, and holds. It
 * also forgets where its blobs were, as they are in another place now.
 */
export async function settleRestored(tx: Session): Promise<void> {
  await endAllUploads(tx);
  await releaseAllHolds(tx);
  for (const name of ['files', 'storage']) await forgetShared(tx, name);
}
