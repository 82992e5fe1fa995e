import { endAllUploads, releaseAllHolds } from '../../catalog/index.ts';
import type { Session } from '../../platform/index.ts';

/** Ends in a restored database what was under way when it was copied: uploads, whose bytes are not in a backup, and holds. */
export async function settleRestored(tx: Session): Promise<void> {
  await endAllUploads(tx);
  await releaseAllHolds(tx);
}
