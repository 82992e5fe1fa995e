import { sql } from 'kysely';
import type { Tier } from '../../content/index.ts';
import { BEFORE_ALL, beyond, type Order, type Query, queriesOf, type Session } from '../../platform/index.ts';
import type { HeatTables } from './schema.ts';

interface Tables extends HeatTables {
  manifest_reference: { manifest_id: number; repository_id: number; digest: string; kind: string };
  stored_blob: { digest: string; size: number; state: string; stored_at: number };
  blob_tier: { digest: string; tier: Tier; since: number; leftover: 'hot' | 'cold' | null };
  repository: { id: number; project_id: number; name: string; deleted_at: number | null };
  repository_blob: { repository_id: number; digest: string; size: number };
}

const query = queriesOf<Tables>('tiers');

const survey = query<{ after: string; limit: number }>()('surveyBlobs', (db, p) =>
  db
    .selectFrom('stored_blob as stored')
    .leftJoin('blob_heat as heat', 'heat.digest', 'stored.digest')
    .leftJoin('blob_tier as place', 'place.digest', 'stored.digest')
    .select([
      'stored.digest',
      'stored.size',
      'stored.state',
      'stored.stored_at as storedAt',
      'heat.id as heatId',
      'heat.score',
      'place.tier',
      'place.since',
      'place.leftover',
    ])
    .where('stored.digest', '>', p('after'))
    .orderBy('stored.digest')
    .limit(p('limit')),
);
const seedHeat = query<{ digest: string; score: number }>()('seedBlobHeat', (db, p) =>
  db
    .insertInto('blob_heat')
    .values({ digest: p('digest'), score: p('score') })
    .onConflict((conflict) => conflict.column('digest').doNothing()),
);

/** A stored blob as the survey of all sees it. */
export interface SurveyedBlob {
  readonly digest: string;
  readonly size: number;
  readonly state: string;
  readonly storedAt: number;
  /** null: nothing is known of its heat yet. */
  readonly heatId: number | null;
  readonly score: number | null;
  /** null: hot. */
  readonly tier: Tier | null;
  readonly since: number | null;
  /** Where a copy still is that does not count, and soon goes. */
  readonly leftover: 'hot' | 'cold' | null;
}

/** All that is stored, by digest, after one of them. */
export async function pageOfStored(session: Session, after: string, limit: number): Promise<SurveyedBlob[]> {
  return await session.all(survey, { after, limit });
}

/** Gives a blob its first heat, unless it has one. */
export async function seedBlob(tx: Session, digest: string, score: number): Promise<void> {
  await tx.run(seedHeat, { digest, score });
}

interface ByHeat {
  at: number;
  id: number;
  limit: number;
}

export interface HeatRow {
  readonly id: number;
  readonly digest: string;
  readonly score: number;
  readonly readAt: number | null;
  /** null: it is stored no more. */
  readonly size: number | null;
  readonly state: string | null;
  readonly storedAt: number | null;
  readonly tier: Tier | null;
  readonly since: number | null;
}

function byHeat(name: string, order: Order): Query<ByHeat, HeatRow> {
  return query<ByHeat>()(name, (db, p) =>
    db
      .selectFrom('blob_heat as heat')
      .leftJoin('stored_blob as stored', 'stored.digest', 'heat.digest')
      .leftJoin('blob_tier as place', 'place.digest', 'heat.digest')
      .select(['heat.id', 'heat.digest', 'heat.score', 'heat.read_at as readAt'])
      .select(['stored.size', 'stored.state', 'stored.stored_at as storedAt', 'place.tier', 'place.since'])
      .where(beyond(sql.ref('heat.score'), sql.ref('heat.id'), order, p('at'), p('id')))
      .orderBy('heat.score', order)
      .orderBy('heat.id', order)
      .limit(p('limit')),
  );
}

const BY_HEAT: Record<Order, Query<ByHeat, HeatRow>> = { asc: byHeat('coldestBlobs', 'asc'), desc: byHeat('hottestBlobs', 'desc') };

/** A position in the order of heat. */
export interface HeatPosition {
  readonly score: number;
  readonly id: number;
}

export const BEFORE_HEAT: Record<Order, HeatPosition> = {
  asc: { score: -1e300, id: BEFORE_ALL.asc.number },
  desc: { score: 1e300, id: BEFORE_ALL.desc.number },
};

/** Blobs by heat, after a position, wherever they lie and whether they are still stored. */
export async function pageByHeat(session: Session, order: Order, after: HeatPosition, limit: number): Promise<HeatRow[]> {
  return await session.all(BY_HEAT[order], { at: after.score, id: after.id, limit });
}

