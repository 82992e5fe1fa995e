import { queriesOf, type Session } from '../platform/index.ts';
import type { CatalogTables } from './schema.ts';

const query = queriesOf<CatalogTables>('catalog');

const imagesNeeding = query<{ digest: string; repositoryId: number; manifestId: number; limit: number }>()('imagesNeeding', (db, p) =>
  db
    .selectFrom('repository_blob')
    .innerJoin('manifest_reference as need', (join) =>
      join
        .onRef('need.repository_id', '=', 'repository_blob.repository_id')
        .onRef('need.digest', '=', 'repository_blob.digest')
        .on('need.kind', '=', 'blob'),
    )
    .innerJoin('manifest', 'manifest.id', 'need.manifest_id')
    .innerJoin('repository', 'repository.id', 'repository_blob.repository_id')
    .select(['manifest.id', 'manifest.repository_id as repositoryId', 'manifest.digest', 'repository.name as repository'])
    .where('repository_blob.digest', '=', p('digest'))
    .where('repository_blob.repository_id', '>=', p('repositoryId'))
    .where((eb) => eb.or([eb('repository_blob.repository_id', '>', p('repositoryId')), eb('need.manifest_id', '>', p('manifestId'))]))
    .where('repository.deleted_at', 'is', null)
    .orderBy('repository_blob.repository_id')
    .orderBy('need.manifest_id')
    .limit(p('limit')),
);
/** Of a manifest itself and of the indexes that have it among their children. */
const tagsLeadingTo = query<{ repositoryId: number; digest: string; limit: number }>()('tagsLeadingTo', (db, p) =>
  db
    .selectFrom('tag')
    .select('name')
    .where('repository_id', '=', p('repositoryId'))
    .where((eb) =>
      eb.or([
        eb('digest', '=', p('digest')),
        eb(
          'digest',
          'in',
          eb
            .selectFrom('manifest_reference as need')
            .innerJoin('manifest as parent', 'parent.id', 'need.manifest_id')
            .select('parent.digest')
            .where('need.repository_id', '=', p('repositoryId'))
            .where('need.digest', '=', p('digest'))
            .where('need.kind', '=', 'manifest'),
        ),
      ]),
    )
    .orderBy('name')
    .limit(p('limit')),
);

/** An image that cannot be pulled while one blob of it is damaged. */
export interface AffectedImage {
  readonly id: number;
  readonly repositoryId: number;
  readonly repository: string;
  readonly digest: string;
}

/** Manifests that need a blob, over all repositories, after one of them. */
export async function pageOfAffected(
  session: Session,
  page: { digest: string; repositoryId: number; manifestId: number; limit: number },
): Promise<AffectedImage[]> {
  return await session.all(imagesNeeding, page);
}

/** Tags that lead to a manifest, by themselves or through an index. */
export async function tagsOfAffected(
  session: Session,
  { repositoryId, digest }: { repositoryId: number; digest: string },
  limit: number,
): Promise<string[]> {
  return (await session.all(tagsLeadingTo, { repositoryId, digest, limit })).map(({ name }) => name);
}
