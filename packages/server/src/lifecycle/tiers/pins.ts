import { queriesOf, type Session } from '../../platform/index.ts';
import type { HeatTables } from './schema.ts';

interface Tables extends HeatTables {
  project: { id: number; name: string };
  repository: { id: number; name: string; deleted_at: number | null };
}

const query = queriesOf<Tables>('tiers');
type Of = { projectId: number; repositoryId: number };

const insertPin = query<Of & { now: number; by: string }>()('insertTierPin', (db, p) =>
  db
    .insertInto('tier_pin')
    .values({ project_id: p('projectId'), repository_id: p('repositoryId'), created_at: p('now'), created_by: p('by') })
    .onConflict((conflict) => conflict.columns(['project_id', 'repository_id']).doNothing()),
);
const deletePin = query<Of>()('deleteTierPin', (db, p) =>
  db.deleteFrom('tier_pin').where('project_id', '=', p('projectId')).where('repository_id', '=', p('repositoryId')),
);
const pinsOf = query<Of>()('tierPinsOf', (db, p) =>
  db
    .selectFrom('tier_pin')
    .select(['repository_id as repositoryId', 'created_at as createdAt', 'created_by as createdBy'])
    .where('project_id', '=', p('projectId'))
    .where((eb) => eb.or([eb('repository_id', '=', 0), eb('repository_id', '=', p('repositoryId'))]))
    .orderBy('repository_id'),
);
const pins = query<Of & { limit: number }>()('tierPins', (db, p) =>
  db
    .selectFrom('tier_pin as pin')
    .innerJoin('project', 'project.id', 'pin.project_id')
    .leftJoin('repository', 'repository.id', 'pin.repository_id')
    .select([
      'pin.project_id as projectId',
      'pin.repository_id as repositoryId',
      'project.name as project',
      'repository.name as repository',
    ])
    .select(['repository.deleted_at as deletedAt', 'pin.created_at as createdAt', 'pin.created_by as createdBy'])
    .where('pin.project_id', '>=', p('projectId'))
    .where((eb) => eb.or([eb('pin.project_id', '>', p('projectId')), eb('pin.repository_id', '>', p('repositoryId'))]))
    .orderBy('pin.project_id')
    .orderBy('pin.repository_id')
    .limit(p('limit')),
);

/** All of a project. */
export const WHOLE_PROJECT = 0;

export interface Pin {
  /** 0: all of the project. */
  readonly repositoryId: number;
  readonly createdAt: number;
  readonly createdBy: string;
}

/** Wants a repository, or all of a project, hot; nothing changes where it is already. */
export async function pin(tx: Session, what: Of & { now: number; by: string }): Promise<void> {
  await tx.run(insertPin, what);
}

/** False where it was not pinned itself. */
export async function unpin(tx: Session, projectId: number, repositoryId: number): Promise<boolean> {
  return (await tx.run(deletePin, { projectId, repositoryId })) === 1;
}

/** What makes a repository hot: its project, itself, or both. */
export async function findPins(session: Session, projectId: number, repositoryId: number): Promise<Pin[]> {
  return await session.all(pinsOf, { projectId, repositoryId });
}

export interface PinRow extends Pin {
  readonly projectId: number;
  readonly project: string;
  /** null: all of the project. */
  readonly repository: string | null;
  readonly deletedAt: number | null;
}

export async function pageOfPins(session: Session, after: Of, limit: number): Promise<PinRow[]> {
  return await session.all(pins, { ...after, limit });
}
