import { queriesOf, type Session } from '../platform/index.ts';
import type { CatalogTables } from './schema.ts';

const query = queriesOf<CatalogTables>('catalog');

const selectDays = query<{ projectId: number }>()('trashDays', (db, p) =>
  db.selectFrom('project').select('trash_days as days').where('id', '=', p('projectId')),
);
const updateDays = query<{ projectId: number; days: number | null }>()('setTrashDays', (db, p) =>
  db
    .updateTable('project')
    .set((eb) => ({ trash_days: p('days'), version: eb('version', '+', 1) }))
    .where('id', '=', p('projectId')),
);

/** For how many days a project keeps its trash; null: as the server says. */
export async function trashDaysOf(session: Session, projectId: number): Promise<number | null> {
  return (await session.first(selectDays, { projectId }))?.days ?? null;
}

export async function setTrashDays(tx: Session, projectId: number, days: number | null): Promise<void> {
  await tx.run(updateDays, { projectId, days });
}
