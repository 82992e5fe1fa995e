import { sql } from 'kysely';
import { type Query, queriesOf, type Session } from '../platform/index.ts';
import { isNeeded } from './needs.ts';
import type { CatalogTables } from './schema.ts';

// What the tables must always say of each other (docs/architecture.md, invariants 2, 4 and 6). Each query gives what contradicts.

const query = queriesOf<CatalogTables>('catalog');
type Most = { limit: number };

/** A contradiction: in which repository, of which thing, and which other thing it names. */
export interface Contradiction {
  readonly repositoryId: number;
  readonly repository: string;
  readonly name: string;
  readonly other: string;
}

const tagsAstray = query<Most>()('tagsAstray', (db, p) =>
  db
    .selectFrom('tag')
    .innerJoin('repository', 'repository.id', 'tag.repository_id')
    .leftJoin('manifest', (join) =>
      join.onRef('manifest.repository_id', '=', 'tag.repository_id').onRef('manifest.digest', '=', 'tag.digest'),
    )
    .select(['repository.id as repositoryId', 'repository.name as repository', 'tag.name', 'tag.digest as other'])
    .where('manifest.id', 'is', null)
    .where('repository.deleted_at', 'is', null)
    .limit(p('limit')),
);
const contentAstray = query<Most>()('contentAstray', (db, p) =>
  db
    .selectFrom('manifest')
    .innerJoin('repository', 'repository.id', 'manifest.repository_id')
    .leftJoin('manifest_content as content', 'content.manifest_id', 'manifest.id')
    .select([
      'repository.id as repositoryId',
      'repository.name as repository',
      'manifest.digest as name',
      sql<string>`case when content.manifest_id is null then 'no' else 'other' end`.as('other'),
    ])
    .where((eb) => eb.or([eb('content.manifest_id', 'is', null), sql<boolean>`length(content.bytes) != manifest.size`]))
    .limit(p('limit')),
);
const childrenAstray = query<Most>()('childrenAstray', (db, p) =>
  db
    .selectFrom('manifest_reference as need')
    .innerJoin('manifest as parent', 'parent.id', 'need.manifest_id')
    .innerJoin('repository', 'repository.id', 'need.repository_id')
    .leftJoin('manifest as child', (join) =>
      join.onRef('child.repository_id', '=', 'need.repository_id').onRef('child.digest', '=', 'need.digest'),
    )
    .select(['repository.id as repositoryId', 'repository.name as repository', 'parent.digest as name', 'need.digest as other'])
    .where('need.kind', '=', 'manifest')
    .where('child.id', 'is', null)
    .where('repository.deleted_at', 'is', null)
    .limit(p('limit')),
);
const blobsAstray = query<Most>()('blobsAstray', (db, p) =>
  db
    .selectFrom('manifest_reference as need')
    .innerJoin('manifest as parent', 'parent.id', 'need.manifest_id')
    .innerJoin('repository', 'repository.id', 'need.repository_id')
    .leftJoin('repository_blob as link', (join) =>
      join.onRef('link.repository_id', '=', 'need.repository_id').onRef('link.digest', '=', 'need.digest'),
    )
    .select(['repository.id as repositoryId', 'repository.name as repository', 'parent.digest as name', 'need.digest as other'])
    .where('need.kind', '=', 'blob')
    .where('link.digest', 'is', null)
    .where('repository.deleted_at', 'is', null)
    .limit(p('limit')),
);
const referencesAstray = query<Most>()('referencesAstray', (db, p) =>
  db
    .selectFrom('manifest_reference as need')
    .leftJoin('manifest', (join) =>
      join.onRef('manifest.id', '=', 'need.manifest_id').onRef('manifest.repository_id', '=', 'need.repository_id'),
    )
    .select([
      'need.repository_id as repositoryId',
      sql<string>`''`.as('repository'),
      sql<string>`cast(need.manifest_id as text)`.as('name'),
      'need.digest as other',
    ])
    .where('manifest.id', 'is', null)
    .limit(p('limit')),
);
const linksAstray = query<Most>()('linksAstray', (db, p) =>
  db
    .selectFrom('repository_blob as link')
    .innerJoin('repository', 'repository.id', 'link.repository_id')
    .leftJoin('stored_blob', 'stored_blob.digest', 'link.digest')
    .select((eb) => [
      'repository.id as repositoryId',
      'repository.name as repository',
      'link.digest as name',
      eb.fn.coalesce('stored_blob.state', sql<string>`'no'`).as('other'),
    ])
    .where((eb) =>
      eb.or([
        eb('stored_blob.digest', 'is', null),
        eb('stored_blob.state', '!=', 'live'),
        eb('stored_blob.size', '!=', eb.ref('link.size')),
      ]),
    )
    .limit(p('limit')),
);
const historyAstray = query<Most>()('historyAstray', (db, p) =>
  db
    .selectFrom('tag')
    .innerJoin('repository', 'repository.id', 'tag.repository_id')
    .select((eb) => [
      'repository.id as repositoryId',
      'repository.name as repository',
      'tag.name',
      eb.fn.coalesce(sql<string | null>`(${lastChange})`, sql<string>`'nothing'`).as('other'),
    ])
    .where(sql<boolean>`coalesce((${lastChange}), '') != tag.digest`)
    .where('repository.deleted_at', 'is', null)
    .limit(p('limit')),
);
const lastChange = sql<string | null>`select change.digest from tag_history as change
  where change.repository_id = tag.repository_id and change.name = tag.name order by change.id desc limit 1`;

