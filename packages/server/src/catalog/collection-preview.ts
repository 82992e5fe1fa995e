import { type Expression, expressionBuilder, type SqlBool, sql } from 'kysely';
import { queriesOf, type Session } from '../platform/index.ts';
import { COUNTED } from './collection.ts';
import type { CatalogTables } from './schema.ts';

const query = queriesOf<CatalogTables>('catalog');

/** Whether a blob has a link that is not due, and so stays in the store. */
function isKept(digest: Expression<string>, before: Expression<number>): Expression<SqlBool> {
  const eb = expressionBuilder<CatalogTables>();
  return eb.exists(
    eb
      .selectFrom('repository_blob as other')
      .select('other.digest')
      .where('other.digest', '=', digest)
      .where((or) => or.or([or('other.unneeded_since', 'is', null), or('other.unneeded_since', '>', before)])),
  );
}

const listDue = query<{ before: number; since: number; repositoryId: number; digest: string; limit: number }>()('listDue', (db, p) =>
  db
    .selectFrom('repository_blob as link')
    .innerJoin('repository', 'repository.id', 'link.repository_id')
    .select([
      'repository.name as repository',
      'link.repository_id as repositoryId',
      'link.digest',
      'link.size',
      'link.unneeded_since as since',
    ])
    .select((eb) =>
      eb
        .case()
        .when(isKept(eb.ref('link.digest'), p('before')))
        .then(0)
        .else(1)
        .end()
        .as('frees'),
    )
    .where('link.unneeded_since', '<=', p('before'))
    .where('link.unneeded_since', '>=', p('since'))
    .where((eb) =>
      eb.or([
        eb('link.unneeded_since', '>', p('since')),
        eb('link.repository_id', '>', p('repositoryId')),
        eb.and([eb('link.repository_id', '=', p('repositoryId')), eb('link.digest', '>', p('digest'))]),
      ]),
    )
    .orderBy('link.unneeded_since')
    .orderBy('link.repository_id')
    .orderBy('link.digest')
    .limit(p('limit')),
);
const totalDue = query<{ before: number; most: number }>()('totalDue', (db, p) =>
  db
    .selectFrom((from) =>
      from
        .selectFrom((eb) =>
          eb.selectFrom('repository_blob').select(['digest', 'size']).where('unneeded_since', '<=', p('before')).limit(p('most')).as('due'),
        )
        .select((eb) => [
          eb.fn.countAll<number>().as('links'),
          eb.fn.max('due.size').as('size'),
          eb
            .case()
            .when(isKept(eb.ref('due.digest'), p('before')))
            .then(0)
            .else(1)
            .end()
            .as('frees'),
        ])
        .groupBy('due.digest')
        .as('blob'),
    )
    .select([
      sql<number>`coalesce(sum(links), 0)`.as('links'),
      sql<number>`coalesce(sum(frees), 0)`.as('blobs'),
      sql<number>`coalesce(sum(frees * size), 0)`.as('bytes'),
    ]),
);

/** A link that a collection would take away. */
export interface DuePreview {
  readonly repository: string;
  readonly repositoryId: number;
  readonly digest: string;
  readonly size: number;
  /** Since when nothing needs it, or somebody was last told of it. */
  readonly since: number;
  /** Whether its bytes go too, as no repository keeps them. */
  readonly frees: boolean;
}

/** Links that a collection would take away, the longest unneeded first, after one of them. */
export async function previewCollection(
  session: Session,
  before: number,
  after: { readonly since: number; readonly repositoryId: number; readonly digest: string },
  limit: number,
): Promise<DuePreview[]> {
  const rows = await session.all(listDue, { ...after, before, limit });
  return rows.map((row) => ({ ...row, since: row.since ?? 0, frees: row.frees === 1 }));
}

/** How much that is: links, blobs whose bytes go, and those bytes; of no more links than `COUNTED`. */
export async function previewTotals(session: Session, before: number): Promise<{ links: number; blobs: number; bytes: number }> {
  return (await session.first(totalDue, { before, most: COUNTED })) ?? { links: 0, blobs: 0, bytes: 0 };
}
