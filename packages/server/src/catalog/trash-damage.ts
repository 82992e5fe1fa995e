import { queriesOf, type Session } from '../platform/index.ts';
import type { CatalogTables } from './schema.ts';

const query = queriesOf<CatalogTables>('catalog');

/** How the trash says of an item that it cannot come back because of this. */
const DAMAGED = 'its bytes are damaged';

const trashedAfter = query<{ after: number; limit: number }>()('trashedManifestsAfter', (db, p) =>
  db
    .selectFrom('trash_manifest')
    .select(['item_id as itemId', 'manifest_id as id', 'digest'])
    .where('item_id', '>', p('after'))
    .orderBy('item_id')
    .limit(p('limit')),
);
const isThere = query<{ itemId: number }>()('isManifestInTrash', (db, p) =>
  db.selectFrom('trash_manifest').select('item_id').where('item_id', '=', p('itemId')),
);
const upsertContent = query<{ itemId: number; bytes: Uint8Array }>()('setTrashContent', (db, p) =>
  db
    .insertInto('trash_content')
    .values({ item_id: p('itemId'), bytes: p('bytes') })
    .onConflict((conflict) => conflict.column('item_id').doUpdateSet((eb) => ({ bytes: eb.ref('excluded.bytes') }))),
);
const setProblem = query<{ itemId: number; problem: string }>()('setTrashDamage', (db, p) =>
  db
    .updateTable('trash_item')
    .set({ problem: p('problem') })
    .where('id', '=', p('itemId'))
    .where((eb) => eb.or([eb('problem', 'is', null), eb('problem', '!=', p('problem'))])),
);
const clearProblem = query<{ itemId: number; problem: string }>()('forgetTrashDamage', (db, p) =>
  db.updateTable('trash_item').set({ problem: null }).where('id', '=', p('itemId')).where('problem', '=', p('problem')),
);

export interface TrashedManifest {
  readonly itemId: number;
  /** What it had, and will have again. */
  readonly id: number;
  readonly digest: string;
}

/** Manifests in the trash by item, after one. */
export async function pageOfTrashedManifests(session: Session, after: number, limit: number): Promise<TrashedManifest[]> {
  return await session.all(trashedAfter, { after, limit });
}

export async function isManifestInTrash(session: Session, itemId: number): Promise<boolean> {
  return (await session.first(isThere, { itemId })) !== undefined;
}

export async function setTrashedBytes(tx: Session, itemId: number, bytes: Uint8Array): Promise<void> {
  await tx.run(upsertContent, { itemId, bytes });
}

/** Notes that an item cannot come back as its bytes are damaged; false where that is known. */
export async function markTrashDamaged(tx: Session, itemId: number): Promise<boolean> {
  return (await tx.run(setProblem, { itemId, problem: DAMAGED })) === 1;
}

export async function forgetTrashDamage(tx: Session, itemId: number): Promise<void> {
  await tx.run(clearProblem, { itemId, problem: DAMAGED });
}
