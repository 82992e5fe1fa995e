import { queriesOf, type Session } from '../platform/index.ts';
import type { CatalogTables } from './schema.ts';

const query = queriesOf<CatalogTables>('catalog');

const insertDamage = query<{ id: number; problem: string; now: number }>()('insertManifestDamage', (db, p) =>
  db
    .insertInto('damaged_manifest')
    .values({ manifest_id: p('id'), problem: p('problem'), found_at: p('now') })
    .onConflict((conflict) => conflict.column('manifest_id').doNothing()),
);
const deleteDamage = query<{ id: number }>()('deleteManifestDamage', (db, p) =>
  db.deleteFrom('damaged_manifest').where('manifest_id', '=', p('id')),
);
const damagedAfter = query<{ after: number; limit: number }>()('damagedManifestsAfter', (db, p) =>
  db
    .selectFrom('damaged_manifest')
    .innerJoin('manifest', 'manifest.id', 'damaged_manifest.manifest_id')
    .innerJoin('repository', 'repository.id', 'manifest.repository_id')
    .select([
      'manifest.id',
      'manifest.digest',
      'repository.name as repository',
      'damaged_manifest.problem',
      'damaged_manifest.found_at as foundAt',
    ])
    .where('damaged_manifest.manifest_id', '>', p('after'))
    .orderBy('damaged_manifest.manifest_id')
    .limit(p('limit')),
);

const countDamaged = query()('countDamagedManifests', (db) =>
  db
    .selectFrom('damaged_manifest')
    .innerJoin('manifest', 'manifest.id', 'damaged_manifest.manifest_id')
    .select((eb) => eb.fn.countAll<number>().as('count')),
);

export interface DamagedManifest {
  readonly id: number;
  readonly digest: string;
  readonly repository: string;
  readonly problem: string;
  readonly foundAt: number;
}

/** Notes that a manifest's bytes are damaged; false where that is known. Nothing serves them: they are hashed when they are read. */
export async function markManifestDamaged(tx: Session, id: number, problem: string, now: number): Promise<boolean> {
  return (await tx.run(insertDamage, { id, problem, now })) === 1;
}

export async function forgetManifestDamage(tx: Session, id: number): Promise<boolean> {
  return (await tx.run(deleteDamage, { id })) === 1;
}

/** Damaged manifests by number, after one of them. */
export async function pageOfDamagedManifests(session: Session, after: number, limit: number): Promise<DamagedManifest[]> {
  return await session.all(damagedAfter, { after, limit });
}

export async function damagedManifestCount(session: Session): Promise<number> {
  return (await session.first(countDamaged, {}))?.count ?? 0;
}
