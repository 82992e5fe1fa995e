import { sql } from 'kysely';
import type { Tier } from '../../content/index.ts';
import { beyond, type Order, type Query, queriesOf, type Session } from '../../platform/index.ts';
import type { HeatTables } from './schema.ts';

interface Tables extends HeatTables {
  manifest: { id: number; repository_id: number; digest: string; content_size: number };
}

const query = queriesOf<Tables>('tiers');

interface ByHeat {
  repositoryId: number;
  at: number;
  digest: string;
  limit: number;
}

/** An image and how hot it is. */
export interface HotImage {
  readonly id: number;
  readonly digest: string;
  /** null: nobody has pulled it. */
  readonly score: number | null;
  readonly pulledAt: number | null;
  readonly size: number;
}

function pulled(name: string, order: Order): Query<ByHeat, HotImage & { readonly score: number; readonly pulledAt: number }> {
  return query<ByHeat>()(name, (db, p) =>
    db
      .selectFrom('image_heat as heat')
      .innerJoin('manifest as image', (join) =>
        join.onRef('image.repository_id', '=', 'heat.repository_id').onRef('image.digest', '=', 'heat.digest'),
      )
      .select(['image.id', 'heat.digest', 'heat.score', 'heat.pulled_at as pulledAt', 'image.content_size as size'])
      .where('heat.repository_id', '=', p('repositoryId'))
      .where(beyond(sql.ref('heat.score'), sql.ref('heat.digest'), order, p('at'), p('digest')))
      .orderBy('heat.score', order)
      .orderBy('heat.digest', order)
      .limit(p('limit')),
  );
}

const PULLED: Record<Order, ReturnType<typeof pulled>> = { asc: pulled('coldestImages', 'asc'), desc: pulled('hottestImages', 'desc') };
const byAge = query<{ repositoryId: number; after: number; limit: number }>()('imagesByAge', (db, p) =>
  db
    .selectFrom('manifest as image')
    .leftJoin('image_heat as heat', (join) =>
      join.onRef('heat.repository_id', '=', 'image.repository_id').onRef('heat.digest', '=', 'image.digest'),
    )
    .select(['image.id', 'image.digest', 'heat.score', 'heat.pulled_at as pulledAt', 'image.content_size as size'])
    .where('image.repository_id', '=', p('repositoryId'))
    .where('image.id', '>', p('after'))
    .orderBy('image.id')
    .limit(p('limit')),
);

/** Images that were pulled, by heat. */
export async function pageOfPulled(
  session: Session,
  order: Order,
  page: ByHeat,
): Promise<(HotImage & { readonly score: number; readonly pulledAt: number })[]> {
  return await session.all(PULLED[order], page);
}

/** All images of a repository, the oldest first. */
export async function pageOfImages(session: Session, repositoryId: number, after: number, limit: number): Promise<HotImage[]> {
  return await session.all(byAge, { repositoryId, after, limit });
}

export interface Amounts {
  readonly hot: { blobs: number; bytes: number };
  readonly cold: { blobs: number; bytes: number };
  readonly archived: { blobs: number; bytes: number };
}

export function noAmounts(): Amounts {
  return { hot: { blobs: 0, bytes: 0 }, cold: { blobs: 0, bytes: 0 }, archived: { blobs: 0, bytes: 0 } };
}

export function addTo(amounts: Amounts, tier: Tier | null, size: number): void {
  const amount = amounts[tier ?? 'hot'];
  amount.blobs++;
  amount.bytes += size;
}