/** Links that collection would never take though nothing needs them, and such that it would take though something does. */
const linksKept = query<Most>()('linksKept', (db, p) =>
  db
    .selectFrom('repository_blob as link')
    .innerJoin('repository', 'repository.id', 'link.repository_id')
    .select(['repository.id as repositoryId', 'repository.name as repository', 'link.digest as name', sql<string>`''`.as('other')])
    .where('link.unneeded_since', 'is', null)
    .where((eb) => eb.not(isNeeded(eb.ref('link.repository_id'), eb.ref('link.digest'))))
    .limit(p('limit')),
);
const linksOpen = query<Most>()('linksOpen', (db, p) =>
  db
    .selectFrom('repository_blob as link')
    .innerJoin('repository', 'repository.id', 'link.repository_id')
    .select(['repository.id as repositoryId', 'repository.name as repository', 'link.digest as name', sql<string>`''`.as('other')])
    .where('link.unneeded_since', 'is not', null)
    .where((eb) => isNeeded(eb.ref('link.repository_id'), eb.ref('link.digest')))
    .limit(p('limit')),
);
const storedKept = query<Most>()('storedKept', (db, p) =>
  db
    .selectFrom('stored_blob')
    .select([
      sql<number>`0`.as('repositoryId'),
      sql<string>`''`.as('repository'),
      'stored_blob.digest as name',
      sql<string>`''`.as('other'),
    ])
    .where('state', '=', 'live')
    .where('review_at', 'is', null)
    .where((eb) =>
      eb.not(
        eb.exists(
          eb.selectFrom('repository_blob').select('repository_blob.digest').whereRef('repository_blob.digest', '=', 'stored_blob.digest'),
        ),
      ),
    )
    .limit(p('limit')),
);

const CONTRADICTIONS = {
  tagsAstray,
  contentAstray,
  childrenAstray,
  blobsAstray,
  referencesAstray,
  linksAstray,
  historyAstray,
  linksKept,
  linksOpen,
  storedKept,
} satisfies Record<string, Query<Most, Contradiction>>;

export type ContradictionKind = keyof typeof CONTRADICTIONS;

/** Contradictions of one kind, so many at most. Reads whole tables. */
export async function contradictions(session: Session, kind: ContradictionKind, limit: number): Promise<Contradiction[]> {
  return await session.all<Most, Contradiction>(CONTRADICTIONS[kind], { limit });
}

const closeLink = query<{ repositoryId: number; digest: string }>()('mendOpenLink', (db, p) =>
  db
    .updateTable('repository_blob')
    .set({ unneeded_since: null })
    .where('repository_id', '=', p('repositoryId'))
    .where('digest', '=', p('digest'))
    .where(isNeeded(p('repositoryId'), p('digest'))),
);
const openLink = query<{ repositoryId: number; digest: string; now: number }>()('mendKeptLink', (db, p) =>
  db
    .updateTable('repository_blob')
    .set({ unneeded_since: p('now') })
    .where('repository_id', '=', p('repositoryId'))
    .where('digest', '=', p('digest'))
    .where('unneeded_since', 'is', null)
    .where((eb) => eb.not(isNeeded(p('repositoryId'), p('digest')))),
);
const dropReferences = query<{ manifestId: number }>()('mendStrayReferences', (db, p) =>
  db
    .deleteFrom('manifest_reference')
    .where('manifest_id', '=', p('manifestId'))
    .where((eb) => eb.not(eb.exists(eb.selectFrom('manifest').select('manifest.id').where('manifest.id', '=', p('manifestId'))))),
);

/** A link follows what needs it, by what the tables say now. */
export async function mendLink(tx: Session, repositoryId: number, digest: string, now: number): Promise<void> {
  await tx.run(closeLink, { repositoryId, digest });
  await tx.run(openLink, { repositoryId, digest, now });
}

/** Needs of a manifest that is not there are no needs. */
export async function mendStrayReferences(tx: Session, manifestId: number): Promise<void> {
  await tx.run(dropReferences, { manifestId });
}
