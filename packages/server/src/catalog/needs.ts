import { type Expression, expressionBuilder, type SqlBool, sql } from 'kysely';
import { queriesOf, type Session } from '../platform/index.ts';
import type { CatalogTables } from './schema.ts';

const query = queriesOf<CatalogTables>('catalog');

const NONE = sql<number>`0`;

/**
 * Whether something in a repository needs a blob, a manifest or one in the trash: the one place that decides what collection
 * leaves alone. `except` is what is about to go: a manifest, or an item of the trash.
 */
export function isNeeded(
  repositoryId: Expression<number>,
  digest: Expression<string>,
  except: { readonly manifest?: Expression<number>; readonly item?: Expression<number> } = {},
): Expression<SqlBool> {
  const eb = expressionBuilder<CatalogTables>();
  return eb.or([
    eb.exists(
      eb
        .selectFrom('manifest_reference as need')
        .select('need.manifest_id')
        .where('need.repository_id', '=', repositoryId)
        .where('need.digest', '=', digest)
        .where('need.kind', '=', 'blob')
        .where('need.manifest_id', '!=', except.manifest ?? NONE),
    ),
    eb.exists(
      eb
        .selectFrom('trash_reference as kept')
        .select('kept.item_id')
        .where('kept.repository_id', '=', repositoryId)
        .where('kept.digest', '=', digest)
        .where('kept.kind', '=', 'blob')
        .where('kept.item_id', '!=', except.item ?? NONE),
    ),
  ]);
}

const keepLinks = query<{ repositoryId: number; manifestId: number }>()('keepLinks', (db, p) =>
  db
    .updateTable('repository_blob')
    .set({ unneeded_since: null })
    .where('repository_id', '=', p('repositoryId'))
    .where('digest', 'in', (eb) =>
      eb.selectFrom('manifest_reference as part').select('part.digest').where('part.manifest_id', '=', p('manifestId')),
    )
    .where('unneeded_since', 'is not', null),
);
const releaseLinks = query<{ repositoryId: number; manifestId: number; now: number }>()('releaseLinks', (db, p) =>
  db
    .updateTable('repository_blob')
    .set({ unneeded_since: p('now') })
    .where('repository_id', '=', p('repositoryId'))
    .where('digest', 'in', (eb) =>
      eb.selectFrom('manifest_reference as part').select('part.digest').where('part.manifest_id', '=', p('manifestId')),
    )
    .where((eb) =>
      eb.not(isNeeded(eb.ref('repository_blob.repository_id'), eb.ref('repository_blob.digest'), { manifest: p('manifestId') })),
    ),
);

const releaseTrashedLinks = query<{ repositoryId: number; itemId: number; now: number }>()('releaseTrashedLinks', (db, p) =>
  db
    .updateTable('repository_blob')
    .set({ unneeded_since: p('now') })
    .where('repository_id', '=', p('repositoryId'))
    .where('digest', 'in', (eb) => eb.selectFrom('trash_reference as part').select('part.digest').where('part.item_id', '=', p('itemId')))
    .where((eb) => eb.not(isNeeded(eb.ref('repository_blob.repository_id'), eb.ref('repository_blob.digest'), { item: p('itemId') }))),
);

/** What a manifest needs is not collected any more: after its references are written, in the same transaction. */
export async function keepNeeded(tx: Session, repositoryId: number, manifestId: number): Promise<void> {
  await tx.run(keepLinks, { repositoryId, manifestId });
}

/** What a manifest alone needs may be collected from now on: before its references go, in the same transaction. */
export async function releaseNeeded(tx: Session, repositoryId: number, manifestId: number, now: number): Promise<void> {
  await tx.run(releaseLinks, { repositoryId, manifestId, now });
}

/** The same for what only an item of the trash needs: before it is purged. */
export async function releaseTrashed(tx: Session, repositoryId: number, itemId: number, now: number): Promise<void> {
  await tx.run(releaseTrashedLinks, { repositoryId, itemId, now });
}
