import { digestOf, parseDigest } from '@entrepot/oci';
import {
  forgetManifestDamage,
  type ManifestRow,
  manifestBytes,
  markManifestDamaged,
  setManifestContent,
  twinsOfManifest,
} from '../../catalog/index.ts';
import { readSmall } from '../../content/index.ts';
import { audit } from '../../platform/index.ts';
import type { RepairParts } from './repair.ts';

/** Larger ones no version ever took. */
const MOST_BYTES = 64 << 20;

const fits = (bytes: Uint8Array | undefined, digest: string): bytes is Uint8Array =>
  bytes !== undefined && digestOf(bytes, parseDigest(digest)?.algorithm) === digest;

/**
 * Hashes a manifest as it lies in the database. A damaged one is replaced by the same manifest of another repository or of a
 * source that has it, else it is noted. Gives what is wrong with it, or what repaired it; undefined where it is sound.
 */
export async function checkManifest(
  parts: RepairParts,
  { id, digest }: Pick<ManifestRow, 'id' | 'digest'>,
): Promise<{ problem: string; repairedBy: string | undefined; bytes: number } | { problem: undefined; bytes: number }> {
  const { database, clock, log, actor } = parts;
  const bytes = await manifestBytes(database, id);
  const length = bytes?.length ?? 0;
  if (fits(bytes, digest)) return { problem: undefined, bytes: length };
  const problem = length === 0 ? 'missing' : 'hash';
  const copy = await copyOf(parts, { id, digest });
  const still = await database.write(async (tx) => {
    const now = clock.now();
    const current = await manifestBytes(tx, id);
    if (fits(current, digest)) {
      await forgetManifestDamage(tx, id); // pushed again meanwhile
      return false;
    }
    const resource = { type: 'artifact', digest };
    if (copy !== undefined) {
      await setManifestContent(tx, id, copy.bytes);
      const after = { source: copy.source };
      await audit(tx, { actor, origin: null, action: 'artifact.repair', resource, outcome: 'success', after }, clock);
    } else if (await markManifestDamaged(tx, id, problem, now)) {
      await audit(tx, { actor, origin: null, action: 'artifact.quarantine', resource, outcome: 'success', after: { problem } }, clock);
    }
    return true;
  });
  if (!still) return { problem: undefined, bytes: length };
  log.error({ digest, problem, repairedBy: copy?.source }, 'the bytes of a manifest in the database are damaged');
  return { problem, repairedBy: copy?.source, bytes: length };
}

async function copyOf(
  { database, blobs, sources }: RepairParts,
  manifest: { id: number; digest: string },
): Promise<{ bytes: Uint8Array; source: string } | undefined> {
  const { digest } = manifest;
  for (const twin of await twinsOfManifest(database, manifest)) {
    const bytes = await manifestBytes(database, twin);
    if (fits(bytes, digest)) return { bytes, source: 'another repository' };
  }
  // Where the store is one that registry:2 filled, manifests lie in it as blobs do.
  for (const { name, open } of [{ name: 'the store', open: (wanted: string) => blobs.open(wanted) }, ...sources]) {
    const bytes = await readSmall({ open: (wanted) => open(wanted).catch(() => undefined) }, digest, MOST_BYTES);
    if (fits(bytes, digest)) return { bytes, source: name };
  }
  return undefined;
}
