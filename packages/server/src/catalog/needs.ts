import { type Expression, expressionBuilder, type SqlBool, sql } from 'kysely';
import { queriesOf, type Session } from '../platform/index.ts';
import type { CatalogTables } from './schema.ts';

const query = queriesOf<CatalogTables>('catalog');

/**
 * Whether something in a repository needs a blob: the one place that decides what collection leaves alone. `except` is a
 * manifest that is about to go.
 */
export function isNeeded(
  repositoryId: Expression<number>,
  digest: Expression<string>,
  except: Expression<number> = sql<number>`0`,
): Expression<SqlBool> {
  const eb = expressionBuilder<CatalogTables>();
  return eb.exists(
    eb
      .selectFrom('manifest_reference as need')
      .select('need.manifest_id')
      .where('need.repository_id', '=', repositoryId)
      .where('need.digest', '=', digest)
      .where('need.kind', '=', 'blob')
      .where('need.manifest_id', '!=', except),
  );
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
    .where((eb) => eb.not(isNeeded(eb.ref('repository_blob.repository_id'), eb.ref('repository_blob.digest'), p('manifestId')))),
);

/** What a manifest needs is not collected any more: after its references are written, in the same transaction. */
export async function keepNeeded(tx: Session, repositoryId: number, manifestId: number): Promise<void> {
  await tx.run(keepLinks, { repositoryId, manifestId });
}

/** What a manifest alone needs may be collected from now on: before its references go, in the same transaction. */
export async function releaseNeeded(tx: Session, repositoryId: number, manifestId: number, now: number): Promise<void> {
  await tx.run(releaseLinks, { repositoryId, manifestId, now });
}
