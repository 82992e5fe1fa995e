import { blobScope, findLinkedBlob, quarantineBlob } from '../../catalog/index.ts';
import type { StoredBlob } from '../../content/index.ts';
import { audit } from '../../platform/index.ts';
import type { Fault } from './examine.ts';
import { type RepairParts, repairBlob } from './repair.ts';

/** First pause between tries to repair what could not be repaired, and the longest. */
export const REPAIR_FIRST_MS = 10 * 60_000;
export const REPAIR_MOST_MS = 24 * 3_600_000;

export type Verdict = 'damaged' | 'repaired' | 'gone';

/**
 * Puts a damaged blob into quarantine and tries to repair it. In this order: a push that stored the bytes anew between the
 * look and the quarantine is seen by the second look, one that comes later lifts the quarantine itself.
 */
export async function quarantine(
  parts: RepairParts,
  blob: StoredBlob,
  { problem, detail }: Fault,
  signal: AbortSignal,
  retryMs?: number,
): Promise<Verdict> {
  const { database, clock, log, actor } = parts;
  const { digest } = blob;
  const scope = [blobScope(digest)];
  const found = await database.write(
    async (tx) => {
      const now = clock.now();
      // Removed meanwhile, or on its way in for the first time: then nobody was ever promised it.
      if (!(await findLinkedBlob(tx, digest))) return 'gone';
      const isNew = await quarantineBlob(tx, { digest, problem, detail, by: actor.name, now, checkAt: now + REPAIR_FIRST_MS });
      if (!isNew) return 'known';
      const resource = { type: 'blob', digest };
      const after = { problem, detail };
      await audit(tx, { actor, origin: null, action: 'blob.quarantine', resource, outcome: 'success', after }, clock);
      return 'new';
    },
    { scope },
  );
  if (found === 'gone') return 'gone';
  if (found === 'new') log.error({ digest, problem, detail }, 'a stored blob is damaged; nobody is given it any more');
  const source = await repairBlob(parts, blob, signal, retryMs);
  if (source === undefined) return 'damaged';
  log.warn({ digest, source }, 'a damaged blob was repaired');
  return 'repaired';
}
