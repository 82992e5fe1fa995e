import { ManifestError } from '@entrepot/oci';
import { manifestBytes } from '../../catalog/index.ts';
import { enqueue, type Session } from '../../platform/index.ts';
import { READ_LAYER } from './format.ts';
import { type ImageKind, imageKindOf } from './image-layers.ts';
import { placesOfImage, wantImage } from './image-store.ts';

/** What a stored manifest is, by its bytes in whatever repository; undefined where it is nowhere, or damaged everywhere. */
export async function kindOfStored(session: Session, digest: string): Promise<ImageKind | undefined> {
  for (const { id, mediaType } of await placesOfImage(session, digest)) {
    const bytes = await manifestBytes(session, id);
    try {
      if (bytes) return imageKindOf(bytes, mediaType);
    } catch (error) {
      if (!(error instanceof ManifestError)) throw error; // scrub finds what is damaged, and has it repaired
    }
  }
  return undefined;
}

/** Has the layers of an image read that were not yet. */
export async function wantInventory(tx: Session, digest: string, kind: ImageKind, now: number): Promise<void> {
  if (kind.kind === 'index') return; // its manifests are pushed by themselves
  for (const layer of await wantImage(tx, digest, kind, now))
    await enqueue(tx, { kind: READ_LAYER, key: layer, payload: { digest: layer }, now });
}
