import { damagedCount, damagedManifestCount } from '../../catalog/index.ts';
import type { Session } from '../../platform/index.ts';
import { findPass } from './store.ts';

/** What is in quarantine, and when scrub was last through with everything, for the metrics. */
export async function scrubState(session: Session): Promise<{ damagedBlobs: number; damagedManifests: number; scrubbedAt: number | null }> {
  const [damagedBlobs, damagedManifests] = [await damagedCount(session), await damagedManifestCount(session)];
  return { damagedBlobs, damagedManifests, scrubbedAt: (await findPass(session))?.scrubbedAt ?? null };
}
