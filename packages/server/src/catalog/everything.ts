import { queriesOf, type Session } from '../platform/index.ts';
import type { CatalogTables } from './schema.ts';

// Lists of all content, for whoever reads all of it: scrub, backup, doctor. Each page is a range of an index.

const query = queriesOf<CatalogTables>('catalog');

const linkedAfter = query<{ after: string; limit: number }>()('linkedBlobsAfter', (db, p) =>
  db
    .selectFrom('stored_blob')
    .select(['digest', 'size'])
    .where('digest', '>', p('after'))
    .where('state', '=', 'live')
    .where((eb) =>
      eb.exists(
        eb.selectFrom('repository_blob').select('repository_blob.digest').whereRef('repository_blob.digest', '=', 'stored_blob.digest'),
      ),
    )
    .orderBy('digest')
    .limit(p('limit')),
);
const manifestsFrom = query<{ after: number; limit: number }>()('manifestsAfter', (db, p) =>
  db
    .selectFrom('manifest')
    .select(['id', 'repository_id as repositoryId', 'digest', 'media_type as mediaType', 'size', 'subject'])
    .where('id', '>', p('after'))
    .orderBy('id')
    .limit(p('limit')),
);
const twinsOf = query<{ digest: string; id: number }>()('manifestTwins', (db, p) =>
  db.selectFrom('manifest').select('id').where('digest', '=', p('digest')).where('id', '!=', p('id')).orderBy('id').limit(20),
);

const linked = query<{ digest: string }>()('linkedBlob', (db, p) =>
  db
    .selectFrom('stored_blob')
    .select('size')
    .where('digest', '=', p('digest'))
    .where('state', '=', 'live')
    .where((eb) =>
      eb.exists(eb.selectFrom('repository_blob').select('repository_blob.digest').where('repository_blob.digest', '=', p('digest'))),
    ),
);
const needsOf = query<{ id: number }>()('needsOfManifest', (db, p) =>
  db.selectFrom('manifest_reference').select(['kind', 'digest']).where('manifest_id', '=', p('id')),
);

/** A blob that some repository holds, and nobody is removing; undefined for any other. */
export async function findLinkedBlob(session: Session, digest: string): Promise<{ size: number } | undefined> {
  return await session.first(linked, { digest });
}

/** What a manifest needs, by the tables. */
export async function needsOfManifest(session: Session, id: number): Promise<{ kind: 'blob' | 'manifest'; digest: string }[]> {
  return await session.all(needsOf, { id });
}

/** Blobs that some repository holds, by digest, after one of them. Those that wait for collection are left out. */
export async function pageOfLinkedBlobs(session: Session, after: string, limit: number): Promise<{ digest: string; size: number }[]> {
  return await session.all(linkedAfter, { after, limit });
}

export interface ManifestRow {
  readonly id: number;
  readonly repositoryId: number;
  readonly digest: string;
  readonly mediaType: string;
  readonly size: number;
  readonly subject: string | null;
}

/** Manifests by number, after one of them, without their bytes. */
export async function pageOfManifests(session: Session, after: number, limit: number): Promise<ManifestRow[]> {
  return await session.all(manifestsFrom, { after, limit });
}

/** Other manifests of the same digest: their bytes are the same. Looks at all manifests. */
export async function twinsOfManifest(session: Session, { id, digest }: { id: number; digest: string }): Promise<number[]> {
  return (await session.all(twinsOf, { id, digest })).map((row) => row.id);
}