const somePin = query()('someTierPin', (db) => db.selectFrom('tier_pin').select('project_id').limit(1));
const pinOfBlob = query<{ digest: string }>()('tierPinOfBlob', (db, p) =>
  db
    .selectFrom('repository_blob as link')
    .innerJoin('repository', 'repository.id', 'link.repository_id')
    .innerJoin('tier_pin as pin', 'pin.project_id', 'repository.project_id')
    .select('pin.project_id')
    .where('link.digest', '=', p('digest'))
    .where('repository.deleted_at', 'is', null)
    .where((eb) => eb.or([eb('pin.repository_id', '=', 0), eb('pin.repository_id', '=', eb.ref('repository.id'))]))
    .limit(1),
);

export async function hasPins(session: Session): Promise<boolean> {
  return (await session.first(somePin, {})) !== undefined;
}

/** Whether a repository that is to be hot has the blob. */
export async function isPinned(session: Session, digest: string): Promise<boolean> {
  return (await session.first(pinOfBlob, { digest })) !== undefined;
}

const pinnedRepositories = query<{ after: number; limit: number }>()('pinnedRepositories', (db, p) =>
  db
    .selectFrom('tier_pin as pin')
    .innerJoin('repository', 'repository.project_id', 'pin.project_id')
    .select('repository.id')
    .distinct()
    .where('repository.deleted_at', 'is', null)
    .where('repository.id', '>', p('after'))
    .where((eb) => eb.or([eb('pin.repository_id', '=', 0), eb('pin.repository_id', '=', eb.ref('repository.id'))]))
    .orderBy('repository.id')
    .limit(p('limit')),
);
const linksOf = query<{ repositoryId: number; after: string; limit: number }>()('tiersOfRepository', (db, p) =>
  db
    .selectFrom('repository_blob as link')
    .leftJoin('blob_tier as place', 'place.digest', 'link.digest')
    .select(['link.digest', 'link.size', 'place.tier', 'place.since'])
    .where('link.repository_id', '=', p('repositoryId'))
    .where('link.digest', '>', p('after'))
    .orderBy('link.digest')
    .limit(p('limit')),
);
const otherLink = query<{ digest: string; repositoryId: number }>()('linkElsewhere', (db, p) =>
  db
    .selectFrom('repository_blob')
    .select('repository_id')
    .where('digest', '=', p('digest'))
    .where('repository_id', '!=', p('repositoryId'))
    .limit(1),
);

export async function pageOfPinnedRepositories(session: Session, after: number, limit: number): Promise<number[]> {
  return (await session.all(pinnedRepositories, { after, limit })).map(({ id }) => id);
}

export interface PlacedLink {
  readonly digest: string;
  readonly size: number;
  /** null: hot. */
  readonly tier: Tier | null;
  readonly since: number | null;
}

/** Blobs of a repository and where they lie, by digest, after one of them. */
export async function pageOfLinks(session: Session, repositoryId: number, after: string, limit: number): Promise<PlacedLink[]> {
  return await session.all(linksOf, { repositoryId, after, limit });
}

/** Whether another repository has the blob too. */
export async function isSharedBlob(session: Session, digest: string, repositoryId: number): Promise<boolean> {
  return (await session.first(otherLink, { digest, repositoryId })) !== undefined;
}

const linkOf = query<{ repositoryId: number; digest: string }>()('tierOfLink', (db, p) =>
  db
    .selectFrom('repository_blob as link')
    .leftJoin('blob_tier as place', 'place.digest', 'link.digest')
    .select(['link.digest', 'link.size', 'place.tier', 'place.since'])
    .where('link.repository_id', '=', p('repositoryId'))
    .where('link.digest', '=', p('digest')),
);

/** A blob of a repository, and where it lies. */
export async function placedLink(session: Session, repositoryId: number, digest: string): Promise<PlacedLink | undefined> {
  return await session.first(linkOf, { repositoryId, digest });
}

const needers = query<{ repositoryId: number; digest: string; limit: number }>()('needersOfBlob', (db, p) =>
  db
    .selectFrom('manifest_reference')
    .select('manifest_id')
    .where('repository_id', '=', p('repositoryId'))
    .where('digest', '=', p('digest'))
    .where('kind', '=', 'blob')
    .limit(p('limit')),
);

/** Whether manifests of the repository need the blob besides so many. */
export async function hasOtherNeeders(session: Session, repositoryId: number, digest: string, besides: number): Promise<boolean> {
  return (await session.all(needers, { repositoryId, digest, limit: besides + 1 })).length > besides;
}
