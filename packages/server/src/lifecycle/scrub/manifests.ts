import { digestOf, parseDigest } from '@entrepot/oci';
import {
  forgetManifestDamage,
  forgetTrashDamage,
  isManifestInTrash,
  type ManifestRow,
  manifestBytes,
  markManifestDamaged,
  markTrashDamaged,
  pageOfManifests,
  setManifestContent,
  setTrashedBytes,
  type TrashedManifest,
  trashedBytes,
  twinsOfManifest,
} from '../../catalog/index.ts';
import { readSmall } from '../../content/index.ts';
import { audit, type Session } from '../../platform/index.ts';
import type { RepairParts } from './repair.ts';

/** Larger ones no version ever took. */
const MOST_BYTES = 64 << 20;

const fits = (bytes: Uint8Array | undefined, digest: string): bytes is Uint8Array =>
  bytes !== undefined && digestOf(bytes, parseDigest(digest)?.algorithm) === digest;

/** Where the bytes of one manifest lie in the database. */
interface Place {
  readonly id: number;
  readonly digest: string;
  read(session: Session): Promise<Uint8Array | undefined>;
  isThere(session: Session): Promise<boolean>;
  replace(tx: Session, bytes: Uint8Array): Promise<void>;
  /** False where it is known to be damaged. */
  mark(tx: Session, problem: string, now: number): Promise<boolean>;
  forget(tx: Session): Promise<unknown>;
}

export interface Checked {
  readonly problem: string | undefined;
  readonly repairedBy?: string | undefined;
  readonly bytes: number;
}

/** Hashes a manifest as it lies in the database. */
export async function checkManifest(parts: RepairParts, { id, digest }: Pick<ManifestRow, 'id' | 'digest'>): Promise<Checked> {
  return await check(parts, {
    ...{ id, digest },
    read: (session) => manifestBytes(session, id),
    isThere: async (session) => (await pageOfManifests(session, id - 1, 1))[0]?.id === id,
    replace: (tx, bytes) => setManifestContent(tx, id, bytes),
    mark: (tx, problem, now) => markManifestDamaged(tx, id, problem, now),
    forget: (tx) => forgetManifestDamage(tx, id),
  });
}

/** The same for one in the trash, so that what cannot come back is known before somebody needs it. */
export async function checkTrashed(parts: RepairParts, { itemId, id, digest }: TrashedManifest): Promise<Checked> {
  return await check(parts, {
    ...{ id, digest },
    read: (session) => trashedBytes(session, itemId),
    isThere: (session) => isManifestInTrash(session, itemId),
    replace: async (tx, bytes) => {
      await setTrashedBytes(tx, itemId, bytes);
      await forgetTrashDamage(tx, itemId);
    },
    mark: (tx) => markTrashDamaged(tx, itemId),
    forget: (tx) => forgetTrashDamage(tx, itemId),
  });
}

/**
 * A damaged manifest is replaced by the same manifest of another repository or of a source that has it, else it is noted.
 * Gives what is wrong with it, or what repaired it.
 */
async function check(parts: RepairParts, place: Place): Promise<Checked> {
  const { database, clock, log, actor } = parts;
  const { id, digest } = place;
  const bytes = await place.read(database);
  const length = bytes?.length ?? 0;
  if (fits(bytes, digest)) return { problem: undefined, bytes: length };
  const problem = length === 0 ? 'missing' : 'hash';
  const copy = await copyOf(parts, { id, digest });
  const still = await database.write(async (tx) => {
    const now = clock.now();
    if (!(await place.isThere(tx))) return false; // deleted, restored or purged meanwhile
    if (fits(await place.read(tx), digest)) {
      await place.forget(tx); // pushed again meanwhile
      return false;
    }
    const resource = { type: 'artifact', digest };
    if (copy !== undefined) {
      await place.replace(tx, copy.bytes);
      const after = { source: copy.source };
      await audit(tx, { actor, origin: null, action: 'artifact.repair', resource, outcome: 'success', after }, clock);
    } else if (await place.mark(tx, problem, now)) {
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
